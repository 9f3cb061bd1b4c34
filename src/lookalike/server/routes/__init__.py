"""The REST routes, one module per resource; `verbs.py` makes those for `lookalike.connect`."""
