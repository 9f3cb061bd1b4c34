"""Bytes: what `add` accepts, pictures, boxes, blobs, object storage, the guarded fetch.

Begin at `sources.py` and `blobs.py`. It imports nothing of a store.
"""
