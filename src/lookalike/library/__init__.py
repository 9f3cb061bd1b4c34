"""The public API: a store opened as a `Library` with its buckets and collections, local or remote.

Begin at `library.py` (`lookalike.open`), then `collection/collection.py` (every verb). It imports
all packages but `server` and `cli`.
"""
