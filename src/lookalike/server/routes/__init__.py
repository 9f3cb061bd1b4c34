"""The routes, one module a resource; `verbs.py` makes those of the library's own client."""
