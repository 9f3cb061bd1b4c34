"""Extractors turn bytes into vectors and parts: pictures, texts, documents, faces, regions, videos.

Begin at `base.py` (the contract) and `registry.py` (names and plugins). Models and decoders are
imported only where they are used.
"""
