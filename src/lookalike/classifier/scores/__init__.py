"""Scores of every label for every item: evidence, top two labels, leave-one-out, hierarchy.

Begin at `scores.py`.
"""
