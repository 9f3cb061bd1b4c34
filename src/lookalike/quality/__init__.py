"""How good the labels are: audits, trials of another rule, monitoring, alerts, reports, diagnosis.

Begin at `audits.py` and `reports.py`. `stats` holds the pure statistics. It imports `decisions` and
what is below.
"""
