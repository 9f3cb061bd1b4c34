"""Statistics without a store: error rates with intervals, agreement, comparisons, costs. NumPy.

Begin at `audit_estimate.py`. It imports only `classifier`, `model` and `errors`.
"""
