"""Files of other tools, read and written as examples with labels and regions. One module a format.

Begin at `base.py`, which says what a format is; `registry.py` lists all. Imports `content`.
"""
