"""Ingestion: register source files as objects, extract features, write documents and vectors.

Begin at `items.py` (objects), then `extraction.py` (claim, extract, write). This package imports
`decisions` and the packages below it; `ray` runs the same work on a cluster.
"""
