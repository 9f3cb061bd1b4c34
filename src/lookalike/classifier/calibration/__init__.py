"""From scores to the probability that a label is right, and to the decision threshold.

Begin at `confidence.py`.
"""
