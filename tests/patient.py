"""Requests to a server that wait as long as a crowded machine needs, which httpx2 alone does not.

A test of time limits sets its own. `test_shape` sees to it that no request is left with none.
"""

from __future__ import annotations

from functools import partial

import httpx2

WAIT_S = 90.0

get = partial(httpx2.get, timeout=WAIT_S)
post = partial(httpx2.post, timeout=WAIT_S)
put = partial(httpx2.put, timeout=WAIT_S)
patch = partial(httpx2.patch, timeout=WAIT_S)
stream = partial(httpx2.stream, timeout=WAIT_S)
