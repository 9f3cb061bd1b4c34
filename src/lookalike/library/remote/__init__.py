"""The client of a server: `lookalike.connect` returns a library whose verbs run on the server.

Begin at `client.py`. It loads no database, model or web server code.
"""
