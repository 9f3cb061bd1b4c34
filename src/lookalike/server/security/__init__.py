"""What every request passes: keys, scopes, origins, limits, access log. Begin at `gate.py`."""
