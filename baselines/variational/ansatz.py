"""What t-VMC asks of an ansatz log psi(x; theta).

    O_k(x) = d log psi(x; theta) / d theta_k

The parameters theta are complex, and log psi depends on them analytically. An ansatz whose log is linear
in them, log psi = f(x) + sum_k theta_k O_k(x) with real O_k, says so by `linear`: its quantum geometric
tensor is real.

Shapes: W configurations x (W, n), P parameters.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from baselines.wave.wave_function import Array, ComplexArray, Local


class Ansatz(Protocol):
    """log psi(x; theta), up to a constant.

    Attributes:
        linear: whether log psi is linear in theta, with real O.
        names: of the parameters, P words for logs and files.
    """

    @property
    def linear(self) -> bool: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    def start(self) -> ComplexArray:
        """theta (P,) of psi_0."""
        ...

    def local(self, theta: ComplexArray, x: Array) -> Local:
        """log psi, its gradient and its Laplacian at x (W, n)."""
        ...

    def derivatives(self, theta: ComplexArray, x: Array) -> NDArray[np.float64] | NDArray[np.complex128]:
        """O (W, P): real where the ansatz is linear, else complex."""
        ...

    def log_density(self, theta: ComplexArray, x: Array) -> Array:
        """log |psi|^2 (W,)."""
        ...
