"""Items come in: objects are registered, features extracted, documents and vectors written.

Begin at `items.py` (objects), then `extraction.py` (claim, extract, write). It imports `decisions`
and what is below; `ray` runs the same work on a cluster.
"""
