"""Public domain sample pictures; `tools/choose_samples.py` chose them."""
