"""The HTTP server: the REST interface, the review page, security.

Begin at `app.py`. `routes` has one module a resource, `security` what stands before them.
"""
