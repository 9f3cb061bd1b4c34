"""Storage of rows and vectors: SQLite in a directory, or PostgreSQL, behind one contract.

Begin at `base.py` (the contract) and `schema.py` (the tables); `open.py` chooses an engine.
`lookalike.testing.stores` tests the rules of the contract.
"""
