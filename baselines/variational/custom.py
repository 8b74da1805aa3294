"""An ansatz of the user's own: `function = "module:build"`, called once as build(config).

It returns either of

    ansatz               an object with all of `baselines.variational.ansatz.Ansatz`
    (theta_0, log_psi)   theta_0: P numbers, those of psi_0; log_psi(theta, x): a torch function of theta
                         complex128 (P,) and x float64 (W, n) that returns log psi, complex128 (W,)

A torch function is differentiated here: backward, and its gradient backward once more for each coordinate,
which yields gradient and Laplacian for all W at once; and for O,

    O_k = d log psi / d theta_k = conj(d Re log psi / d theta_k)     (torch's convention for complex numbers)

as log psi is analytic in theta. What comes back is tried at a few configurations before it is used: psi_0,
exchange of particles, and every derivative against differences.

Shapes: W configurations x (W, n), particle-major; P parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.variational.ansatz import Ansatz
from baselines.wave.wave_function import Array, ComplexArray, Local
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.system import InitialState, build_initial
from dsmsim.system.targets import load_target

KEY = "baselines.tvmc.function"
GROUP = "dsmsim.ansatze"
SIGNATURE = "build(config)"
MEMBERS = ("linear", "names", "start", "local", "derivatives", "log_density")
# configurations that are differentiated at a time: bounds the memory
BLOCK = 4096
# of the trial: configurations, distance from psi_0's parameters, step of differences, largest relative errors
TRIED, AWAY, STEP = 6, 1e-3, 1e-4
DIFFERENCE, EXACT = 1e-4, 1e-6

LogPsi = Callable[[Tensor, Tensor], Tensor]


class TorchAnsatz:
    """log psi and its derivatives, by a torch function.

    Args:
        theta: (P,) of psi_0.
        log_psi: log psi (W,) complex128 of theta (P,) complex128 and x (W, n) float64, analytic in theta.
    """

    linear = False

    def __init__(self, theta: ComplexArray, log_psi: LogPsi) -> None:
        self._start = theta
        self._log_psi = log_psi
        self.names = tuple(f"theta[{k}]" for k in range(len(theta)))

    def start(self) -> ComplexArray:
        """theta (P,) of psi_0."""
        return self._start.copy()

    def local(self, theta: ComplexArray, x: Array) -> Local:
        """log psi, its gradient and its Laplacian at x (W, n)."""
        parameters = torch.from_numpy(theta)
        blocks = [self._local_block(parameters, block) for block in torch.split(torch.from_numpy(x), BLOCK)]
        return Local(*(torch.cat(parts).numpy() for parts in zip(*blocks, strict=True)))

    def derivatives(self, theta: ComplexArray, x: Array) -> ComplexArray:
        """O (W, P)."""
        if len(x) == 0:  # a rank without walkers, over which vmap cannot run
            return np.empty((0, len(theta)), dtype=np.complex128)
        parameters = torch.from_numpy(theta)
        each = torch.func.vmap(torch.func.grad(self._real_part), in_dims=(None, 0))
        blocks = [each(parameters, block).conj() for block in torch.split(torch.from_numpy(x), BLOCK)]
        return torch.cat(blocks).resolve_conj().numpy()

    def log_density(self, theta: ComplexArray, x: Array) -> Array:
        """log |psi|^2 (W,)."""
        with torch.no_grad():
            log_psi = self._log_psi(torch.from_numpy(theta), torch.from_numpy(x))
        return (2.0 * log_psi.real).numpy()

    def _real_part(self, theta: Tensor, x: Tensor) -> Tensor:
        """Re log psi of one configuration x (n,)."""
        return self._log_psi(theta, x[None])[0].real

    def _local_block(self, theta: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = x.detach().requires_grad_(True)
        with torch.enable_grad():
            log_psi = self._log_psi(theta, y)
            if not log_psi.is_complex():
                raise TypeError(f"log psi has type {log_psi.dtype}, and must be complex128")
            slopes, curves = zip(
                *(_slope_and_curve(part, y) for part in (log_psi.real, log_psi.imag)), strict=True
            )
        return log_psi.detach(), torch.complex(*slopes), torch.complex(*curves)


def _slope_and_curve(value: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient (W, n) and Laplacian (W,) of (W,) values, each of its own row of x (W, n)."""
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True, materialize_grads=True)
    curve = torch.zeros_like(value)
    if slope.requires_grad:  # it does not where the value is linear in x
        for axis in range(x.shape[1]):
            total = slope[:, axis].sum()
            (column,) = torch.autograd.grad(total, x, retain_graph=True, materialize_grads=True)
            curve = curve + column[:, axis]
    return slope.detach(), curve.detach()


