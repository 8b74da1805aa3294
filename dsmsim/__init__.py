"""dsmsim: real-time dynamics of many bosons by Deep Stochastic Mechanics.

Importing the package loads neither torch nor MPI; the pieces are imported where they are used.
"""

from __future__ import annotations

__version__ = "0.1.0"
