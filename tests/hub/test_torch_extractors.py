"""Extractors on torch, run on small models with weights by chance that the libraries make.

Torch takes gigabytes and minutes to install, so these run in an environment of their own: `make
test-hub`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lookalike
from lookalike.errors import BadContent, BadSetting
from lookalike.extractors.base import Content, Extractor, Part
from lookalike.extractors.registry import build_extractor
from lookalike.testing.extractors import ExtractorContract

if find_spec("torch") is None:
    pytest.skip("torch is too large for this environment: `make test-hub`", allow_module_level=True)

# what these libraries deprecate among themselves is not ours to mend
pytestmark = pytest.mark.filterwarnings("ignore")

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "rain", "sun", "card", "late", "thanks")
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32,
        "layers": 1,
        "width": 32,
        "patch_size": 16,
        "head_width": 16,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 1,
    },
}


def shown(seed: int, name: str = "x.png") -> Content:
    values = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)
    return Content(b"", "image/png", name=name, picture=Image.fromarray(values))


def said(words: str, name: str = "x.txt") -> Content:
    return Content(words.encode(), "text/plain", name=name)


def only(extractor: Extractor, content: Content) -> Part:
    (parts,) = extractor.extract([content])
    assert not isinstance(parts, BadContent), parts
    return parts[0]


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    bert, folder = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("st") / "tiny-sentences"
    (bert / "vocab.txt").write_text("\n".join(WORDS), "utf-8")
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(bert)
    BertTokenizerFast(vocab_file=str(bert / "vocab.txt")).save_pretrained(bert)
    words = Transformer(str(bert), max_seq_length=32)
    SentenceTransformer(modules=[words, Pooling(16)], device="cpu").save(str(folder))
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import timm
    import torch
    from timm.models import save_for_hf

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("timm") / "tiny-pictures"
    save_for_hf(timm.create_model("test_vit", pretrained=False), str(folder))
    return folder


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import open_clip
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clip") / "tiny-towers"
    folder.mkdir()
    (folder / "tiny-clip.json").write_text(json.dumps(CLIP), "utf-8")
    open_clip.add_model_config(folder / "tiny-clip.json")
    model = open_clip.create_model("tiny-clip")
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    config = {
        "model_cfg": CLIP,
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config), "utf-8")
    return folder


class TestSentencesContract(ExtractorContract):
    """A model of sentence-transformers passes the contract."""

    @pytest.fixture
    def make(self, sentences: Path) -> Callable[[], Extractor]:
        options = {"model": str(sentences)}
        return lambda: build_extractor("sentence_transformers_extractor", options)

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [said("rain"), said("late card thanks"), said("sun " * 100)]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        return [said("", "empty.txt"), said(" \n", "blank.txt")]


class TestTimmContract(ExtractorContract):
    """A model of timm passes the contract."""

    @pytest.fixture
    def make(self, pictures: Path) -> Callable[[], Extractor]:
        return lambda: build_extractor("timm_extractor", {"model": str(pictures)})

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [shown(seed) for seed in range(3)]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        return [Content(b"", "image/png", name="empty.png")]


class TestClipContract(ExtractorContract):
    """A model of open_clip passes the contract, with pictures and texts together."""

    @pytest.fixture
    def make(self, towers: Path) -> Callable[[], Extractor]:
        return lambda: build_extractor("open_clip_extractor", {"model": str(towers)})

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [shown(1), said("a photo of rain"), shown(2), said("thanks")]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        return [said("", "empty.txt"), Content(b"", "image/png", name="empty.png")]


def test_a_vector_is_what_the_library_itself_gives(sentences: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(sentences), device="cpu")
    expected = model.encode(["late rain"], normalize_embeddings=True)[0]

    own = build_extractor("sentence_transformers_extractor", {"model": str(sentences)})

    assert own.space.name.startswith("sentence_transformers_extractor.v1/tiny-sentences@")
    assert own.space.dimension == 16
    assert np.allclose(only(own, said("late rain")).vector, expected, atol=1e-5)


def test_a_prompt_and_fewer_tokens_do_what_they_say(sentences: Path) -> None:
    def vector(words: str, **options: Any) -> Any:
        named = {"model": str(sentences), **options}
        return only(build_extractor("sentence_transformers_extractor", named), said(words)).vector

    assert np.allclose(vector("rain", prompt="late "), vector("late rain"), atol=1e-5)
    assert np.allclose(vector("sun card late", max_tokens=4), vector("sun card"), atol=1e-5)


def test_a_timm_model_is_the_same_from_its_directory_and_from_a_checkpoint(
    pictures: Path, tmp_path: Path
) -> None:
    weights = next(one for one in pictures.iterdir() if one.suffix in (".bin", ".safetensors"))
    file = tmp_path / f"weights{weights.suffix}"
    shutil.copy(weights, file)
    whole = build_extractor("timm_extractor", {"model": str(pictures)})
    parts = build_extractor("timm_extractor", {"model": "test_vit", "checkpoint": str(file)})

    assert float(only(whole, shown(4)).vector @ only(parts, shown(4)).vector) > 1 - 1e-5
    assert whole.space.dimension == parts.space.dimension
    assert whole.space.name != parts.space.name


def test_a_clip_model_is_the_same_from_its_directory_and_from_a_checkpoint(towers: Path) -> None:
    options = {"model": "tiny-clip", "checkpoint": str(towers / "open_clip_pytorch_model.bin")}
    parts = build_extractor("open_clip_extractor", options)
    texts = build_extractor("open_clip_extractor", {"model": str(towers), "kind": "text"})

    assert parts.space.dimension == texts.space.dimension == 16
    assert texts.accepts == {"text"}
    assert float(only(parts, said("rain")).vector @ only(texts, said("rain")).vector) > 1 - 1e-5


def test_weights_are_part_of_the_space(pictures: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(pictures, tmp_path / pictures.name))
    space = build_extractor("timm_extractor", {"model": str(pictures)}).space
    assert build_extractor("timm_extractor", {"model": str(copy)}).space == space

    weights = next(one for one in copy.iterdir() if one.suffix in (".bin", ".safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\7")

    assert build_extractor("timm_extractor", {"model": str(copy)}).space.name != space.name


def test_a_collection_takes_a_model_by_its_directory(towers: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        shown(seed).picture().save(tmp_path / "photos" / f"{seed}.png")
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        own = library.labeler("own", extractor="open_clip_extractor", model=str(towers))
        own.add(tmp_path / "photos")
        own.add({"text": "a photo of rain"})
        assert own.report().documents == 4


@pytest.mark.parametrize(
    "name", ["open_clip_extractor", "sentence_transformers_extractor", "timm_extractor"]
)
def test_nothing_is_downloaded_unless_it_is_allowed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(BadSetting, match=r"not on this machine; .*allow_download: true"):
        build_extractor(name, {"model": "nobody/has-this-model"})


def test_a_part_that_a_hub_would_have_to_give_is_refused(towers: Path) -> None:
    weights = str(towers / "open_clip_pytorch_model.bin")

    def build(model: str, **options: Any) -> Extractor:
        named = {"model": model, "checkpoint": weights, **options}
        return build_extractor("open_clip_extractor", named)

    with pytest.raises(BadSetting, match="lacks its tokenizer"):
        build("ViT-B-16-SigLIP2")
    with pytest.raises(BadSetting, match="from a hub"):
        build("xlm-roberta-base-ViT-B-32", kind="image")
    with pytest.raises(BadSetting, match="no architecture 'ViT-Z'"):
        build("ViT-Z")
    assert build("ViT-B-16-SigLIP2", kind="image").space.dimension == 768


@pytest.mark.parametrize(
    ("name", "fixture", "content"),
    [
        ("open_clip_extractor", "towers", shown(1)),
        ("sentence_transformers_extractor", "sentences", said("rain")),
        ("timm_extractor", "pictures", shown(1)),
    ],
)
def test_a_directory_with_damaged_weights_is_refused(
    name: str, fixture: str, content: Content, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole: Path = request.getfixturevalue(fixture)
    copy = Path(shutil.copytree(whole, tmp_path / whole.name))
    for weights in [*copy.rglob("*.bin"), *copy.rglob("*.safetensors")]:
        weights.write_bytes(weights.read_bytes()[:200])

    with pytest.raises(BadSetting, match=f"cannot load the model {whole.name!r}"):
        build_extractor(name, {"model": str(copy)}).extract([content])
