"""The initial state as a part of an ansatz: log psi_0 and its derivatives, as arrays.

log psi_0 = (1/2) log rho_0 + i S_0 , gradient (mass/hbar)(u_0 + i v_0)

Every boson has the same one-particle state and no coordinate knows another, so each velocity is
differentiated by its own coordinate alone.

Shapes: W configurations x (W, n).
"""

from __future__ import annotations

import torch

from baselines.wave.wave_function import Array, Local
from dsmsim.system import InitialState


def initial_local(initial: InitialState, hbar: float, mass: float, x: Array) -> Local:
    """log psi_0, normalised, its gradient and its Laplacian at x (W, n)."""
    z = torch.from_numpy(x).requires_grad_()
    with torch.enable_grad():
        velocities = initial.u(z), initial.v(z)
        slopes = [
            torch.autograd.grad(field.sum(), z)[0] if field.requires_grad else torch.zeros_like(z)
            for field in velocities
        ]
    unit = mass / hbar
    with torch.no_grad():
        log_psi = torch.complex(0.5 * initial.log_density(z), initial.phase(z))
        gradient = unit * torch.complex(velocities[0].detach(), velocities[1].detach())
        laplacian = unit * torch.complex(slopes[0].sum(-1), slopes[1].sum(-1))
    return Local(log_psi.numpy(), gradient.numpy(), laplacian.numpy())


def initial_log_density(initial: InitialState, x: Array) -> Array:
    """log rho_0 (W,) at x (W, n)."""
    with torch.no_grad():
        density: Array = initial.log_density(torch.from_numpy(x)).numpy()
    return density
