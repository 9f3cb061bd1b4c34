"""Neighbour graph of all items: k-NN search, whitening, label propagation, 2-D projection.

Begin at `graph.py`.
"""
