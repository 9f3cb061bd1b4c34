"""The ledger of label events: fold to label states, random samples, undo.

Begin at `fold.py`, which is pure; the other modules read and write the store.
"""
