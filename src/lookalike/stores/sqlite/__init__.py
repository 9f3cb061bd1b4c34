"""The embedded store: SQLite and vector files in one directory. Begin at `store.py`."""
