"""Extraction and neighbour lists on a Ray cluster: `engine="ray"`.

Begin at `engine.py`. Ray is an extra and is imported only where it is used.
"""
