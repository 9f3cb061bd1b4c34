"""The shared store: PostgreSQL, with local copies of vectors. Begin at `store.py`."""
