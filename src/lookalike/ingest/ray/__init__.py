"""Extraction and neighbour lists on a Ray cluster: `engine="ray"`.

Begin at `jobs.py`. Ray is an optional extra and is imported only where it is used.
"""
