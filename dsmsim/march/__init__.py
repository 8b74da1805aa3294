"""Deep stochastic mechanics step by step: fields whose parameters follow the equations of motion in time."""

from __future__ import annotations
