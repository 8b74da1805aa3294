"""The drawings of the state: each from what the results hold, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsmsim.analysis import profiles
from dsmsim.analysis.loading import RunToPlot
from dsmsim.analysis.profiles import Profile
from dsmsim.analysis.report.charts import (
    BLACK,
    BLUE,
    COLORS,
    GREEN,
    ORANGE,
    PURPLE,
    REFERENCES,
    SKY,
    VERMILION,
    Block,
    Chart,
    Figure,
    curves,
    line,
    over_time,
    shades,
    widen,
)
from dsmsim.analysis.report.moving import MOST_SHOTS, profile_block, shots_chart, square_charts, times_of

Group = Mapping[str, NDArray[Any]]
# caption and unit of a function of two positions, where it is found, and the middle of its colours
_Square = tuple[str, str, Callable[[RunToPlot], Profile | None], float | None]

ENERGIES = (
    ("energy", "total", BLACK),
    ("energy_kinetic_osmotic", "kinetic, osmotic", ORANGE),
    ("energy_kinetic_current", "kinetic, current", BLUE),
    ("energy_kinetic", "kinetic", SKY),
    ("energy_trap", "trap", GREEN),
    ("energy_interaction", "interaction", VERMILION),
    ("energy_potential", "potential", PURPLE),
)
UNKNOWN = 0.25  # standard error beyond which a pure number says nothing


def state_blocks(run: RunToPlot) -> list[Block]:
    """What is known of the state: density, moments, energy, correlations, distributions."""
    makers: tuple[Callable[[RunToPlot], Iterator[Block]], ...] = (
        _densities,
        _moments,
        _energies,
        _currents,
        _two_positions,
        _distributions,
        _shots,
        _user,
    )
    return [block for make in makers for block in make(run)]


def _densities(run: RunToPlot) -> Iterator[Block]:
    for axis, name in enumerate("xyz"):
        density = profiles.density(run, axis)
        if density is not None:
            words = (
                "The one-body density, of integral 1. Move the slider to see it at any saved time; the line "
                "in the maps follows."
            )
            title = "Density" if axis == 0 else f"Density along {name}"
            yield profile_block(
                title,
                words + _against(density),
                density,
                "density (1/length)",
                f"{name} (length)",
                smooth=profiles.smooth_density(run, axis),
            )


def _against(profile: Profile) -> str:
    return f" Held against {profile.reference}." if profile.reference else ""


def _currents(run: RunToPlot) -> Iterator[Block]:
    for axis, name in enumerate("xyz"):
        current = profiles.current(run, axis)
        if current is not None:
            words = (
                "The one-body current: how much probability passes a point per unit of time, to the right."
            )
            title = "Current" if axis == 0 else f"Current along {name}"
            yield profile_block(
                title, words + _against(current), current, "current (1/time)", f"{name} (length)"
            )


def _moments(run: RunToPlot) -> Iterator[Block]:
    group = run.results.get("observables", {})
    if "mean" not in group:
        return
    charts = []
    labels = {"mean": "mean (length)", "variance": "variance (length²)"}
    for axis in range(group["mean"].shape[2]):
        for name, label in labels.items():
            stderr = group.get(f"{name}_stderr")
            # particles are alike: their average, with the error of one of them, which is larger
            drawn = [
                line(
                    group["time"],
                    group[name][:, :, axis].mean(1),
                    "run",
                    BLUE,
                    stderr=None if stderr is None else stderr[:, :, axis].mean(1),
                )
            ]
            for (reference, results), (color, dash) in zip(run.references.items(), REFERENCES, strict=False):
                true = results.get("observables", {})
                if name in true:
                    curve = true[name][:, :, axis].mean(1)
                    drawn.append(line(true["time"], curve, reference, color, dash=dash))
            along = f" of {'xyz'[axis]}" if group["mean"].shape[2] > 1 else ""
            figure = curves(group["time"], drawn, "time t", label)
            if name == "mean":
                widen(figure, 0.5 * float(np.sqrt(np.max(group["variance"]))))
            charts.append(Chart(name + along, figure))
    yield Block("Mean and variance", "Moments of the position of one particle.", charts)


def _energies(run: RunToPlot) -> Iterator[Block]:
    group = run.results.get("observables", {})
    charts = []
    if "energy" in group:
        parts = over_time(group, _parts_of(group), "energy")
        if parts is not None:
            charts.append(Chart("energy and its parts", parts))
    if "center_of_mass_variance" in group:
        charts += _center_of_mass(run, group)
    if charts:
        words = "What the dynamics conserves or prescribes, whatever the interaction."
        yield Block("Energy and centre of mass", words, charts)


def _parts_of(group: Group) -> list[tuple[str, str, str]]:
    """The finest parts there are: potential and kinetic energy only where they are not divided."""
    divided = {"energy_potential": "energy_interaction", "energy_kinetic": "energy_kinetic_osmotic"}
    return [part for part in ENERGIES if divided.get(part[0]) not in group]


def _center_of_mass(run: RunToPlot, group: Group) -> list[Chart]:
    charts = []
    exact = run.center_of_mass
    labels = {"mean": "mean (length)", "variance": "variance (length²)"}
    for name, label in labels.items():
        key = f"center_of_mass_{name}"
        drawn = []
        for axis in range(group[key].shape[1]):
            stderr = group.get(f"{key}_stderr")
            spread = None if stderr is None else stderr[:, axis]
            legend = "run" if group[key].shape[1] == 1 else f"run, {'xyz'[axis]}"
            drawn.append(line(group["time"], group[key][:, axis], legend, COLORS[axis], stderr=spread))
        if exact is not None:
            fine = np.linspace(group["time"][0], group["time"][-1], 201)
            color, dash = REFERENCES[0]
            for axis, curve in enumerate(getattr(exact, name)(fine).T):
                legend = profiles.KOHN if axis == 0 else ""
                drawn.append(line(fine, curve, legend, color, dash=dash))
        figure = curves(group["time"], drawn, "time t", label)
        widest = float(np.max(group["center_of_mass_variance"]))
        widen(figure, 0.5 * (np.sqrt(widest) if name == "mean" else widest))
        charts.append(Chart(f"centre of mass: {name}", figure))
    return charts


def _two_positions(run: RunToPlot) -> Iterator[Block]:
    kinds: tuple[tuple[str, str, tuple[_Square, ...]], ...] = (
        (
            "Pairs",
            "The density of finding one particle at x and another at x', and the pair correlation: 1 where "
            "two particles do not know of each other, less where they avoid each other (white: not known "
            "to better than a quarter).",
            (
                ("pair density", "1/length²", profiles.pair_density, None),
                ("pair correlation g₂", "", profiles.g2, 1.0),
            ),
        ),
        (
            "Coherence",
            "Absolute values of the one-body density matrix and of g₁, the contrast of the fringes if what "
            "comes from x and from x' interfered.",
            (
                ("density matrix", "1/length", profiles.density_matrix, None),
                ("first-order coherence g₁", "", profiles.g1, None),
            ),
        ),
    )
    for title, words, squares in kinds:
        charts: list[Chart] = []
        times: list[float] = []
        for caption, unit, find, middle in squares:
            profile = find(run)
            if profile is not None and not unit and profile.stderr is not None:
                known = np.nan_to_num(profile.stderr, nan=np.inf) <= UNKNOWN
                profile = replace(profile, values=np.where(known, profile.values, np.nan))
            if profile is not None:
                charts += square_charts(caption, profile, unit, middle)
                times = times_of(profile.time)
        if charts:
            yield Block(title, words, charts, times)
    yield from _occupations(run)


def _occupations(run: RunToPlot) -> Iterator[Block]:
    group = run.results.get("correlations", {})
    if "occupation" in group and len(group["time"]) > 1:
        occupation = {"time": group["time"]}
        names = []
        for k in range(min(4, group["occupation"].shape[1])):
            occupation[f"n{k}"] = group["occupation"][:, k]
            if "occupation_stderr" in group:
                occupation[f"n{k}_stderr"] = group["occupation_stderr"][:, k]
            names.append((f"n{k}", f"orbital {k}", COLORS[k]))
        figure = over_time(occupation, names, "occupation")
        if figure is not None:
            words = "Of the one-body density matrix; a single large one is a condensate."
            yield Block("Natural occupations", words, [Chart("occupations over time", figure, True)])


def _distributions(run: RunToPlot) -> Iterator[Block]:
    known: tuple[tuple[str, str, Callable[[RunToPlot], Profile | None], str, str], ...] = (
        (
            "Distance of two particles",
            "The density of their distance, of integral 1.",
            profiles.distances,
            "density (1/length)",
            "distance (length)",
        ),
        (
            "Centre of mass",
            "The density of the centre of mass along x, of integral 1.",
            profiles.center_of_mass,
            "density (1/length)",
            "centre of mass (length)",
        ),
        (
            "Momentum",
            "The one-body momentum density, of integral 1.",
            profiles.momentum,
            "density (1/momentum)",
            "p (momentum)",
        ),
    )
    for title, words, find, label, position in known:
        profile = find(run)
        if profile is not None:
            yield profile_block(title, words + _against(profile), profile, label, position)
    group = run.results.get("distributions", {})
    charts = []
    for name, label, caption in (
        ("quantile", "x (length)", "quantiles of one particle's position"),
        ("escape", "probability", "probability of being further than a distance from the initial mean"),
    ):
        if name in group:
            charts.append(Chart(caption, _levels(group, name, label)))
    if charts:
        yield Block("Quantiles and escape", "", charts)


def _levels(group: Group, name: str, ylabel: str) -> Figure:
    """Curves over time, one for each level of a quantile or threshold of an escape, along the first axis."""
    levels = group["probability" if name == "quantile" else "threshold"]
    drawn = []
    for k, (level, color) in enumerate(zip(levels, shades(len(levels)), strict=True)):
        values, stderr = group[name][:, k], group.get(f"{name}_stderr")
        spread = None if stderr is None else stderr[:, k]
        if values.ndim == 2:
            values, spread = values[:, 0], None if spread is None else spread[:, 0]
        legend = f"{100.0 * level:g} %" if name == "quantile" else f"beyond {level:.3g}"
        drawn.append(line(group["time"], values, legend, color, stderr=spread))
    return curves(group["time"], drawn, "time t", ylabel)


def _shots(run: RunToPlot) -> Iterator[Block]:
    group = run.results.get("shots")
    if group is None:
        return
    count = min(group["position"].shape[1], MOST_SHOTS)
    words = (
        f"{count} single shots of all particles, as an experiment would see them; every shot is the same "
        "sample at all times."
    )
    yield Block("Single shots", words, [shots_chart(group["position"])], times_of(group["time"]))


def _user(run: RunToPlot) -> Iterator[Block]:
    group = run.results.get("user", {})
    charts = []
    for name in group:
        if name != "time" and not name.endswith("_stderr"):
            figure = over_time(group, [(name, name, BLUE)], name)
            if figure is not None:
                charts.append(Chart(name, figure))
    if charts:
        yield Block("Averages of your own", "As [output] asks for them.", charts)
