"""For all tests: one thread, because their tensors are so tiny that more would only wait for each other, and
no cache of references, because it would be in somebody's home.

Under continuous integration (CI is set) the property-based tests try the same examples every time, so that a
failure belongs to the change under test; elsewhere they look further at every run.
"""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["DSMSIM_CACHE"] = "off"

settings.register_profile("repeatable", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("repeatable")
