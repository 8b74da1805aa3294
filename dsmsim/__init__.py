"""dsmsim: real-time dynamics of many bosons by Deep Stochastic Mechanics.

Importing the package loads neither torch nor MPI; the pieces are imported where they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from xarray import DataTree

__version__ = "0.1.0"


def open(path: str | Path) -> DataTree:
    """Results and trajectories as labelled arrays of xarray: `dsmsim.opening.open_results`."""
    from dsmsim.opening import open_results

    return open_results(path)
