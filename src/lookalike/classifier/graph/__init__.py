"""Neighbour graph of all items: search, metric, propagation of evidence, projection.

Begin at `graph.py`.
"""
