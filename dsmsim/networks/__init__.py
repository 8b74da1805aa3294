"""Velocity fields: what is trained."""

from __future__ import annotations

from dsmsim.networks.build import VELOCITY_KINDS, build_fields
from dsmsim.networks.fields import FieldPair, Fields, VelocityFields, standing_still
from dsmsim.networks.frame import Frame, natural_frame
from dsmsim.networks.potential_fields import PotentialFields

__all__ = [
    "VELOCITY_KINDS",
    "FieldPair",
    "Fields",
    "Frame",
    "PotentialFields",
    "VelocityFields",
    "build_fields",
    "natural_frame",
    "standing_still",
]
