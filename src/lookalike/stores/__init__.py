"""Where rows and vectors are kept: SQLite in a directory, or PostgreSQL, behind one contract.

Begin at `base.py` (the contract) and `schema.py` (the tables); `open.py` chooses an engine. The
rules of the contract are tests: `lookalike.testing.stores`.
"""