def custom(config: Config) -> Ansatz:
    """The ansatz that the input names, tried out.

    Raises:
        ConfigError: the function cannot be imported or called, or what it returns is no ansatz,
            not psi_0 at the start, not the same when particles are exchanged, or has wrong derivatives.
    """
    target = config.baselines.tvmc.function
    assert target is not None, "the input is checked before"
    function = load_target(target, group=GROUP, key=KEY, signature=SIGNATURE)
    wrong = f"{KEY} = {target!r}:"
    try:
        ansatz = as_ansatz(function(config))
        fault = first_fault(ansatz, build_initial(config))
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{wrong} raised {type(error).__name__}: {error}; correct the function: it is called as "
            f"{SIGNATURE}, and what it returns with theta (P,) and x (W, n)",
            key=KEY,
        ) from error
    if fault:
        raise ConfigError(f"{wrong} {fault}", key=KEY)
    return ansatz


def as_ansatz(found: Any) -> Ansatz:
    """What the user's function returned, as an ansatz.

    Raises:
        TypeError, ValueError: it is neither an ansatz nor (theta_0, log_psi).
    """
    if isinstance(found, tuple):
        if len(found) != 2 or not callable(found[1]):
            raise TypeError("a tuple must be (theta_0, log_psi), numbers and a function")
        theta = np.array(found[0], dtype=np.complex128)
        if theta.ndim != 1 or theta.size == 0:
            raise ValueError(f"theta_0 has shape {theta.shape}, and must have shape (P,), P >= 1")
        return TorchAnsatz(theta, found[1])
    missing = [name for name in MEMBERS if not hasattr(found, name)]
    if missing:
        raise TypeError(
            f"{type(found).__name__} has no {', '.join(missing)}: return (theta_0, log_psi), or an object "
            f"with {', '.join(MEMBERS)}"
        )
    ansatz: Ansatz = found
    return ansatz


def first_fault(ansatz: Ansatz, initial: InitialState) -> str:
    """What is wrong with an ansatz, and the fix; nothing if all is well."""
    rng = np.random.default_rng(0)
    x = initial.sample(rng, TRIED)
    theta = np.asarray(ansatz.start())
    fault = _wrong_shapes(ansatz, theta, x) or _wrong_start(ansatz, theta, x, initial)
    if fault:
        return fault
    # where parameters that vanish for psi_0 show
    offset = rng.normal(size=(2, theta.size))
    theta = theta + AWAY * (1.0 + np.abs(theta)) * (offset[0] + 1j * offset[1])
    return (
        _wrong_density(ansatz, theta, x)
        or _wrong_exchange(ansatz, theta, x, initial.dimensions)
        or _wrong_gradient(ansatz, theta, x, np.sqrt(initial.variance))
        or _wrong_derivatives(ansatz, theta, x, rng)
    )


def _wrong_shapes(ansatz: Ansatz, theta: ComplexArray, x: Array) -> str:
    local, wanted = ansatz.local(theta, x), np.complex128
    count, real = len(ansatz.names), np.float64
    table: Sequence[tuple[str, Any, tuple[int, ...], type]] = [
        ("start()", theta, (count,), wanted),
        ("log psi", local.log_psi, x.shape[:1], wanted),
        ("the gradient", local.gradient, x.shape, wanted),
        ("the Laplacian", local.laplacian, x.shape[:1], wanted),
        ("log_density", ansatz.log_density(theta, x), x.shape[:1], real),
        ("O", ansatz.derivatives(theta, x), (len(x), count), real if ansatz.linear else wanted),
    ]
    for name, value, shape, kind in table:
        found = np.asarray(value)
        if found.shape != shape or found.dtype != kind:
            return (
                f"{name} has shape {found.shape} and type {found.dtype} for {len(x)} configurations of "
                f"{x.shape[1]} coordinates and {count} parameters; return {shape}, {kind.__name__}"
            )
        if not np.isfinite(found).all():
            return f"{name} is not finite where psi_0 is; correct the function"
    if not np.allclose(ansatz.log_density(theta, x[:1]), ansatz.log_density(theta, x)[:1], rtol=1e-9):
        return "log psi of a configuration depends on the other ones; return one value per row of x"
    return ""


