"""Checks that say what may be wrong with a collection, and which step helps.

Begin at `diagnose.py`; `facts.py` reads what the checks need, `checks.py` and its siblings judge.
"""
