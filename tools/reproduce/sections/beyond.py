"""Physics that no source has: breathing, tunnelling, two dimensions, ten bosons without a reference."""

from __future__ import annotations

import numpy as np

from dsmsim.config.terms import DoubleWellTerm
from tools.reproduce.chapter import Chapter, Grid, Picture, RowsTable, Words
from tools.reproduce.found import Found
from tools.reproduce.profile import Profile
from tools.reproduce.rows import over_seeds
from tools.reproduce.sections import beyond_cases as of
from tools.reproduce.sections import beyond_pictures as pictures
from tools.reproduce.sections import beyond_rows as numbers
from tools.reproduce.sections.beyond_cases import Case, Ten
from tools.reproduce.task import Task
from tools.reproduce.wording import number, shown

NOISELESS = 1e3  # standard errors, beyond which the error bar is rounding

OPENING = """\
None of this was published with the method. Where a solver reaches, the exact solution stands beside (`dsmsim
baseline exact`: a grid of relative coordinates, or a Fourier grid); where none does, only what the run itself
must fulfil. ħ = 0.1 and m = 1 throughout; every pair of bosons repels by (g/2) w of its distance, w a
normalised Gaussian of variance 0.1."""

BREATHING = """\
### The breathing mode

Bosons are at rest in the ground state of a trap with ω = 1. Their repulsion rises smoothly until t = 1.5,
when the trap is tightened at once to ω = 1.4. The cloud breathes: without interaction with 2 ω for ever, with
repulsion slower and damped, as waves of several frequencies come apart. The frequency is that of a damped
cosine, fitted in the same way to Var x1 of the samples and of the exact solution. Of one seed its bar is the
standard error over trials of the samples."""

TUNNELLING = """\
### Tunnelling

A particle begins as a Gaussian in the left well of a double well, and goes over to the right. Behind and
ahead of the barrier its waves interfere."""

PLANE = """\
### Two dimensions

Bosons in the ground state of a round trap (ω = 1) begin to repel each other at t = 0. All axes and bosons are
alike, and variances are averaged over them."""

TEN = """\
### Ten bosons

Ten bosons in a trap (ω = 1) begin to repel each other at t = 0. No exact solution is at hand, so the run must
speak for itself: the checks below need none. They are measured on samples of Nelson's process, not on
the walkers of the march. "Away" is the distance from the expected value relative to the check's scale, of all
seeds the largest, and "in standard errors" the same beside what so many samples can tell."""

BASES = """\
More functions in the ansatz (of the distance in the amplitude of a pair, and collective ones), one seed. The
residual is the part of the equations of motion that no parameter follows, its mean over time."""


def tasks(profile: Profile) -> list[Task]:
    """Every problem by every method that solves it, and the exact solutions."""
    cases = [each.case for each in of.breathing(profile)]
    cases += [of.tunnelling(profile), *of.plane(profile)]
    return [*(task for case in cases for task in case.all_tasks()), *of.ten(profile).all_tasks()]


def chapter(profile: Profile, found: Found) -> Chapter:
    """Tables and figures of all problems."""
    breathing, tunnelling = of.breathing(profile), of.tunnelling(profile)
    plane, ten = of.plane(profile), of.ten(profile)
    blocks: list[Words | RowsTable | Grid | Picture] = [Words(OPENING), Words(BREATHING)]
    blocks += pictures.breathing(profile, found)
    blocks.append(RowsTable([row for each in breathing for row in numbers.breathing_rows(each, found)]))
    blocks += [Words(TUNNELLING), *height(tunnelling, found), *pictures.tunnelling(tunnelling, found)]
    blocks.append(RowsTable(numbers.tunnelling_rows(tunnelling, found)))
    blocks += [Words(PLANE), *pictures.plane(plane, found)]
    blocks.append(RowsTable([row for case in plane for row in numbers.plane_rows(case, found)]))
    blocks += [Words(TEN), *pictures.ten(ten, found), checks(ten, found), Words(BASES), bases(ten, found)]
    return Chapter("Beyond the sources", blocks)


def height(case: Case, found: Found) -> list[Words]:
    """Its energy beside the barrier."""
    task = case.tasks(of.MARCH)[0]
    stored, config = found.results(task), found.config(task)
    if stored is None or config is None or not isinstance(config.system.trap, DoubleWellTerm):
        return []
    energy, barrier = float(stored.results["observables"]["energy"][0]), config.system.trap.barrier
    side = "below" if energy < barrier else "above"
    return [Words(f"The mean energy is {energy:.3f}, {side} the barrier of {barrier:g}.")]


def checks(ten: Ten, found: Found) -> Grid:
    """What needs no reference: how far off at most over the seeds, beside what is tolerated."""
    stored = [s for task in ten.case.tasks(of.MARCH) if (s := found.results(task)) is not None]
    groups = [each.results["checks"] for each in stored if "checks" in each.results]
    header = ("check", "away", "tolerated", "in standard errors", "passed, of seeds")
    if not groups:
        return Grid(header, [("-",) * len(header)])
    cells = []
    for k, name in enumerate(groups[0]["check"]):
        away = max(float(group["deviation"][k]) for group in groups)
        sigmas = [
            abs(float(group["value"][k] - group["expected"][k])) / float(group["stderr"][k])
            for group in groups
            if group["stderr"][k] > 0.0
        ]
        passed = sum(int(group["passed"][k]) for group in groups)
        cells.append(
            (
                str(name),
                f"{away:.2g}",
                f"{groups[0]['tolerance'][k]:g}",
                # the centre of mass is sampled without noise: nothing to measure a distance by
                f"{max(sigmas):.1f}" if sigmas and max(sigmas) < NOISELESS else "no noise",
                f"{passed} of {len(groups)}",
            )
        )
    return Grid(header, cells)


def bases(ten: Ten, found: Found) -> Grid:
    """What more functions change."""
    header = ("functions", "parameters", "residual", "Var x1 at the end", "energy drift", "CPU s (march)")
    cells = []
    for basis, task in ten.bases.items():
        stored = found.results(task)
        if stored is None:
            cells.append((basis.title, *("-" for _ in header[1:])))
            continue
        march, group = stored.results["march"], stored.results["observables"]
        energy = group["energy"]
        paid = stored.attributes["provenance"]
        cells.append(
            (
                basis.title,
                f"{march['theta_re'].shape[1]}",
                f"{np.average(march['residual'], weights=march['dt']):.3g}",
                number(over_seeds([float(group["variance"][-1].mean())], numbers.end_error(stored))),
                f"{np.abs(energy / energy[0] - 1.0).max():.2%}",
                f"{shown(float(paid['cpu_seconds']))} ({shown(float(paid['solve_cpu_seconds']))})",
            )
        )
    return Grid(header, cells)
