"""Time of one Runge-Kutta step of t-VMC: this program and NetKet, same ansatz, samples and sweeps.

    pip install netket                       # into the environment of this program; for this benchmark only
    python tools/bench/netket_step.py        # two to five bosons, about eight minutes
    python tools/bench/netket_step.py --particles 2 5 --sweeps 2

Both follow interacting bosons (hbar = 0.1, mass = omega = g = 1, s2 = 0.1) from the trap's ground state with

    log psi = -(mass omega / 2 hbar) sum_i x_i^2 + theta_0 sum_i x_i^2 + sum_{i<j} [ theta_1 r^2
              + sum_k theta_{2+k} exp(-r^2 / 2 w_k) ],      w_k = 1.6 2^-k,  k = 0 ... 5

and classical Runge-Kutta steps of 0.01 on one thread of one core. Steps are paired: after every step of this
program NetKet makes its own, so that both meet the same load; times are CPU times, and the ratio is that of
the two, with quartiles over the steps to t = 1.

NetKet samples anew in every stage of a step, by `--sweeps` moves of all walkers. This program samples once
in a step and is timed in three ways: with as many moves (metropolis), with as many as NetKet makes in all
four stages, and with its default, walkers that are transported and weighted. NetKet is used at its best as
far as we know: TDVP with the dense Jacobian in holomorphic mode, one chain for every sample or for four
(what is faster), exponentials by repeated squaring, steps without the driver's logging, proposals of the
width with the shortest autocorrelation time. The smooth cut-off of 1e-5 is that of this program; NetKet's own
regularisation is unstable here.

"effective": independent samples that a step brings. Of Metropolis moves: walkers times moves in a step over
tau, the integrated autocorrelation time of |x|^2 in the state half-way, measured alike for both, but not more
than the walkers that the step averages over (NetKet: in four stages). Of transported walkers: (sum w)^2 / sum
w^2. "overlap": |<psi|psi'>|^2 of the two states at the end, over NetKet's samples.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

# before the libraries are loaded that read them
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import flax.linen as nn
import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
import torch
from netket.experimental.dynamics import RK4
from netket.experimental.geometry import FreeSpace
from netket.experimental.hilbert import Particle

from baselines.variational.evolution import Evolution, evolve
from baselines.variational.jastrow import jastrow
from baselines.wave.metropolis import Block, Metropolis, autocovariances, integrated_time
from dsmsim.config import Config, parse_config

HBAR, G, S2 = 0.1, 1.0, 0.1
WIDEST, WIDTHS, CUTOFF = 1.6, 6, 1e-5
DT, END = 0.01, 1.0
FORGET, MEASURED = 200, 150  # sweeps of the autocorrelation time
WARM = 3  # steps that are not counted
SCALES = (0.6, 0.9, 1.3, 1.9)  # widths of NetKet's proposals that are tried, in cloud widths / sqrt(n)


class Linear(nn.Module):
    """The ansatz for NetKet."""

    particles: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """log psi of x (..., N)."""
        theta = self.param("theta", lambda *_: jnp.zeros(2 + WIDTHS, dtype=complex))
        i, j = np.triu_indices(self.particles, 1)
        square, r2 = (x**2).sum(-1), (x[..., i] - x[..., j]) ** 2
        functions, gauss = [square, r2.sum(-1)], jnp.exp(-r2 / (2.0 * WIDEST))
        for _ in range(WIDTHS):
            functions.append(gauss.sum(-1))
            gauss = gauss * gauss
        return -square / (2.0 * HBAR) + jnp.stack(functions, -1) @ theta


def potential(particles: int) -> Any:
    """V/hbar as a function of x (..., N)."""
    i, j = np.triu_indices(particles, 1)

    def value(x: Any) -> Any:
        pairs = jnp.exp(-((x[..., i] - x[..., j]) ** 2) / (2.0 * S2)).sum(-1)
        return (0.5 * (x**2).sum(-1) + 0.5 * G / np.sqrt(2.0 * np.pi * S2) * pairs) / HBAR

    return value


class NetKet:
    """NetKet's half: a state and its equations of motion. Units: hbar = 1, energies over hbar."""

    def __init__(self, particles: int, walkers: int, sweeps: int, chains: int, width: float) -> None:
        space = Particle(N=particles, geometry=FreeSpace(1))
        sampler = nk.sampler.MetropolisGaussian(space, sigma=width, n_chains=chains, sweep_size=sweeps)
        self.state = nk.vqs.MCState(
            sampler, Linear(particles), n_samples=walkers, n_discard_per_chain=0, seed=1, sampler_seed=2
        )
        hamiltonian = nk.operator.KineticEnergy(space, mass=1.0 / HBAR)
        driver = nk.experimental.TDVP(
            hamiltonian + nk.operator.PotentialEnergy(space, potential(particles)),
            self.state,
            RK4(DT),
            qgt=nk.optimizer.qgt.QGTJacobianDense(holomorphic=True),
            linear_solver=partial(nk.optimizer.solver.pinv_smooth, rtol_smooth=CUTOFF),
        )
        self.integrator = driver.integrator

    def settle(self, theta: Any) -> None:
        """Sample the state of some parameters until its start is forgotten."""
        self.state.parameters = {"theta": jnp.asarray(theta)}
        self.state.sample(chain_length=FORGET)

    def step(self) -> float:
        """One step; its CPU seconds."""
        began = time.process_time()
        self.integrator.step()
        jax.block_until_ready(self.integrator.y)
        return time.process_time() - began

    def samples(self) -> Any:
        """Configurations (W, N) of the present state."""
        self.state.parameters = self.integrator.y
        return np.asarray(self.state.sample()).reshape(-1, self.state.hilbert.size)