def _wrong_start(ansatz: Ansatz, theta: ComplexArray, x: Array, initial: InitialState) -> str:
    """grad log psi = grad log sqrt(rho_0) + i grad S_0."""
    points = torch.from_numpy(x).requires_grad_(True)
    parts = initial.log_density(points).sum() / 2.0, initial.phase(points).sum()
    real, imag = (torch.autograd.grad(part, points)[0].numpy() for part in parts)
    error = _relative(ansatz.local(theta, x).gradient, real + 1j * imag)
    if error <= EXACT:
        return ""
    return (
        f"is not psi_0 at the start: grad log psi is wrong by {error:.1e} of its size; start with the "
        "parameters of the state that [initial] describes"
    )


def _wrong_density(ansatz: Ansatz, theta: ComplexArray, x: Array) -> str:
    twice, log_density = 2.0 * ansatz.local(theta, x).log_psi.real, ansatz.log_density(theta, x)
    if np.allclose(np.diff(twice), np.diff(log_density), rtol=EXACT, atol=EXACT):
        return ""
    return "log_density is not 2 Re log psi, up to a constant; correct one of them"


def _wrong_exchange(ansatz: Ansatz, theta: ComplexArray, x: Array, dimensions: int) -> str:
    particles = x.reshape(len(x), -1, dimensions)
    turned = np.ascontiguousarray(np.roll(particles, 1, axis=1).reshape(x.shape))
    swapped = particles.copy()
    swapped[:, :2] = particles[:, :2][:, ::-1]
    here = ansatz.local(theta, x).log_psi
    for other in (turned, swapped.reshape(x.shape)):
        if np.abs(_ratio(ansatz.local(theta, other).log_psi, here)).max() > EXACT:
            return "changes when particles are exchanged; bosons need a symmetric psi"
    return ""


def _wrong_gradient(ansatz: Ansatz, theta: ComplexArray, x: Array, lengths: Array) -> str:
    local = ansatz.local(theta, x)
    gradient, laplacian = np.empty_like(local.gradient), np.zeros_like(local.laplacian)
    for axis, length in enumerate(lengths):
        step = np.zeros_like(lengths)
        step[axis] = STEP * length
        above, below = ansatz.local(theta, x + step), ansatz.local(theta, x - step)
        gradient[:, axis] = _ratio(above.log_psi, below.log_psi) / (2.0 * step[axis])
        laplacian += (above.gradient - below.gradient)[:, axis] / (2.0 * step[axis])
    for name, found, expected in [
        ("the gradient", local.gradient, gradient),
        ("the Laplacian", local.laplacian, laplacian),
    ]:
        error = _relative(found, expected)
        if not error <= DIFFERENCE:
            return f"{name} of log psi differs from differences by {error:.1e} of its size; correct it"
    return ""


def _wrong_derivatives(ansatz: Ansatz, theta: ComplexArray, x: Array, rng: np.random.Generator) -> str:
    # along a real and an imaginary direction, since a function that is not analytic differs in one of them
    for phase in (1.0, 1j):
        change = phase * rng.normal(size=theta.size)
        above = ansatz.local(theta + STEP * change, x).log_psi
        expected = _ratio(above, ansatz.local(theta - STEP * change, x).log_psi) / (2.0 * STEP)
        error = _relative(ansatz.derivatives(theta, x) @ change, expected)
        if not error <= DIFFERENCE:
            return (
                f"O differs from differences of log psi by {error:.1e} of its size; correct it, and write "
                "log psi without conj, abs, real or imag of the parameters"
            )
    return ""


def _ratio(above: ComplexArray, below: ComplexArray) -> ComplexArray:
    """log psi - log psi', with the phase between -pi and pi."""
    change = above - below
    wrapped = (change.imag + np.pi) % (2.0 * np.pi) - np.pi
    return np.asarray(change.real + 1j * wrapped)


def _relative(found: NDArray[Any], expected: ComplexArray) -> float:
    """Largest error over the largest size."""
    size = max(float(np.abs(expected).max()), np.finfo(np.float64).tiny)
    return float(np.abs(found - expected).max()) / size
