"""The in-memory state of one label field, its classifier, and when its decision rule is refitted.

Begin at `state.py`, then `classifier.py` (graph, scores and confidence) and `refit.py`.
"""