def problem(particles: int, walkers: int, **sampling: Any) -> Config:
    """The same as an input of this program."""
    table = {
        "pair_functions": WIDTHS,
        "three_body_functions": 0,
        "walkers": walkers,
        "integrator": "rk4",
        "dt": DT,
        "cutoff": CUTOFF,
        **sampling,
    }
    return parse_config(
        {
            "system": {
                "particles": particles,
                "hbar": HBAR,
                "trap": {"kind": "harmonic", "omega": 1.0},
                "interaction": {"kind": "gaussian", "g": G, "s2": S2},
            },
            "initial": {"kind": "trap_ground_state"},
            "time": {"end": END},
            "baselines": {"tvmc": table},
        }
    )


@dataclass
class Paired:
    """CPU seconds of each step of both, and where ours ended."""

    ours: list[float]
    theirs: list[float]
    evolution: Evolution

    @property
    def ratio(self) -> Any:
        """Quartiles of theirs over ours."""
        return np.quantile(np.divide(self.theirs, self.ours), [0.25, 0.5, 0.75])


def paired(config: Config, netket: NetKet) -> Paired:
    """Follow both to the end, a step of one after a step of the other."""
    ours: list[float] = []
    theirs: list[float] = []
    netket.settle(np.zeros(2 + WIDTHS, dtype=complex))
    began = time.process_time()

    def progress(t: float) -> None:
        nonlocal began
        ours.append(time.process_time() - began)
        theirs.append(netket.step())
        began = time.process_time()

    evolution = evolve(config, jastrow(config), progress=progress)
    assert len(ours) == round(END / DT), "both make the same steps"
    return Paired(ours[WARM:], theirs[WARM:], evolution)


def time_of(series: Any) -> float:
    """Integrated autocorrelation time of |x|^2, in sweeps, of walkers (S, W, N)."""
    values = (series**2).sum(-1)
    found, fits = integrated_time(autocovariances(values, float(values.mean())))
    return found if fits else float("nan")


def netket_times(particles: int, walkers: int, theta: Any, spread: float) -> dict[float, float]:
    """Autocorrelation time of NetKet's moves for every width of the proposals that is tried."""
    found = {}
    for scale in SCALES:
        width = scale * spread / np.sqrt(particles)
        side = NetKet(particles, walkers, 1, walkers, width)
        side.settle(theta)
        found[width] = time_of(np.asarray(side.state.sample(chain_length=MEASURED)).swapaxes(0, 1))
    return found


