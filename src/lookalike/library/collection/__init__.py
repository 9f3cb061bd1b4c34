"""`Collection` and its verbs, one module per topic: label, read, label tree, quality, history.

Begin at `collection.py`. A verb checks its arguments and calls `decisions`, `quality` or `ingest`.
"""
