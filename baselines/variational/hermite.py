"""The published ansatz: each boson in a superposition of oscillator functions, each pair in one of products.

    psi(x) = prod_i f(x_i) prod_{i<j} g(x_i, x_j)
    f(x)    = sum_n a_n phi_n(x),                                                 n = 0 ... n_max
    g(x, y) = sum_{k<=l} C_kl [phi_k(x) phi_l(y) + phi_l(x) phi_k(y)],         k, l = -1 ... n_max

with phi_{-1} = 1 and the oscillator functions of the initial Gaussian, in y = (x - mean) / sqrt(2 variance),

    phi_n = pi^(-1/4) exp(-y^2/2) p_n,   sqrt(n+1) p_{n+1} = sqrt(2) y p_n - sqrt(n) p_{n-1},   p_0 = 1,
    p_n' = sqrt(2n) p_{n-1},  phi_n' = pi^(-1/4) exp(-y^2/2) (p_n' - y p_n),  phi_n'' = (y^2 - 2n - 1) phi_n.

with all others 0, a_0 = C_{-1,-1} = 1 is psi_0. A factor of all a, or of all C, changes nothing but the norm,
so these two stay 1: as parameters they would do nothing at the start and what others do later, and the
equations of motion would jump in between.

Source: the code of Orlova et al., "Deep Stochastic Mechanics" (ICML 2024). It multiplies over ordered pairs,
hence squares g, and keeps C_kl and C_lk apart although they multiply the same function: 505 parameters with
n_max = 20. Here a pair counts once and has only k <= l: 272, and the same tangent space at the start.

Shapes: W configurations x (W, N) of N bosons in one dimension, P parameters, M = n_max + 2 functions of a
boson in a pair, the constant first. Eight configurations at a time go through the loops, one per SIMD lane.
"""

from __future__ import annotations

import math

import numpy as np
from numba import get_num_threads, prange

from baselines.compiling import compiled
from baselines.wave.wave_function import Array, ComplexArray, Local
from dsmsim.config import Config
from dsmsim.config.system import ProductState
from dsmsim.errors import ConfigError
from dsmsim.system.initial import gaussian_parameters

LANES = 8
KEY = "baselines.tvmc.ansatz"
PEAK = math.pi**-0.25  # of phi_0


class Hermite:
    """log psi = sum_i log f(x_i) + sum_{i<j} log g(x_i, x_j), for any number of bosons in one dimension.

    Args:
        particles: N.
        n_max: highest order of the functions.
        mean, variance: of the Gaussian |psi_0|^2 of one boson (length, length^2).
    """

    linear = False

    def __init__(self, particles: int, n_max: int, mean: float, variance: float) -> None:
        self.particles, self.n_max = particles, n_max
        self.mean, self.length = mean, math.sqrt(2.0 * variance)
        # a lone boson has no pairs
        self._pairs = np.triu_indices(n_max + 2 if particles > 1 else 0)
        orders = [f"a[{n}]" for n in range(1, n_max + 1)]
        pairs = [f"c[{k - 1},{m - 1}]" for k, m in zip(*self._pairs, strict=True)]
        self.names = (*orders, *pairs[1:])

    def start(self) -> ComplexArray:
        """theta (P,) of psi_0."""
        return np.zeros(len(self.names), dtype=np.complex128)

    def local(self, theta: ComplexArray, x: Array) -> Local:
        """log psi, its gradient and its Laplacian at x (W, N)."""
        log_psi = np.empty(len(x), dtype=np.complex128)
        gradient = np.empty(x.shape, dtype=np.complex128)
        laplacian = np.empty(len(x), dtype=np.complex128)
        _local(self._scaled(x), *self._split(theta), log_psi, gradient, laplacian, get_num_threads())
        return Local(log_psi, gradient / self.length, laplacian / self.length**2)

    def derivatives(self, theta: ComplexArray, x: Array) -> ComplexArray:
        """O (W, P)."""
        count = self.n_max + 1 + len(self._pairs[0])
        found = np.empty((len(x), count), dtype=np.complex128)
        _derivatives(self._scaled(x), *self._split(theta), found, get_num_threads())
        return np.delete(found, [0, *([self.n_max + 1] if self.particles > 1 else [])], axis=1)

    def log_density(self, theta: ComplexArray, x: Array) -> Array:
        """log |psi|^2 (W,)."""
        found = np.empty(len(x))
        _log_density(self._scaled(x), *self._split(theta), found, get_num_threads())
        return found

    def _scaled(self, x: Array) -> Array:
        return np.ascontiguousarray((x - self.mean) / self.length)

    def _split(self, theta: ComplexArray) -> tuple[Array, Array]:
        """a as (2, n_max + 1), real and imaginary part, and G as (2, M, M): g = sum_kl G_kl phi_k phi_l."""
        one_body = np.concatenate(([1.0], theta[: self.n_max]))
        matrix = np.zeros((self.n_max + 2, self.n_max + 2), dtype=np.complex128)
        if self.particles > 1:
            matrix[self._pairs] = np.concatenate(([1.0], theta[self.n_max :]))
        matrix += matrix.T
        return np.stack([one_body.real, one_body.imag]), np.stack([matrix.real, matrix.imag])


