"""Contracts as test suites, for stores and extractors of your own. Begin at `stores.py`."""
