"""ONNX models: those bundled in `weights`, and the user's own. Begin at `bundled.py`."""
