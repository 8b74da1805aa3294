"""`python -m dsmsim.cli` is the command line, for launchers that start modules."""

from __future__ import annotations

from dsmsim.cli import main

if __name__ == "__main__":
    main()
