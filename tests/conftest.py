"""For all tests: one thread, because their tensors are so tiny that more would only wait for each other."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
