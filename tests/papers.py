"""Papers for tests: PDF, scans and DOCX, made here as real files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from lookalike.extractors.base import Content
from lookalike.extractors.document.plain_text import DOCX_TYPE as DOCX

INVOICE = (
    "Invoice number 2041",
    "Bill to the harbour bakery, Mill Street",
    "Twelve sacks of flour and two oven doors",
    "Amount due within thirty days of delivery",
)
LETTER = (
    "Dear Margaret, thank you for the kind letter",
    "The garden is full of roses this summer",
    "We hope to see you at the seaside in August",
    "With love from all of us, your old friend Tom",
)
POEM = (
    "Whose woods these are I think I know",
    "The snow is falling on the frozen lake",
    "And miles to walk before the night is over",
    "The little horse must think it rather strange",
)

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def pdf_of(*pages: Sequence[str] | Image.Image, password: str | None = None) -> bytes:
    """Return a PDF: a page of lines has a text layer, a page of a picture has none."""
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas

    file = io.BytesIO()
    options: dict[str, Any] = {} if password is None else {"encrypt": password}
    canvas = Canvas(file, pagesize=(420, 595), invariant=1, **options)
    for page in pages:
        if isinstance(page, Image.Image):
            height = 420 * page.height / page.width
            canvas.drawImage(ImageReader(page), 0, 595 - height, 420, height)
        else:
            for place, line in enumerate(page):
                canvas.drawString(40, 540 - 24 * place, line)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def scan_of(lines: Sequence[str], *, turn: int = 0, seed: int = 0) -> Image.Image:
    """Return lines as a scanner would see them: grey, noisy, a little askew, turned by degrees."""
    picture = Image.new("L", (860, 120 + 56 * len(lines)), 255)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(30)
    for place, line in enumerate(lines):
        pen.text((60, 60 + 56 * place), line, font=font, fill=20)
    askew = picture.rotate(0.8, fillcolor=255, resample=Image.Resampling.BICUBIC)
    soft = np.asarray(askew.filter(ImageFilter.GaussianBlur(0.6)), np.float64)
    noise = np.random.default_rng(seed).normal(0, 10, soft.shape)
    grey = Image.fromarray((soft * 0.9 + 12 + noise).clip(0, 255).astype(np.uint8))
    return grey.convert("RGB").rotate(turn, expand=True)


def docx_of(body: str, *, part: str = "word/document.xml") -> bytes:
    """Return a DOCX with this XML as its body."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        document = f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'
        archive.writestr(part, document)
    return file.getvalue()


def paragraphs(*lines: str, style: str = "") -> str:
    """Return paragraphs of a DOCX."""
    said = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return "".join(f"<w:p>{said}<w:r><w:t>{escape(line)}</w:t></w:r></w:p>" for line in lines)


def pdf_content(data: bytes, name: str = "x.pdf") -> Content:
    return Content(data, "application/pdf", name=name)


def docx_content(data: bytes, name: str = "x.docx") -> Content:
    return Content(data, DOCX, name=name)


def scan_content(picture: Image.Image, name: str = "scan.png") -> Content:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return Content(file.getvalue(), "image/png", name=name)