def hermite(config: Config) -> Hermite:
    """The ansatz of an input.

    Raises:
        ConfigError: more than one dimension, or a start that is no real Gaussian.
    """
    if config.system.dimensions != 1:
        raise ConfigError(
            f"{KEY} = 'hermite': is made for one dimension, and system.dimensions = "
            f"{config.system.dimensions}; write ansatz = 'jastrow'",
            key=KEY,
        )
    fix = "start from 'trap_ground_state' or from 'gaussian' without phase, or write ansatz = 'jastrow'"
    if isinstance(config.initial, ProductState):
        raise ConfigError(f"{KEY} = 'hermite': initial.kind = 'product' is no Gaussian; {fix}", key=KEY)
    (mean,), (variance,), (wavenumber,) = gaussian_parameters(config)
    if wavenumber != 0.0:
        raise ConfigError(
            f"{KEY} = 'hermite': initial.phase = {wavenumber:g}, but a finite sum of oscillator functions "
            f"at rest is real at the start; {fix}",
            key=KEY,
        )
    return Hermite(config.system.particles, config.baselines.tvmc.n_max, mean, variance)


@compiled
def _polynomials(y: Array, first: int, p: Array, now: Array) -> None:
    """p_n (N, n_max + 1, 8) and y (N, 8) of eight configurations, the last repeated for those that lack."""
    last = y.shape[0] - 1
    for i in range(p.shape[0]):
        for b in range(LANES):
            now[i, b] = y[min(first + b, last), i]
            p[i, 0, b] = 1.0
        for n in range(p.shape[1] - 1):
            rise, fall = math.sqrt(2.0 / (n + 1)), math.sqrt(n / (n + 1))
            for b in range(LANES):
                lower = p[i, n - 1, b] if n > 0 else 0.0
                p[i, n + 1, b] = rise * now[i, b] * p[i, n, b] - fall * lower


@compiled
def _pair_functions(p: Array, y: Array, q: Array, slope: Array, curve: Array) -> None:
    """The M functions of a pair's boson, and their first two derivatives by y: (N, M, 8) each."""
    for i in range(p.shape[0]):
        for b in range(LANES):
            gauss = PEAK * math.exp(-0.5 * y[i, b] * y[i, b])
            q[i, 0, b] = 1.0
            q[i, 1, b] = gauss
            slope[i, 0, b] = curve[i, 0, b] = 0.0
            slope[i, 1, b] = -y[i, b] * gauss
            curve[i, 1, b] = (y[i, b] * y[i, b] - 1.0) * gauss
        for n in range(1, p.shape[1]):
            rise = math.sqrt(2.0 * n)
            for b in range(LANES):
                gauss = q[i, 1, b]
                q[i, n + 1, b] = gauss * p[i, n, b]
                slope[i, n + 1, b] = gauss * (rise * p[i, n - 1, b] - y[i, b] * p[i, n, b])
                curve[i, n + 1, b] = (y[i, b] * y[i, b] - (2.0 * n + 1.0)) * q[i, n + 1, b]


@compiled
def _partners(q: Array, matrix: Array, h: Array) -> None:
    """h_k = sum_l G_kl q_l of every boson: (2, N, M, 8)."""
    h[:] = 0.0
    for i in range(q.shape[0]):
        for k in range(q.shape[1]):
            for m in range(q.shape[1]):
                real, imag = matrix[0, k, m], matrix[1, k, m]
                for b in range(LANES):
                    h[0, i, k, b] += real * q[i, m, b]
                    h[1, i, k, b] += imag * q[i, m, b]


