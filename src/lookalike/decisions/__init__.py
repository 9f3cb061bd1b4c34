"""Writing labels and deciding: one write path, a ledger of events, one decider per label field.

Begin at `operations.py`, which shows one transaction: append events, fold them, decide. `ledger`
folds events to label states. `field` holds the arrays and the classifier of a field. This package
imports `catalog` and the packages below it.
"""
