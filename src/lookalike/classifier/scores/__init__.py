"""What references say of each item: evidence, top two labels, leave-one-out scores.

Begin at `scores.py`.
"""