@compiled
def _contracted(q: Array, i: int, h: Array, j: int, found: Array) -> None:
    """sum_k q_k h_k of functions of boson i and partners of boson j: (2, 8)."""
    found[:] = 0.0
    for k in range(q.shape[1]):
        for b in range(LANES):
            found[0, b] += q[i, k, b] * h[0, j, k, b]
            found[1, b] += q[i, k, b] * h[1, j, k, b]


@compiled
def _superposed(p: Array, i: int, a: Array, found: Array) -> None:
    """sum_n a_n p_n and its first two derivatives by y: (3, 2, 8)."""
    found[:] = 0.0
    for n in range(p.shape[1]):
        real, imag = a[0, n], a[1, n]
        for b in range(LANES):
            found[0, 0, b] += real * p[i, n, b]
            found[0, 1, b] += imag * p[i, n, b]
        if n > 0:
            rise = math.sqrt(2.0 * n)
            for b in range(LANES):
                found[1, 0, b] += real * rise * p[i, n - 1, b]
                found[1, 1, b] += imag * rise * p[i, n - 1, b]
        if n > 1:
            rise = math.sqrt(4.0 * n * (n - 1))
            for b in range(LANES):
                found[2, 0, b] += real * rise * p[i, n - 2, b]
                found[2, 1, b] += imag * rise * p[i, n - 2, b]


@compiled
def _local_blocks(
    y: Array,
    a: Array,
    matrix: Array,
    log_psi: ComplexArray,
    gradient: ComplexArray,
    laplacian: ComplexArray,
    begin: int,
    end: int,
) -> None:
    """log psi and its derivatives by y, of the blocks of eight begin ... end - 1."""
    walkers, particles = y.shape
    functions = matrix.shape[1]
    p, now = np.empty((particles, a.shape[1], LANES)), np.empty((particles, LANES))
    q, slope = np.empty((particles, functions, LANES)), np.empty((particles, functions, LANES))
    curve, h = np.empty((particles, functions, LANES)), np.empty((2, particles, functions, LANES))
    f, g = np.empty((3, 2, LANES)), np.empty((5, 2, LANES))
    for block in range(begin, end):
        first = block * LANES
        count = min(LANES, walkers - first)
        _polynomials(y, first, p, now)
        for b in range(count):
            log_psi[first + b] = laplacian[first + b] = 0.0
        for i in range(particles):
            _superposed(p, i, a, f)
            for b in range(count):
                value = complex(f[0, 0, b], f[0, 1, b])
                ratio = complex(f[1, 0, b], f[1, 1, b]) / value
                log_psi[first + b] += np.log(value) - 0.5 * now[i, b] * now[i, b]
                gradient[first + b, i] = ratio - now[i, b]
                laplacian[first + b] += complex(f[2, 0, b], f[2, 1, b]) / value - ratio * ratio - 1.0
        if particles == 1:
            continue
        _pair_functions(p, now, q, slope, curve)
        _partners(q, matrix, h)
        for i in range(particles):
            for j in range(i):
                _contracted(q, i, h, j, g[0])
                _contracted(slope, i, h, j, g[1])
                _contracted(curve, i, h, j, g[2])
                _contracted(slope, j, h, i, g[3])
                _contracted(curve, j, h, i, g[4])
                for b in range(count):
                    value = complex(g[0, 0, b], g[0, 1, b])
                    inverse = 1.0 / value
                    by_i = complex(g[1, 0, b], g[1, 1, b]) * inverse
                    by_j = complex(g[3, 0, b], g[3, 1, b]) * inverse
                    curves = complex(g[2, 0, b] + g[4, 0, b], g[2, 1, b] + g[4, 1, b]) * inverse
                    log_psi[first + b] += np.log(value)
                    gradient[first + b, i] += by_i
                    gradient[first + b, j] += by_j
                    laplacian[first + b] += curves - by_i * by_i - by_j * by_j


