"""The one catalogue of results.h5: which group holds which variable, over which dimensions, in which unit.

Units are words of the input's own system (hbar and mass are given in [system]): `time`, `length`, `energy`,
`momentum`. They are no names that netCDF readers take for dates. Every variable NAME may have a NAME_stderr
beside it, its standard error, with the same dimensions and units. A dimension's coordinate is the variable of
the same name.

`user` holds averages that the user has defined: any NAME over `time`, of units "mixed" unless the attributes
"user/NAME" say more (`units`, `long_name`).

`model/...` holds the networks: arrays of any name and shape, in nested groups; `model/march` what, besides
the parameters in group `march`, makes fields that marched. `trajectories` is the group of the files that hold
them (`shards.py`); in results.h5 itself its attributes say which files these are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

SCHEMA_VERSION = 2
CONVENTIONS = "CF-1.11"

Kind = Literal["float", "int", "text"]


@dataclass(frozen=True)
class Variable:
    """One array of results.h5.

    Attributes:
        dims: names of its dimensions, in order; () for a number.
        units: words, "1" for a pure number.
        long_name: what it is, for the axis of a figure.
        kind: of its values.
    """

    dims: tuple[str, ...]
    units: str
    long_name: str
    kind: Kind = "float"


_PER_AXIS = ("time", "particle", "axis")
_TIME = Variable(("time",), "time", "time")
_PARTICLE = Variable(("particle",), "1", "particle", "int")
_AXIS = Variable(("axis",), "1", "Cartesian axis", "int")


_X_PRIME = Variable(("x_prime",), "length", "second position along x")
_X_X = ("time", "x", "x_prime")


def _position(axis: str) -> Variable:
    return Variable((axis,), "length", f"position along {axis}, of a histogram the centre of the cell")


def _density(axis: str) -> Variable:
    return Variable(("time", axis), "1/length", f"one-body density along {axis}, of integral 1")


def _outside(axis: str) -> Variable:
    return Variable(("time",), "1", f"fraction of the particles beyond the cells along {axis}")


def _smooth(axis: str) -> Variable:
    return Variable(("time", axis), "1/length", f"one-body density along {axis} from the osmotic velocity")


def _current(axis: str) -> Variable:
    return Variable(("time", axis), "1/time", f"one-body current density along {axis}, of integral E[v]")


_OBSERVABLES = {
    "time": _TIME,
    "particle": _PARTICLE,
    "particle_prime": Variable(("particle_prime",), "1", "second particle", "int"),
    "axis": _AXIS,
    "trial": Variable(("trial",), "1", "independent set of samples", "int"),
    "mean": Variable(_PER_AXIS, "length", "mean position"),
    "variance": Variable(_PER_AXIS, "length^2", "variance of the position"),
    "covariance": Variable(
        ("time", "particle", "particle_prime", "axis"), "length^2", "covariance of two particles' positions"
    ),
    "center_of_mass_mean": Variable(("time", "axis"), "length", "mean of the centre of mass"),
    "center_of_mass_variance": Variable(("time", "axis"), "length^2", "variance of the centre of mass"),
    "energy": Variable(("time",), "energy", "total energy"),
    "energy_kinetic_osmotic": Variable(("time",), "energy", "kinetic energy of the osmotic velocity"),
    "energy_kinetic_current": Variable(("time",), "energy", "kinetic energy of the current velocity"),
    "energy_kinetic": Variable(("time",), "energy", "kinetic energy"),
    "energy_potential": Variable(("time",), "energy", "potential energy, trap and interaction"),
    "energy_trap": Variable(("time",), "energy", "energy in the one-body potentials"),
    "energy_interaction": Variable(("time",), "energy", "energy of the pair interaction"),
    "norm": Variable(("time",), "1", "norm of the state"),
    "mean_by_trial": Variable(("trial", *_PER_AXIS), "length", "mean position in each trial"),
    "variance_by_trial": Variable(
        ("trial", *_PER_AXIS), "length^2", "variance of the position in each trial"
    ),
}

_DENSITY = {
    "time": _TIME,
    "x": _position("x"),
    "y": _position("y"),
    "z": _position("z"),
    "density": _density("x"),
    "density_y": _density("y"),
    "density_z": _density("z"),
    "outside": _outside("x"),
    "outside_y": _outside("y"),
    "outside_z": _outside("z"),
    "density_smooth": _smooth("x"),
    "density_smooth_y": _smooth("y"),
    "density_smooth_z": _smooth("z"),
    "current": _current("x"),
    "current_y": _current("y"),
    "current_z": _current("z"),
}

_CORRELATIONS = {
    "time": _TIME,
    "x": _position("x"),
    "x_prime": _X_PRIME,
    "pair_density": Variable(_X_X, "1/length^2", "two-body density along x, of integral 1"),
    "g2": Variable(_X_X, "1", "pair correlation g2, 1 for independent particles"),
    "density_matrix_re": Variable(_X_X, "1/length", "one-body density matrix along x, real part"),
    "density_matrix_im": Variable(_X_X, "1/length", "one-body density matrix along x, imaginary part"),
    "g1_re": Variable(_X_X, "1", "first-order coherence g1, real part"),
    "g1_im": Variable(_X_X, "1", "first-order coherence g1, imaginary part"),
    "orbital": Variable(("orbital",), "1", "natural orbital", "int"),
    "occupation": Variable(("time", "orbital"), "1", "natural occupation, all of them of sum 1"),
    "natural_orbital_re": Variable(("time", "orbital", "x"), "1/length^0.5", "natural orbital, real part"),
    "natural_orbital_im": Variable(
        ("time", "orbital", "x"), "1/length^0.5", "natural orbital, imaginary part"
    ),
}

_MOMENTUM = {
    "time": _TIME,
    "p": Variable(("p",), "momentum", "momentum hbar k along x"),
    "momentum_density": Variable(
        ("time", "p"), "1/momentum", "one-body momentum density along x, of integral 1"
    ),
}

_DISTRIBUTIONS = {
    "time": _TIME,
    "axis": _AXIS,
    "distance": Variable(("distance",), "length", "distance of two particles, the centre of the cell"),
    "distance_density": Variable(
        ("time", "distance"), "1/length", "density of the distance of two particles, of integral 1"
    ),
    "center": Variable(("center",), "length", "centre of mass along x, the centre of the cell"),
    "center_of_mass_density": Variable(
        ("time", "center"), "1/length", "density of the centre of mass along x, of integral 1"
    ),
    "probability": Variable(("probability",), "1", "probability below the quantile"),
    "quantile": Variable(
        ("time", "probability", "axis"), "length", "quantile of the position of one particle"
    ),
    "threshold": Variable(("threshold",), "length", "distance from the initial mean position"),
    "escape": Variable(
        ("time", "threshold"), "1", "probability that a particle is further from its initial mean position"
    ),
}

_PER_SHOT = ("time", "shot", "particle", "axis")
_SHOTS = {
    "time": _TIME,
    "shot": Variable(("shot",), "1", "single shot, the same sample at all times", "int"),
    "particle": _PARTICLE,
    "axis": _AXIS,
    "position": Variable(_PER_SHOT, "length", "position"),
    "osmotic_velocity": Variable(_PER_SHOT, "length/time", "osmotic velocity u at the position"),
    "current_velocity": Variable(_PER_SHOT, "length/time", "current velocity v at the position"),
    "log_psi_re": Variable(
        ("time", "shot"), "1", "logarithm of the wave function up to a constant for each time, real part"
    ),
    "log_psi_im": Variable(
        ("time", "shot"), "1", "logarithm of the wave function, imaginary part, modulo 2 pi"
    ),
}

# any other name is an average of the user's own, over time
_USER = {"time": _TIME}

_PER_CONFIGURATION = ("time", "configuration", "particle", "axis")
_VELOCITY_FIELDS = {
    "time": _TIME,
    "configuration": Variable(("configuration",), "1", "configuration drawn from |psi|^2", "int"),
    "particle": _PARTICLE,
    "axis": _AXIS,
    "position": Variable(_PER_CONFIGURATION, "length", "position"),
    "osmotic_velocity": Variable(_PER_CONFIGURATION, "length/time", "osmotic velocity u at the position"),
    "current_velocity": Variable(_PER_CONFIGURATION, "length/time", "current velocity v at the position"),
}

_TRAINING = {
    "epoch": Variable(("epoch",), "1", "epoch", "int"),
    "loss": Variable(("epoch",), "1", "loss"),
    "loss_newton": Variable(("epoch",), "1", "loss of the Newton equation"),
    "loss_score": Variable(("epoch",), "1", "loss of the score equation"),
    "loss_initial": Variable(("epoch",), "1", "loss of the initial state"),
    "learning_rate": Variable(("epoch",), "1", "learning rate"),
    "gradient_norm": Variable(("epoch",), "1", "norm of the gradient before clipping"),
    "seconds": Variable(("epoch",), "s", "wall-clock time since the start of training"),
    "bond": Variable(("bond",), "1", "inner bond of a tensor layer, LAYER:number", "text"),
    "rank": Variable(("epoch", "bond"), "1", "rank of a bond", "int"),
    "bond_entropy": Variable(("epoch", "bond"), "1", "von Neumann entropy of a bond, in nats"),
}

_PER_STEP = ("step",)
_PROPAGATION = {
    "step": Variable(_PER_STEP, "1", "step of the integrator", "int"),
    "step_time": Variable(_PER_STEP, "time", "time at the end of the step"),
    "dt": Variable(_PER_STEP, "time", "length of the step"),
    "energy": Variable(_PER_STEP, "energy", "energy of the walkers"),
    "energy_imaginary": Variable(_PER_STEP, "energy", "imaginary part of it, 0 but for sampling errors"),
    "energy_deviation": Variable(_PER_STEP, "energy", "rms fluctuation of the local energy"),
    "residual": Variable(_PER_STEP, "1", "part of the local energy's fluctuation that no parameter follows"),
    "effective_fraction": Variable(_PER_STEP, "1", "effective fraction of the walkers"),
    "parameter": Variable(("parameter",), "1", "variational parameter", "text"),
    "theta_re": Variable(("step", "parameter"), "1", "parameter, real part"),
    "theta_im": Variable(("step", "parameter"), "1", "parameter, imaginary part"),
    "spectrum": Variable(("step", "parameter"), "1", "eigenvalues of the scaled quantum geometric tensor"),
    "snr": Variable(("step", "parameter"), "1", "signal-to-noise ratio of the force along each eigenvector"),
}

_PER_PARAMETER = ("step", "parameter")
_MARCH = {
    "step": Variable(_PER_STEP, "1", "step of the integrator", "int"),
    "step_time": Variable(_PER_STEP, "time", "time at the end of the step"),
    "dt": Variable(_PER_STEP, "time", "length of the step"),
    "step_error": Variable(_PER_STEP, "1", "estimated error of the step, as a distance of states"),
    "energy": Variable(_PER_STEP, "energy", "energy of the walkers"),
    "energy_deviation": Variable(_PER_STEP, "energy", "rms fluctuation of the local energy"),
    "residual": Variable(_PER_STEP, "1", "part of the equations of motion that no parameter follows"),
    "effective_fraction": Variable(_PER_STEP, "1", "effective fraction of the walkers"),
    "acceptance": Variable(_PER_STEP, "1", "accepted fraction of the Langevin steps after the step"),
    "drawn_anew": Variable(_PER_STEP, "1", "how often the walkers were drawn anew so far", "int"),
    "eigenvalue_smallest": Variable(_PER_STEP, "1", "smallest kept eigenvalue of the scaled metric tensor"),
    "eigenvalue_largest": Variable(_PER_STEP, "1", "largest eigenvalue of the scaled metric tensor"),
    "rank": Variable(_PER_STEP, "1", "kept eigenvalues of the scaled metric tensor", "int"),
    "parameter": Variable(("parameter",), "1", "parameter that marches", "text"),
    "theta_re": Variable(_PER_PARAMETER, "1", "parameter, real part"),
    "theta_im": Variable(_PER_PARAMETER, "1", "parameter, imaginary part"),
    "rate_before_re": Variable(_PER_PARAMETER, "1/time", "its rate before that time, real part"),
    "rate_before_im": Variable(_PER_PARAMETER, "1/time", "its rate before that time, imaginary part"),
    "rate_after_re": Variable(_PER_PARAMETER, "1/time", "its rate after that time, real part"),
    "rate_after_im": Variable(_PER_PARAMETER, "1/time", "its rate after that time, imaginary part"),
    "spectrum": Variable(_PER_PARAMETER, "1", "eigenvalues of the scaled metric tensor"),
    "snr": Variable(_PER_PARAMETER, "1", "signal-to-noise ratio of the force along each eigenvector"),
}

_CHECKS = {
    "check": Variable(("check",), "1", "name of the check", "text"),
    "value": Variable(("check",), "mixed", "value found"),
    "expected": Variable(("check",), "mixed", "value expected"),
    "stderr": Variable(("check",), "mixed", "standard error of the value"),
    "deviation": Variable(("check",), "1", "distance from the expected value, relative to the check's scale"),
    "tolerance": Variable(("check",), "1", "largest deviation that passes"),
    "passed": Variable(("check",), "1", "1 if the check passed, else 0", "int"),
}

_ERRORS = {
    "time": _TIME,
    "E_m": Variable((), "1", "relative L2 error of the mean"),
    "E_m_std": Variable((), "1", "standard deviation of E_m over the trials"),
    "E_m_abs": Variable((), "length", "root-mean-square error of the mean over time"),
    "E_m_floor": Variable((), "1", "E_m that sampling alone would give"),
    "E_m_abs_std": Variable((), "length", "standard deviation of E_m_abs over the trials"),
    "E_m_abs_floor": Variable((), "length", "E_m_abs that sampling alone would give"),
    "E_v": Variable((), "1", "relative L2 error of the variance"),
    "E_v_std": Variable((), "1", "standard deviation of E_v over the trials"),
    "E_v_floor": Variable((), "1", "E_v that sampling alone would give"),
    "E_m_all": Variable((), "1", "E_m of all trials together"),
    "E_m_all_floor": Variable((), "1", "E_m_all that sampling alone would give"),
    "E_m_abs_all": Variable((), "length", "E_m_abs of all trials together"),
    "E_m_abs_all_floor": Variable((), "length", "E_m_abs_all that sampling alone would give"),
    "E_v_all": Variable((), "1", "E_v of all trials together"),
    "E_v_all_floor": Variable((), "1", "E_v_all that sampling alone would give"),
    "variance_error_mean": Variable((), "1", "mean relative error of the variance over time"),
    "variance_error_floor": Variable((), "1", "variance_error_mean that sampling alone would give"),
    "density_l1_max": Variable((), "1", "largest L1 distance of the densities over time"),
    "density_l1_mean": Variable((), "1", "mean L1 distance of the densities over time"),
    "density_l1_floor": Variable((), "1", "L1 distance of the densities that sampling alone would give"),
    "energy_drift": Variable((), "1", "largest relative change of the energy over time"),
    "E_u": Variable((), "1", "relative L2 error of the osmotic velocity, weighted by the density"),
    "E_v_field": Variable((), "1", "relative L2 error of the current velocity, weighted by the density"),
    "pair_density_l1_max": Variable((), "1", "largest L1 distance of the two-body densities over time"),
    "pair_density_l1_mean": Variable((), "1", "mean L1 distance of the two-body densities over time"),
    "pair_density_l1_floor": Variable((), "1", "L1 distance of two-body densities by sampling alone"),
    "momentum_l1_floor": Variable((), "1", "L1 distance of momentum densities by sampling alone"),
    "momentum_l1_max": Variable((), "1", "largest L1 distance of the momentum densities over time"),
    "momentum_l1_mean": Variable((), "1", "mean L1 distance of the momentum densities over time"),
    "occupation_error": Variable((), "1", "largest difference of a natural occupation"),
    "reference_error": Variable((), "1", "error estimate of the reference itself, the worst observable"),
    "reference_error_variance": Variable((), "1", "relative error of the reference's variances, its own"),
    "reference_error_density": Variable((), "1", "L1 error of the reference's density, its own"),
    "reference_error_pair": Variable((), "1", "L1 error of its density of pair distances, its own"),
    "reference_tolerance": Variable((), "1", "error that the reference was asked to stay below"),
    "reference_converged": Variable((), "1", "1 if the reference's error estimate is small enough", "int"),
    "variance_error": Variable(("time",), "1", "relative error of the variance"),
    "density_l1": Variable(("time",), "1", "L1 distance of the densities"),
}

_TRAJECTORIES = {
    "time": _TIME,
    "trajectory": Variable(("trajectory",), "1", "trajectory of the sampling process", "int"),
    "particle": _PARTICLE,
    "axis": _AXIS,
    "position": Variable(("time", "trajectory", "particle", "axis"), "length", "position"),
}

CATALOGUE: Mapping[str, Mapping[str, Variable]] = {
    "observables": _OBSERVABLES,
    "density": _DENSITY,
    "correlations": _CORRELATIONS,
    "momentum": _MOMENTUM,
    "distributions": _DISTRIBUTIONS,
    "shots": _SHOTS,
    "user": _USER,
    "velocity_fields": _VELOCITY_FIELDS,
    "training": _TRAINING,
    "propagation": _PROPAGATION,
    "march": _MARCH,
    "checks": _CHECKS,
    "errors/*": _ERRORS,
    "trajectories": _TRAJECTORIES,
    "provenance": {},
}


def is_model(group: str) -> bool:
    """Whether `group` is one of `model/...`, which hold arrays of any name."""
    return group.startswith("model/") and group != "model/"


def is_open(group: str) -> bool:
    """Whether `group` holds, besides what the catalogue says, averages of any name over time."""
    return group == "user"


def variables_of(group: str) -> Mapping[str, Variable]:
    """The variables that `group` may hold, without their NAME_stderr.

    Raises:
        ValueError: there is no such group (a programmer's mistake).
    """
    parent, _, child = group.partition("/")
    key = f"{parent}/*" if child and "/" not in child else group
    if "*" in group or key not in CATALOGUE:
        raise ValueError(f"results.h5 has no group {group!r}: it has {', '.join(CATALOGUE)} and model/*")
    return CATALOGUE[key]


def variable(group: str, name: str) -> Variable:
    """The catalogue's entry for one array, NAME_stderr derived from NAME.

    Raises:
        ValueError: the group or the name is not in the catalogue (a programmer's mistake).
    """
    known = variables_of(group)
    if name in known:
        return known[name]
    base = name.removesuffix("_stderr")
    if base != name and base in known and known[base].dims != (base,):
        entry = known[base]
        return replace(entry, long_name=f"standard error of {entry.long_name}")
    if is_open(group):
        return Variable(("time",), "mixed", f"standard error of {base}" if base != name else name)
    raise ValueError(f"group {group!r} of results.h5 has no variable {name!r}: it has {', '.join(known)}")
