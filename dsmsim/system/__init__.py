"""The physics: potentials, pair interactions, initial states and exact solutions, on torch tensors.

x is (B, n) particle-major, t is (B, 1); see `dsmsim.system.system` for the potential and its sign, and
`dsmsim.system.interactions` for the pair convention.
"""

from __future__ import annotations

from dsmsim.system.closed_forms import CenterOfMass, ClosedForm, center_of_mass, closed_form
from dsmsim.system.initial import GaussianState, InitialState, ProductState, build_initial
from dsmsim.system.symmetry import is_mirror_symmetric
from dsmsim.system.system import System, build_system

__all__ = [
    "CenterOfMass",
    "ClosedForm",
    "GaussianState",
    "InitialState",
    "ProductState",
    "System",
    "build_initial",
    "build_system",
    "center_of_mass",
    "closed_form",
    "is_mirror_symmetric",
]
