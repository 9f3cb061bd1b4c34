"""Checks before the routes: host, origin, key, rate, scope and size. Begin at `gate.py`."""
