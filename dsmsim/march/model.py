"""What can march: fields with parameters theta, of which the equations of motion are linear in d theta/dt.

At configurations x drawn from the density, d theta/dt is the least-squares solution of

    sum_k A_rk(x) theta'_k = b_r(x)        r = 1 ... R for every x

    log psi, theta complex    A = d log psi/d theta, b = -(i/hbar) E_local                  R = 1, complex
    log psi, theta real       A = d (R, S)/d theta, b = (Im E_local, -Re E_local)/hbar      R = 2
    velocities (u, v)         A = d (u, v)/d theta, b = the right-hand sides of Nelson's    R = 2n
                              equations

(Carleo, Cevolani, Sanchez-Palencia, Holzmann, Phys. Rev. X 7, 031026 (2017); Bruna, Peherstorfer,
Vanden-Eijnden, J. Comput. Phys. 496, 112588 (2024), "neural Galerkin".) A function of time alone in log psi
changes only norm and global phase, so there A and b count as deviations from their means.

Shapes: W configurations, n coordinates, P parameters, R equations at each configuration.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Theta = NDArray[np.float64] | NDArray[np.complex128]


class Local(NamedTuple):
    """The fields at configurations.

    Attributes:
        u, v: (W, n) osmotic and current velocity.
        div_v: (W,) divergence of v.
        log_density: (W,) log |psi|^2 up to a constant; None for velocity networks, which know no density.
    """

    u: Tensor
    v: Tensor
    div_v: Tensor
    log_density: Tensor | None


class Equations(NamedTuple):
    """The fields at configurations, and the equations of motion of the parameters there.

    Attributes:
        local: the fields.
        rows: (W, R, P) A, real or complex as theta is.
        targets: (W, R) b.
    """

    local: Local
    rows: Tensor
    targets: Tensor


class Model(Protocol):
    """Fields without a time of their own: what moves is theta (P,), kept by whoever calls.

    All tensors are float64 or complex128 and lie on the device of x.

    Attributes:
        analytic: whether theta is complex, and log psi analytic in it.
        centred: whether rows and targets count as deviations from their means.
    """

    @property
    def analytic(self) -> bool: ...

    @property
    def centred(self) -> bool: ...

    @property
    def names(self) -> tuple[str, ...]:
        """P words, one for each parameter."""
        ...

    def start(self) -> Theta:
        """theta (P,) of the initial state, exactly."""
        ...

    def equations(self, theta: Theta, x: Tensor, t: float) -> Equations:
        """Fields, rows and targets at x (W, n) and time t."""
        ...

    def local(self, theta: Theta, x: Tensor) -> Local:
        """The fields at x (W, n)."""
        ...

    def velocities(self, theta: Theta, x: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v), each (W, n), at x (W, n)."""
        ...

    def score(self, theta: Theta, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """u (W, n) and log |psi|^2 (W,) up to a constant (None as in `Local`) at x (W, n)."""
        ...

    def fault(self, theta: Theta, farthest: float) -> str | None:
        """Why theta describes no state, such as one that cannot be normalised; None where it does.

        Args:
            farthest: largest distance of a walker's coordinate from where the first cloud was.
        """
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What, besides theta, makes the model, as arrays for a file; see `load`."""
        ...
