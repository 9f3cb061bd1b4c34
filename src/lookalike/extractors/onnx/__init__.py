"""ONNX models: those in `weights`, and any other file. Begin at `bundled.py`."""
