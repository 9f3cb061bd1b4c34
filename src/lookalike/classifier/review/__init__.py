"""What a person should review: queue order, check sheets, new categories, doubtful references.

Begin at `queue.py`.
"""
