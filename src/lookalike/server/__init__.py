"""The HTTP server: the REST API, the review page and what protects them.

Begin at `app.py`. `routes` has one module per resource; `security` checks each request first.
`library` has the verbs that the routes call.
"""
