"""Checks that find what may be wrong with a label field, and suggest the next step.

Begin at `diagnose.py`; `facts.py` reads what the checks need, `checks.py` has the checks.
"""
