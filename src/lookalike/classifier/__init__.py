"""The classifier: labels from few references, with calibrated confidence. NumPy only, no store.

Layers, each importing only from those before it: `graph` (neighbours), `scores` (evidence per
label), `calibration` (probability and threshold), `review` (what to ask), `policies`, `estimator`
(the interface of scikit-learn). Begin at `estimator.py`.
"""
