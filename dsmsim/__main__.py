"""`python -m dsmsim` is `dsmsim`."""

from __future__ import annotations

from dsmsim.cli import main

main()
