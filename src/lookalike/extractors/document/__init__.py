"""PDF, scans, HTML, Markdown and DOCX as texts. Begin at `extractor.py`."""
