"""The contracts of stores and extractors as pytest classes, for ours and for those of plugins.

Begin at `stores.py` and `extractors.py`; `fakes.py` has small extractors for tests.
"""
