"""Statistics without a store: error rates with intervals, agreement, comparisons, costs. NumPy.

Begin at `audit_estimate.py`. It may import only `catalog`, `classifier`, `labels`, `model` and
`errors`.
"""