@compiled
def _derivatives_blocks(y: Array, a: Array, matrix: Array, found: ComplexArray, begin: int, end: int) -> None:
    """O (W, P): sum_i p_n(x_i)/f(x_i); with w_ij = 1/g_ij, sum_i q_k(x_i) sum_{j != i} w_ij q_l(x_j)."""
    walkers, particles = y.shape
    functions = matrix.shape[1]
    orders = a.shape[1]
    p, now = np.empty((particles, orders, LANES)), np.empty((particles, LANES))
    q, unused = np.empty((particles, functions, LANES)), np.empty((particles, functions, LANES))
    h, weighted = np.empty((2, particles, functions, LANES)), np.empty((2, particles, functions, LANES))
    f, g, total = np.empty((3, 2, LANES)), np.empty((2, LANES)), np.empty((2, LANES))
    for block in range(begin, end):
        first = block * LANES
        count = min(LANES, walkers - first)
        _polynomials(y, first, p, now)
        for b in range(count):
            found[first + b, :orders] = 0.0
        for i in range(particles):
            _superposed(p, i, a, f)
            for b in range(count):
                inverse = 1.0 / complex(f[0, 0, b], f[0, 1, b])
                for n in range(orders):
                    found[first + b, n] += p[i, n, b] * inverse
        if particles == 1:
            continue
        _pair_functions(p, now, q, unused, unused)
        _partners(q, matrix, h)
        weighted[:] = 0.0
        for i in range(particles):
            for j in range(i):
                _contracted(q, i, h, j, g)
                for b in range(LANES):
                    size = g[0, b] * g[0, b] + g[1, b] * g[1, b]
                    g[0, b] /= size
                    g[1, b] /= -size
                for part in range(2):
                    for k in range(functions):
                        for b in range(LANES):
                            weighted[part, i, k, b] += g[part, b] * q[j, k, b]
                            weighted[part, j, k, b] += g[part, b] * q[i, k, b]
        place = orders
        for k in range(functions):
            for m in range(k, functions):
                total[:] = 0.0
                for i in range(particles):
                    for b in range(LANES):
                        total[0, b] += q[i, k, b] * weighted[0, i, m, b]
                        total[1, b] += q[i, k, b] * weighted[1, i, m, b]
                for b in range(count):
                    found[first + b, place] = complex(total[0, b], total[1, b])
                place += 1


@compiled
def _log_density_blocks(y: Array, a: Array, matrix: Array, found: Array, begin: int, end: int) -> None:
    """log |psi|^2 (W,)."""
    walkers, particles = y.shape
    functions = matrix.shape[1]
    p, now = np.empty((particles, a.shape[1], LANES)), np.empty((particles, LANES))
    q, unused = np.empty((particles, functions, LANES)), np.empty((particles, functions, LANES))
    h, f, g = np.empty((2, particles, functions, LANES)), np.empty((3, 2, LANES)), np.empty((2, LANES))
    for block in range(begin, end):
        first = block * LANES
        count = min(LANES, walkers - first)
        _polynomials(y, first, p, now)
        for b in range(count):
            found[first + b] = 0.0
        for i in range(particles):
            _superposed(p, i, a, f)
            for b in range(count):
                size = f[0, 0, b] * f[0, 0, b] + f[0, 1, b] * f[0, 1, b]
                found[first + b] += math.log(size) - now[i, b] * now[i, b]
        if particles == 1:
            continue
        _pair_functions(p, now, q, unused, unused)
        _partners(q, matrix, h)
        for i in range(particles):
            for j in range(i):
                _contracted(q, i, h, j, g)
                for b in range(count):
                    found[first + b] += math.log(g[0, b] * g[0, b] + g[1, b] * g[1, b])


def _local_shared(
    y: Array,
    a: Array,
    matrix: Array,
    log_psi: ComplexArray,
    gradient: ComplexArray,
    laplacian: ComplexArray,
    threads: int,
) -> None:
    """log psi and its derivatives by y."""
    blocks = (y.shape[0] + LANES - 1) // LANES
    for thread in prange(threads):
        begin, end = thread * blocks // threads, (thread + 1) * blocks // threads
        _local_blocks(y, a, matrix, log_psi, gradient, laplacian, begin, end)


def _derivatives_shared(y: Array, a: Array, matrix: Array, found: ComplexArray, threads: int) -> None:
    """O (W, P)."""
    blocks = (y.shape[0] + LANES - 1) // LANES
    for thread in prange(threads):
        begin, end = thread * blocks // threads, (thread + 1) * blocks // threads
        _derivatives_blocks(y, a, matrix, found, begin, end)


def _log_density_shared(y: Array, a: Array, matrix: Array, found: Array, threads: int) -> None:
    """log |psi|^2 (W,)."""
    blocks = (y.shape[0] + LANES - 1) // LANES
    for thread in prange(threads):
        begin, end = thread * blocks // threads, (thread + 1) * blocks // threads
        _log_density_blocks(y, a, matrix, found, begin, end)


# the blocks of eight are shared out over threads
_local = compiled(_local_shared, parallel=True)
_derivatives = compiled(_derivatives_shared, parallel=True)
_log_density = compiled(_log_density_shared, parallel=True)
