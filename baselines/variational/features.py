"""One-body, pair and three-body functions of an ansatz whose log is linear in its parameters: the kernels.

    log psi = sum_i sum_a [ a_a x_ia + b_a x_ia^2 + sum_m d_am exp(-(x_ia - c_am)^2/(2 B_a)) ]
            + sum_{i<j} [ p_0 r_ij^2 + sum_k p_k e_k(r_ij^2) ]
            + sum_i A_i^T M A_i ,          A_iq = sum_{j != i} e_q(r_ij^2)

    e_k(q) = exp(-q/(2 w_k)) ,    w_k = w_0/2^k ,    r_ij = |x_i - x_j|

The last line couples three particles. Every e_k is the square of the one before, so one exponential serves a
pair. With B_iq = sum_p M_qp A_ip and f' the derivative by q = r^2,

    d/dx_m of the last line    sum_{j != m} sum_q 4 e_q'(r_mj^2) r_mj (B_mq + B_jq)
    its Laplacian    sum_m sum_{j != m} sum_q 2 (4 e_q'' r^2 + 2 D e_q') (B_mq + B_jq)
                     + sum_m [ 2 G_m^T M G_m + 2 sum_{j != m} g_mj^T M g_mj ]
    g_mjq = 2 e_q' r_mj ,    G_m = sum_j g_mj

All coefficients are complex, all functions real.

Shapes: W configurations x (W, n), N particles, D dimensions, n = N D, K widths, Q functions in A, C Gaussians
of a coordinate along each axis.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from baselines.compiling import compiled

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Integers = NDArray[np.int64]

CHUNK = 64  # configurations that one thread takes at a time


class Shape(NamedTuple):
    """What does not change with the parameters.

    Attributes:
        particles, dimensions: N, D.
        widest: w_0, squared length.
        widths: K.
        chosen: (Q,) which e_k stand in A.
        centers: (D, C) c_am, length.
        spreads: (D,) B_a, squared length.
        linear: whether log psi has terms linear in x.
    """

    particles: int
    dimensions: int
    widest: float
    widths: int
    chosen: Integers
    centers: Array
    spreads: Array
    linear: bool


class Coefficients(NamedTuple):
    """The complex coefficients: a (D,), b (D,), d (D, C), p (1 + K,), M (Q, Q) symmetric."""

    first: ComplexArray
    second: ComplexArray
    bumps: ComplexArray
    pairs: ComplexArray
    triples: ComplexArray


def _pair_functions(x, c, i, j, dimensions, widest, widths, out):  # type: ignore[no-untyped-def]
    """r^2 of a pair; e_k of it into `out`."""
    q = 0.0
    for a in range(dimensions):
        r = x[c, i * dimensions + a] - x[c, j * dimensions + a]
        q += r * r
    e = math.exp(-0.5 * q / widest)
    for k in range(widths):
        out[k] = e
        e *= e
    return q


_pair: Any = compiled(_pair_functions, fastmath=True, inline=True)


def _local(x, shape, coefficients, log_psi, gradient, laplacian):  # type: ignore[no-untyped-def]
    """log psi (W,), its gradient (W, n) and its Laplacian (W,), all complex, into the last three."""
    particles, dims, widest, widths = shape.particles, shape.dimensions, shape.widest, shape.widths
    chosen, centers, spreads = shape.chosen, shape.centers, shape.spreads
    first, second, bumps, pairs, triples = coefficients
    count, many = len(x), len(chosen)
    narrowness = 0.5 / widest * 2.0 ** np.arange(widths)  # e_k' = -narrowness e_k
    for chunk in prange((count + CHUNK - 1) // CHUNK):
        e = np.empty(widths)
        slope = np.empty((particles, particles, many))  # e_q'
        bend = np.empty((particles, particles, many))  # 4 e_q'' r^2 + 2 D e_q'
        around = np.empty((particles, many))  # A
        weight = np.empty((particles, many), dtype=np.complex128)  # B
        pull = np.empty((dims, many))  # G_m
        for c in range(chunk * CHUNK, min(count, (chunk + 1) * CHUNK)):
            value = 0.0j
            lap = 0.0j
            for i in range(particles):
                for a in range(dims):
                    y = x[c, i * dims + a]
                    value += (first[a] + second[a] * y) * y
                    g = first[a] + 2.0 * second[a] * y
                    lap += 2.0 * second[a]
                    for m in range(centers.shape[1]):
                        z = y - centers[a, m]
                        bump = bumps[a, m] * math.exp(-0.5 * z * z / spreads[a])
                        value += bump
                        g -= bump * (z / spreads[a])
                        lap += bump * ((z * z / spreads[a] - 1.0) / spreads[a])
                    gradient[c, i * dims + a] = g
            around[:] = 0.0
            for i in range(particles):
                for j in range(i):
                    q = _pair(x, c, i, j, dims, widest, widths, e)
                    p = pairs[0] * q
                    d1 = pairs[0]
                    d2 = 0.0j
                    for k in range(widths):
                        term = pairs[1 + k] * e[k]
                        p += term
                        term = term * narrowness[k]
                        d1 -= term
                        d2 += term * narrowness[k]
                    value += p
                    lap += 2.0 * (4.0 * d2 * q + 2.0 * dims * d1)
                    for a in range(dims):
                        r = x[c, i * dims + a] - x[c, j * dims + a]
                        g = 2.0 * r * d1
                        gradient[c, i * dims + a] += g
                        gradient[c, j * dims + a] -= g
                    for s in range(many):
                        k = chosen[s]
                        around[i, s] += e[k]
                        around[j, s] += e[k]
                        s1 = -narrowness[k] * e[k]
                        s2 = 4.0 * narrowness[k] * narrowness[k] * e[k] * q + 2.0 * dims * s1
                        slope[i, j, s] = s1
                        slope[j, i, s] = s1
                        bend[i, j, s] = s2
                        bend[j, i, s] = s2
            if many > 0:
                for i in range(particles):
                    for s in range(many):
                        b = 0.0j
                        for p_ in range(many):
                            b += triples[s, p_] * around[i, p_]
                        weight[i, s] = b
                        value += b * around[i, s]
                for i in range(particles):
                    pull[:] = 0.0
                    for j in range(particles):
                        if j == i:
                            continue
                        total = 0.0j
                        q = 0.0
                        for s in range(many):
                            both = weight[i, s] + weight[j, s]
                            total += 4.0 * slope[i, j, s] * both
                            lap += 2.0 * bend[i, j, s] * both
                        for a in range(dims):
                            r = x[c, i * dims + a] - x[c, j * dims + a]
                            q += r * r
                            gradient[c, i * dims + a] += total * r
                            for s in range(many):
                                pull[a, s] += 2.0 * slope[i, j, s] * r
                        # 2 g^T M g, once for the pair as seen from i
                        form = 0.0j
                        for s in range(many):
                            for p_ in range(many):
                                form += slope[i, j, s] * slope[i, j, p_] * triples[s, p_]
                        lap += 8.0 * q * form
                    for a in range(dims):
                        for s in range(many):
                            for p_ in range(many):
                                lap += 2.0 * pull[a, s] * pull[a, p_] * triples[s, p_]
            log_psi[c] = value
            laplacian[c] = lap


def _functions(x, shape, out):  # type: ignore[no-untyped-def]
    """The real functions themselves (W, P), in the order of `names`, into `out`."""
    particles, dims, widest, widths = shape.particles, shape.dimensions, shape.widest, shape.widths
    chosen, centers, spreads, linear = shape.chosen, shape.centers, shape.spreads, shape.linear
    count, many, bumps = len(x), len(chosen), shape.centers.shape[1]
    for chunk in prange((count + CHUNK - 1) // CHUNK):
        e = np.empty(widths)
        around = np.empty((particles, many))
        for c in range(chunk * CHUNK, min(count, (chunk + 1) * CHUNK)):
            row = out[c]
            row[:] = 0.0
            at = dims if linear else 0
            for i in range(particles):
                for a in range(dims):
                    y = x[c, i * dims + a]
                    if linear:
                        row[a] += y
                    row[at + a] += y * y
                    for m in range(bumps):
                        z = y - centers[a, m]
                        row[at + dims + a * bumps + m] += math.exp(-0.5 * z * z / spreads[a])
            at += dims + dims * bumps
            if particles == 1:
                continue
            around[:] = 0.0
            for i in range(particles):
                for j in range(i):
                    row[at] += _pair(x, c, i, j, dims, widest, widths, e)
                    for k in range(widths):
                        row[at + 1 + k] += e[k]
                    for s in range(many):
                        around[i, s] += e[chosen[s]]
                        around[j, s] += e[chosen[s]]
            at += 1 + widths
            for s in range(many):
                for p in range(s + 1):
                    for i in range(particles):
                        row[at] += around[i, s] * around[i, p]
                    at += 1


def _log_density(x, shape, coefficients, out):  # type: ignore[no-untyped-def]
    """2 Re log psi (W,) into `out`; the coefficients are real here."""
    particles, dims, widest, widths = shape.particles, shape.dimensions, shape.widest, shape.widths
    chosen, centers, spreads = shape.chosen, shape.centers, shape.spreads
    first, second, bumps, pairs, triples = coefficients
    count, many = len(x), len(chosen)
    for chunk in prange((count + CHUNK - 1) // CHUNK):
        e = np.empty(widths)
        around = np.empty((particles, many))
        for c in range(chunk * CHUNK, min(count, (chunk + 1) * CHUNK)):
            value = 0.0
            for i in range(particles):
                for a in range(dims):
                    y = x[c, i * dims + a]
                    value += (first[a] + second[a] * y) * y
                    for m in range(centers.shape[1]):
                        z = y - centers[a, m]
                        value += bumps[a, m] * math.exp(-0.5 * z * z / spreads[a])
            around[:] = 0.0
            for i in range(particles):
                for j in range(i):
                    value += pairs[0] * _pair(x, c, i, j, dims, widest, widths, e)
                    for k in range(widths):
                        value += pairs[1 + k] * e[k]
                    for s in range(many):
                        around[i, s] += e[chosen[s]]
                        around[j, s] += e[chosen[s]]
            for i in range(particles):
                for s in range(many):
                    for p in range(many):
                        value += triples[s, p] * around[i, s] * around[i, p]
            out[c] = 2.0 * value


local: Any = compiled(_local, parallel=True, fastmath=True)
functions: Any = compiled(_functions, parallel=True, fastmath=True)
log_density: Any = compiled(_log_density, parallel=True, fastmath=True)
