"""Calibration: from scores to the probability that a label is right, and the decision threshold.

Begin at `confidence.py`.
"""
