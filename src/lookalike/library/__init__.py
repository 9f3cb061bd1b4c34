"""The doors: a store opened as a `Library`, with its buckets and collections, here or on a server.

Begin at `library.py` (`lookalike.open`), then `collection/collection.py` (every verb). It imports
all packages but `server` and `cli`.
"""
