"""From density matrices of relative quanta to densities in space, with the true centre of mass put back.

With X the centre of mass, sqrt(N) X in the Gaussian state of `baselines.trap_motion`, all sums normalised:

    one boson   x1 = X + sqrt((N-1)/N) zeta,            zeta = (x1 - mean of the others) sqrt((N-1)/N)
    a pair      (x1 + x2)/sqrt(2) = sqrt(2) X + sqrt((N-2)/N) zeta,      (x1 - x2)/sqrt(2) = r

zeta and r are in oscillator states of length a with the shear c: phi_k(zeta/a) exp(i mass c zeta^2/(2 hbar)).

Shapes: `M` points of x, `L` labels, `E` cutoff.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.linalg import eigh

from baselines.fock_space.oscillators import oscillator_functions
from baselines.frame import FrameState
from baselines.trap_motion import TrapMotion

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Labels = NDArray[np.int64]

# eigenvalues of the density matrices of one boson, of pairs, below which they are left out (trace 1)
FAINT_EIGENVALUE, FAINT_PAIR = 1e-11, 1e-9
# widths beyond which a Gaussian is below rounding
GAUSSIAN_REACH = 8.5


@dataclass(frozen=True)
class Moment:
    """One time: the frame, and the centre of mass.

    Attributes:
        frame: length, shear.
        motion, index: state of sqrt(N) X at this time.
        particles, hbar, mass: of the system.
    """

    frame: FrameState
    motion: TrapMotion
    index: int
    particles: int
    hbar: float
    mass: float

    @property
    def mean(self) -> float:
        """Mean of X."""
        return float(self.motion.mean[self.index, 0])

    @property
    def center_variance(self) -> float:
        """Variance of X."""
        return float(self.motion.variance[self.index, 0]) / self.particles

    @property
    def shear_phase(self) -> float:
        """mass c a^2/(2 hbar), the factor of y^2 in the phase of a relative coordinate."""
        return 0.5 * self.mass * self.frame.shear * self.frame.length**2 / self.hbar

    def largest_wavenumber(self, size: int) -> float:
        """Of zeta in states below `size` quanta, its shear included: a bound."""
        reach = _reach(size)
        return (reach + 2.0 * abs(self.shear_phase) * reach) / self.frame.length


def one_body_density(matrix: ComplexArray, x: Array, moment: Moment) -> Array:
    """Density at x (M,) from the density matrix (E + 1, E + 1) of zeta; of integral 1."""
    y = _points(len(matrix))
    phi = oscillator_functions(y, len(matrix))
    weights = np.einsum("ky,kl,ly->y", phi, matrix, phi, optimize=True).real * (y[1] - y[0])
    factor = math.sqrt((moment.particles - 1) / moment.particles)
    centers = moment.mean + factor * moment.frame.length * y
    return np.asarray(_gaussian(x[:, None] - centers, moment.center_variance) @ weights)


def one_body_matrix(matrix: ComplexArray, x: Array, moment: Moment, wavenumber: float) -> ComplexArray:
    """rho(x, x') (M, M) from the density matrix (E + 1, E + 1) of zeta; of trace 1 where x holds it all.

    rho(x, x') = sum of weight_l int dB A_l(x, B) A_l^*(x', B),     sqrt(N-1) B = sum of the others

    Args:
        matrix: (E + 1, E + 1) of zeta.
        x: (M,).
        moment: the time.
        wavenumber: the largest that matters of a boson: the integral has points enough for it.
    """
    number, length = moment.particles, moment.frame.length
    weights, vectors = strong(matrix)
    # splines need more points than integrals, and the shear adds wavenumbers
    finer = 4.0 * moment.largest_wavenumber(len(matrix)) * length / _reach(len(matrix))
    y = _points(len(matrix), finer)
    values = (vectors.T @ oscillator_functions(y, len(matrix))) * np.exp(1j * moment.shear_phase * y**2)
    states = CubicSpline(y, values / math.sqrt(length), axis=1)
    small, large = 1.0 / math.sqrt(number), math.sqrt((number - 1) / number)
    own = (x - moment.mean)[:, None]
    others = _others(moment, float(np.abs(own).max()), wavenumber)
    zeta = (large * own - small * others) / length
    center = small * own + large * others + math.sqrt(number) * moment.mean
    wave = moment.motion.wave(center, moment.index, 0, moment.hbar, moment.mass, number)
    wave = np.where(np.abs(zeta) <= y[-1], wave, 0.0)
    amplitudes = wave * states(np.clip(zeta, y[0], y[-1]))
    found = np.zeros((len(x), len(x)), dtype=np.complex128)
    for weight, amplitude in zip(weights, amplitudes, strict=True):
        found += weight * (amplitude @ amplitude.conj().T)
    return np.asarray(found * (others[1] - others[0]))


def pair_density(names: Labels, matrix: ComplexArray, x: Array, moment: Moment) -> Array:
    """rho_2(x, x') (M, M) at equidistant x, of integral 1.

    Args:
        names: (L, 2) quanta of zeta and of r.
        matrix: (L, L) their density matrix.
        x: (M,).
        moment: the time.
    """
    number, length = moment.particles, moment.frame.length
    middle, difference = middles_and_differences(x)
    size = int(names.sum(1).max()) + 1
    phi_r = oscillator_functions(difference / length, size)[::2] / math.sqrt(length)
    y = _points(size)
    phi_zeta = oscillator_functions(y, size)
    weights, vectors = strong(matrix, FAINT_PAIR)
    relative = np.zeros((len(y), len(difference)))
    for weight, vector in zip(weights, vectors.T, strict=True):
        table = np.zeros((size, (size + 1) // 2), dtype=np.complex128)
        table[names[:, 0], names[:, 1] // 2] = vector
        # nobody else: no zeta, and only its number 0
        relative += weight * np.abs((phi_zeta.T if number > 2 else np.ones((1, size))) @ table @ phi_r) ** 2
    centers = math.sqrt(2.0) * moment.mean + math.sqrt((number - 2) / number) * length * y
    spread = _gaussian(middle[:, None] - centers, 2.0 * moment.center_variance)
    both = spread @ relative * (y[1] - y[0]) if number > 2 else spread[:, :1] * relative[:1]
    return at_pairs(both)


def middles_and_differences(x: Array) -> tuple[Array, Array]:
    """(x1 + x2)/sqrt(2) and (x1 - x2)/sqrt(2) for pairs of equidistant points (M,): 2 M - 1 values each."""
    dx = (x[-1] - x[0]) / (len(x) - 1)
    steps = np.arange(2 * len(x) - 1)
    difference = (steps - (len(x) - 1)) * dx / math.sqrt(2.0)
    return (2.0 * x[0] + steps * dx) / math.sqrt(2.0), difference


def at_pairs(values: Array) -> Array:
    """(M, M) at pairs of points from values at their middles and differences (2 M - 1, 2 M - 1)."""
    i = np.arange((len(values) + 1) // 2)
    return np.asarray(values[i[:, None] + i, i[:, None] - i + len(i) - 1])


def with_center_of_mass(
    y: Array, slopes: ComplexArray, moment: Moment, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Positions, osmotic and current velocity (K, N) of configurations with the true centre of mass.

    The vacuum's factor exp(-N Y^2/2), Y the mean of y, is taken out of the slopes, and the true Gaussian put
    in its place, its position drawn from it.

    Args:
        y, slopes: (K, N) configurations in the frame and d log psi/dy there.
        moment: the time.
        rng: for the position of the centre of mass.
    """
    frame, number = moment.frame, moment.particles
    middle = y.mean(1, keepdims=True)
    # without the centre of mass; then from y to lengths, with the shear of the frame
    slopes = (slopes + middle) / frame.length
    slopes = slopes + 1j * moment.mass * frame.shear / moment.hbar * frame.length * (y - middle)
    shift = math.sqrt(moment.center_variance) * rng.standard_normal((len(y), 1))
    x = moment.mean + shift + frame.length * (y - middle)
    unit = moment.hbar / moment.mass
    variance = number * moment.center_variance
    rate = float(moment.motion.variance_rate[moment.index, 0])
    u = unit * slopes.real - 0.5 * unit * shift / variance
    velocity = float(moment.motion.velocity[moment.index, 0])
    v = unit * slopes.imag + velocity + 0.5 * rate / variance * shift
    return x, u, v


def strong(matrix: ComplexArray, least: float = FAINT_EIGENVALUE) -> tuple[Array, ComplexArray]:
    """Eigenvalues above `least` of a Hermitian matrix, and their eigenvectors."""
    values, vectors = eigh(matrix, subset_by_value=(least, math.inf))
    return np.asarray(values, dtype=np.float64), np.asarray(vectors, dtype=np.complex128)


def _reach(size: int) -> float:
    """y beyond which functions of fewer than `size` quanta vanish."""
    return math.sqrt(2.0 * size) + 6.0


def _points(size: int, finer: float = 1.0) -> Array:
    """Equidistant y that resolve products of functions of fewer than `size` quanta, or more by a factor."""
    reach = _reach(size)
    return np.linspace(-reach, reach, 2 * int(2.0 * finer * reach**2 / math.pi) + 1)


def _others(moment: Moment, farthest: float, wavenumber: float) -> Array:
    """Equidistant values of B where the centre of mass is not negligible."""
    number = moment.particles
    variance = float(moment.motion.variance[moment.index, 0])
    rate = float(moment.motion.variance_rate[moment.index, 0])
    width = GAUSSIAN_REACH * math.sqrt(variance)
    reach = (farthest / math.sqrt(number) + width) / math.sqrt((number - 1) / number)
    wave = 0.5 * GAUSSIAN_REACH / math.sqrt(variance) + moment.mass * abs(rate) * width / (
        2.0 * moment.hbar * variance
    )
    # zeta moves by 1/sqrt(N) of B, and has no larger wavenumbers than sqrt(N/(N-1)) of a boson's
    wave += wavenumber / math.sqrt(number - 1)
    # the integrand has twice the wavenumbers of the amplitude: sums over such points are exact
    return np.linspace(-reach, reach, 2 * math.ceil(reach * wave / math.pi) + 1)


def _gaussian(distance: Array, variance: float) -> Array:
    return np.asarray(np.exp(-(distance**2) / (2.0 * variance)) / math.sqrt(2.0 * math.pi * variance))
