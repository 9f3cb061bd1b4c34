"""What the store holds, as rows and questions: resources, fields, objects, spaces, filters, pages.

Begin at `reader.py` (rows to `Document`) and `resources.py`. It imports `stores` and what is below.
"""