def our_time(config: Config, theta: Any, x: Any) -> float:
    """The same of this program's moves, from walkers x of any density, with its tuned width."""
    ansatz = jastrow(config)
    density = partial(ansatz.log_density, theta)
    moves = Metropolis(1, "benchmark", 0.5 * float(x.std()))
    blocks = [Block(0, len(x))]
    for sweep in range(FORGET):
        x, _, accepted = moves.move(density, x, density(x), blocks, 1, sweep)
        moves.tune(accepted / len(x))
        if sweep == FORGET // 2:
            moves.fit(np.cov(x.T))
    series: list[Any] = []
    moves.move(density, x, density(x), blocks, MEASURED, FORGET, lambda y: series.append(y.copy()))
    return time_of(np.array(series))


def overlap(evolution: Evolution, netket: NetKet) -> float:
    """|<psi|psi'>|^2 at the end, over samples x of NetKet's psi': |<psi/psi'>|^2 / <|psi/psi'|^2>."""
    x = netket.samples()
    log_ratio = evolution.local(x, END).log_psi - np.asarray(netket.state.log_value(x))
    ratio = np.exp(log_ratio - log_ratio.real.max())
    return float(abs(ratio.mean()) ** 2 / (abs(ratio) ** 2).mean())


def faster(particles: int, walkers: int, sweeps: int, width: float) -> int:
    """Chains with which NetKet is faster."""
    seconds = {}
    for chains in (walkers, walkers // 4):
        side = NetKet(particles, walkers, sweeps, chains, width)
        side.settle(np.zeros(2 + WIDTHS, dtype=complex))
        seconds[chains] = np.median([side.step() for _ in range(WARM + 10)][WARM:])
    return min(seconds, key=lambda chains: seconds[chains])


def compare(particles: int, walkers: int, sweeps: int) -> None:
    """Print the lines of one number of bosons."""
    ways: dict[str, Any] = {
        f"metropolis {sweeps}": {"sampling": "metropolis", "sweeps": sweeps},
        f"metropolis {4 * sweeps}": {"sampling": "metropolis", "sweeps": 4 * sweeps},
        "transport": {"sampling": "transport"},
    }
    configs = {name: problem(particles, walkers, **way) for name, way in ways.items()}
    first = configs[f"metropolis {sweeps}"]
    # compiles, and shows the state half-way
    theta = evolve(first, jastrow(first)).history.at(END / 2.0)
    spread = np.sqrt(HBAR / 2.0)
    times = netket_times(particles, walkers, theta, spread)
    width = min(times, key=lambda key: np.nan_to_num(times[key], nan=np.inf))
    start = np.random.default_rng(1).normal(0.0, spread, (walkers, particles))
    their_tau, our_tau = times[width], our_time(first, theta, start)
    chains = faster(particles, walkers, sweeps, width)
    their_effective = walkers * 4 * min(1.0, sweeps / their_tau)
    for name, config in configs.items():
        netket = NetKet(particles, walkers, sweeps, chains, width)
        both = paired(config, netket)
        records = both.evolution.records
        effective = walkers * float(np.median([entry["effective_fraction"] for entry in records]))
        if name != "transport":
            effective = walkers * min(1.0, config.baselines.tvmc.sweeps / our_tau)
        (low, middle, high), ours, theirs = both.ratio, np.median(both.ours), np.median(both.theirs)
        print(
            f"{particles} | {name:13s} | {1e3 * ours:6.2f} | {1e3 * theirs:6.2f} | "
            f"{middle:5.2f} ({low:.2f} - {high:.2f}) | {effective / ours / 1e3:5.0f} k | "
            f"{their_effective / theirs / 1e3:5.0f} k | {our_tau:4.1f} | {their_tau:4.1f} | "
            f"{chains} | {overlap(both.evolution, netket):.4f}",
            flush=True,
        )


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--particles", type=int, nargs="+", default=[2, 3, 4, 5])
    parser.add_argument("--walkers", type=int, default=4000, help="samples of both")
    parser.add_argument("--sweeps", type=int, default=5, help="of NetKet in every stage")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(
        "ms: CPU time of a step, median; ratio: NetKet's over ours, median (quartiles); effective samples "
        "per CPU second; tau in sweeps"
    )
    print(
        "N | ours: sampling | ours, ms | NetKet, ms | ratio | effective/s: ours | NetKet | tau: ours | "
        "NetKet | NetKet's chains | overlap",
        flush=True,
    )
    for particles in options.particles:
        compare(particles, options.walkers, options.sweeps)


if __name__ == "__main__":
    main()
