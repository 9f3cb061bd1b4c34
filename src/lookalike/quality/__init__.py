"""How good the labels are: audits, trials of another rule, monitoring, alerts, reports, diagnosis.

Begin at `audits.py` and `reports.py`. `stats/` has the statistics, which are pure functions.
It may import `decisions` and the layers below.
"""
