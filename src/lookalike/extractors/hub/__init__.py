"""Models of other libraries, loaded from files on this machine. Begin at `torch.py`."""
