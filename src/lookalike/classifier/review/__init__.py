"""What a person should look at: queue order, check sheets, new categories, doubtful references.

Begin at `queue.py`.
"""
