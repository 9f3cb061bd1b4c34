"""What is kept in memory for one label field, and when its decision rule is fitted again.

Begin at `state.py`, then `classifier.py` (graph, scores and confidence) and `refit.py`.
"""
