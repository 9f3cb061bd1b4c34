"""Faces: found, aligned, embedded, by one of three model families. Begin at `extractor.py`."""
