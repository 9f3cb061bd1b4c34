"""The client of a server: `lookalike.connect` gives a library whose verbs run there.

Begin at `client.py`. It loads no database, model or web server code.
"""
