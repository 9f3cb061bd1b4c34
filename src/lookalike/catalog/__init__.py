"""Reading the store: resources, fields, objects, spaces, filters, aggregations and pages.

Begin at `reader.py` (rows to `Document`) and `resources.py`. This package imports `stores` and the
packages below it.
"""
