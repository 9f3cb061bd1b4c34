"""Labels to and from other tools: examples taken in, examples given, and Label Studio's backend.

Begin at `lookalike.library.annotations`, which imports and exports all formats.
"""
