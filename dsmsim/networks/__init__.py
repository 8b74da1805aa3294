"""Velocity fields: what is trained."""

from __future__ import annotations

from dsmsim.networks.fields import KINDS, FieldPair, Fields, build_fields
from dsmsim.networks.frame import Frame, natural_frame

__all__ = ["KINDS", "FieldPair", "Fields", "Frame", "build_fields", "natural_frame"]
