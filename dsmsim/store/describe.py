"""The tables of docs/hdf5.md: every group, dataset and attribute of results.h5, from the catalogue.

    python -m dsmsim.store.describe docs/hdf5.md

writes the part between the two marks anew; a test compares it with the catalogue.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from dsmsim.store import schema

BEGIN = "<!-- from here on written by `python -m dsmsim.store.describe docs/hdf5.md` -->"
END = "<!-- up to here -->"

TYPES = {"float": "float", "int": "integer", "text": "text"}

# what each group of the catalogue is, and when it is there
GROUPS: Mapping[str, str] = {
    "observables": "Averages over all samples at every saved time.",
    "density": "Functions of one coordinate at every saved time. From samples they are histograms, but for "
    "`density_smooth`; exact solvers give values at points. `_y` and `_z` are along the other axes of a "
    "system in two or three dimensions.",
    "correlations": "Functions of two positions along x, at a few of the saved times "
    "(`output.correlation_times`).",
    "momentum": "The momentum distribution along x, at the times of `correlations`.",
    "distributions": "Distributions that say more than moments do, at every saved time.",
    "shots": "Independent single shots: the positions of all particles, as one measurement of all of them "
    "would find them, at the times of `correlations`. A shot keeps its number through time.",
    "user": "Averages that the input (`output.expressions`) or a plug-in defined, at every saved time.",
    "velocity_fields": "Of exact solvers: the exact fields u and v at configurations drawn from |psi|^2, "
    "with which learnt fields are compared.",
    "training": "One row for every epoch that was logged; absent where nothing was trained.",
    "propagation": "Of t-VMC: one row for every step in time.",
    "march": 'One row for every step of a march (`train.mode = "march"`). The parameters and their rates on '
    "both sides of each step make the fields at any time.",
    "checks": "Identities that need no reference, measured on the run's own samples.",
    "errors/*": "Distances from the reference `NAME`, each beside what an exact sampler of the same size "
    "would show; there is such a group for every reference that the run was compared with.",
    "trajectories": "The group of the files `trajectories/rank-0000.h5`, ... and of the files of "
    "`dsmsim sample`. In results.h5 it has attributes only, which say where these files are.",
    "provenance": "Attributes only: what is needed to repeat the run.",
}

# attributes of the groups; "" is the file itself
ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "": {
        "Conventions": "CF-1.11, the names of the attributes `units` and `long_name`",
        "dsmsim_schema_version": "version of this layout",
    },
    "observables": {
        "method": "what made the results",
        "samples": "samples over all trials",
        "independent_units": "independent parts of them, from which standard errors are found",
        "effective_samples": "independent samples that would give the variances the same standard errors",
        "draws": "how samples were drawn: independent, antithetic, sobol",
        "nu": "diffusion of the process that was sampled; 0: its probability flow",
        "scheme": "integrator of the process",
        "steps": "its steps over the whole time",
        "control_variates": "1 if moments were corrected by a linear process with known moments",
        "epoch": "epoch of the networks that were measured",
        "steps_of_march": "steps of the march whose fields were measured",
        "E_u": "relative L2 error of the osmotic velocity, where the initial state moves in closed form",
        "E_v_field": "the same of the current velocity",
    },
    "density": {"samples": "samples in the histograms"},
    "training": {"gradient_bytes": "bytes of one gradient, what ranks exchange in a step"},
    "march": {
        "ansatz": "what marched: cluster or network",
        "parameters": "how many parameters marched",
        "walkers": "walkers over which the equations were solved",
        "integrator": "of the steps",
        "evaluations": "how often the equations of motion were solved",
    },
    "trajectories": {
        "count": "trajectories over all files",
        "manifest": "the list of the files",
        "manifest_sha256": "its checksum",
        "files": "the files",
    },
    "provenance": {
        "title": "of the input",
        "seed": "of all random numbers",
        "input": "the input file as it was given",
        "resolved_input": "the input with every default, TOML",
        "physics_hash": "SHA-256 of what is physics in it",
        "changes": "changes of the input on the way",
        "command": "the command line",
        "finished": "date and time, UTC",
        "wall_seconds": "wall-clock time",
        "cpu_seconds": "CPU time of all ranks",
        "solve_cpu_seconds": "CPU time of training, marching or propagation alone",
        "world_size": "number of ranks",
        "launcher": "what started them",
        "hosts": "their hosts, in order of rank",
        "devices": "their devices, in order of rank",
        "platform": "operating system and processor",
        "python_version": "of Python",
        "dsmsim_version": "of dsmsim",
        "torch_version": "of torch; likewise numpy, scipy, h5py, mpi4py and hdf5",
        "git_commit": "commit of the source tree, where it is one",
        "git_changed": "1 if it was changed since",
        "slurm_job_id": "of the batch job; likewise other facts of Slurm",
        "reference_key": "of a reference: what question it answers",
    },
    "model/*": {
        "parameters": "how many numbers the network has",
        "format": "of a tensor layer: tt, tr, lowrank, cp, tucker, blockterm",
        "modes_out": "of a tensor layer: factors of the number of its outputs",
        "modes_in": "of a tensor layer: factors of the number of its inputs",
        "ranks": "of a tensor layer: ranks of its bonds",
        "ring": "of a tensor train: 1 if its ends are joined",
    },
}

# attributes that other methods give to all their groups
OF_METHODS: Mapping[str, str] = {
    "method": "the solver and its order",
    "chosen": "the solver that `exact` picked",
    "converged": "1 if the result can be trusted to its tolerance",
    "warning": "why it cannot, and what to change; empty otherwise",
    "tolerance": "error that was asked for",
    "error_estimate": "the worst over times of what the last refinement changed; NaN: nothing was refined",
    "error_mean": "its part in the mean positions",
    "error_variance": "its part in the variances, relative",
    "error_density": "its part in the densities, L1",
    "error_pair_distance": "its part in the density of pair distances, L1",
    "error_of_grid": "its part from the grid",
    "error_of_step": "its part from the step in time",
    "error_step": "its part from the step in time",
    "error_wave_function": "of t-VMC and PINN: bound of the distance of the states, but for sampling errors",
    "energy_drift": "largest relative change of the energy",
    "dt": "longest step taken",
    "points": "points of the grid, along an axis or in all",
    "points_per_axis": "points along each relative coordinate",
    "spacing": "of the grid",
    "half_width": "of the grid along each relative coordinate",
    "box_low": "lower ends of the box",
    "box_high": "upper ends of the box",
    "breathing": "1 if the grid follows the cloud",
    "folded": "1 if mirror symmetry halved the grid",
    "precision": "of the arithmetic",
    "edge_probability": "largest probability found at the edge of the grid",
    "momentum_edge_probability": "the same in momentum space",
    "left_out": "groups that would have needed too much memory",
    "cutoff": "highest energy in Fock space, in quanta",
    "states": "number of states in Fock space",
    "last_shells_probability": "largest probability found in the highest tenth of the energies",
    "start_norm_missing": "probability of the start that Fock space does not hold",
    "parameters": "parameters of the ansatz",
    "walkers": "walkers of t-VMC",
    "walker_sampling": "how they are made",
    "walker_effective_fraction": "smallest effective fraction of them",
    "integrator": "of the equations of motion",
    "accepted_steps": "steps that were taken",
    "evaluations": "how often the equations of motion were solved",
    "drawn_anew": "how often the walkers were drawn anew",
    "acceptance": "accepted fraction of Metropolis steps",
    "autocorrelation": "autocorrelation time of the walkers, in sweeps",
    "autocorrelation_time": "autocorrelation time of the samples, in sweeps",
    "sweeps": "Metropolis sweeps between two saved times, the most",
    "residual": "largest part of the local energy's fluctuation that no parameter follows",
    "sampling": "how samples were made: transport, metropolis",
    "effective_fraction": "effective fraction of weighted samples",
    "epochs": "epochs of the PINN",
    "loss": "its last loss",
    "seconds": "its wall-clock time",
    "training_cpu_seconds": "CPU time of its training",
}


# attributes of the files of trajectories and of samples, besides those of every file
OF_TRAJECTORIES: Mapping[str, str] = {
    "physics_hash": "of the run that they belong to",
    "rank": "which rank wrote the file",
    "ranks": "how many ranks wrote one",
    "drawing": "of samples: what was asked for, the same in all parts",
    "run": "of samples: the run whose fields were followed",
    "dsmsim_version": "of samples: of dsmsim",
    "count": "of samples: how many over all parts",
    "particles": "of samples: number of particles",
    "dimensions": "of samples: number of axes",
    "seed": "of samples: of all random numbers",
    "draws": "of samples: how they were drawn: independent, antithetic, sobol",
    "nu": "of samples: diffusion of the process; 0: its probability flow",
    "scheme": "of samples: integrator of the process",
    "steps": "of samples: its steps over the whole time",
}


def tables() -> str:
    """The groups as Markdown, each with its datasets and its attributes."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "## The file\n"
    yield from _attributes(ATTRIBUTES[""])
    for group, variables in schema.CATALOGUE.items():
        yield f"## `{group.replace('*', 'NAME')}`\n"
        yield GROUPS[group] + "\n"
        rows = [
            (f"`{name}`", ", ".join(entry.dims) or "-", TYPES[entry.kind], entry.units, entry.long_name)
            for name, entry in variables.items()
        ]
        if schema.is_open(group):
            entry = schema.variable(group, "NAME")
            meaning = "an average of the user's own; units and meaning are attributes of the dataset"
            rows.append(("any name", ", ".join(entry.dims), TYPES[entry.kind], entry.units, meaning))
        if rows:
            yield from _table(("dataset", "dimensions", "type", "units", "meaning"), rows)
        yield from _attributes(ATTRIBUTES.get(group, {}))
    yield "## `model/NAME`\n"
    yield (
        "The networks: their parameters under the names that they have in the program, nested by `/`, "
        "without dimensions. `model/march` holds what, besides the parameters in `march`, makes fields that "
        "marched.\n"
    )
    yield from _attributes(ATTRIBUTES["model/*"])
    yield "## Files of trajectories and samples\n"
    yield "They have a group `trajectories` as above, and these attributes of the file:\n"
    yield from _attributes(OF_TRAJECTORIES)
    yield "## Attributes of other methods\n"
    yield (
        "Exact solvers, t-VMC and PINN say on each of their groups how the numbers were obtained, by these "
        "and, where they sample, by the attributes of `observables`.\n"
    )
    yield from _attributes(OF_METHODS)


def _attributes(values: Mapping[str, str]) -> Iterator[str]:
    if values:
        yield from _table(("attribute", "meaning"), [(f"`{name}`", text) for name, text in values.items()])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def renewed(text: str) -> str:
    """A page with the tables between its two marks as they are now.

    Raises:
        ValueError: the page lacks a mark.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page must hold the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
