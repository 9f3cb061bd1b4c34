"""How labels are written and decided: one write path, a ledger of events, one decider per field.

Begin at `operations.py`: operation, events, fold, deciders, one transaction. `ledger` folds events
to label states, `field` holds the arrays and the classifier of a field. It imports `catalog` and
what is below.
"""
