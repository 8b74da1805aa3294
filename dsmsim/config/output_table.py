"""[output]: what is measured, and what a run leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PlainValidator

from dsmsim.config.expressions import check_expression
from dsmsim.config.fields import (
    ENTRY_POINT,
    IDENTIFIER,
    TARGET,
    Cadence,
    CheckpointCadence,
    Table,
    broken_rule,
    parse_cadence,
)
from dsmsim.config.problems import Problem, dotted, listed, problem_at, shown
from dsmsim.config.run_tables import POTENTIAL_KINDS

if TYPE_CHECKING:
    from dsmsim.config.model import Config

DEFAULT_OBSERVABLES = (
    "smooth_density",
    "current",
    "pairs",
    "distances",
    "center_of_mass",
    "quantiles",
    "escape",
    "shots",
)
# what follows from the phase of psi, which velocity networks do not know
OF_WAVE_FUNCTION = ("coherence", "momentum")
OBSERVABLES = (*DEFAULT_OBSERVABLES, *OF_WAVE_FUNCTION)  # all that need nothing installed
MOST_NAMED = 100  # particles with names in expressions


def _names(value: object) -> list[str]:
    fix = f'write a list of names, e.g. ["{DEFAULT_OBSERVABLES[0]}", "{DEFAULT_OBSERVABLES[1]}"]'
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise broken_rule("must be a list of names in quotes", fix)
    for name in value:
        if TARGET.fullmatch(name) is None and (":" in name or ENTRY_POINT.fullmatch(name) is None):
            raise broken_rule(f"{shown(name)} is neither the name of an observable nor module:callable", fix)
    if len(set(value)) != len(value):
        raise broken_rule("every name must stand once", "remove what stands there twice")
    return list(value)


class OutputTable(Table):
    """[output]: what a run leaves behind."""

    checkpoint_every: Cadence = Field(
        default="5 min",
        description='time or epochs between checkpoints: "30 s", "10 min", "1 h", "20 epochs"',
    )
    keep: int = Field(default=3, ge=1, description="checkpoints that are kept, the latest ones")
    observables: Annotated[list[str], PlainValidator(_names)] = Field(
        default_factory=lambda: list(DEFAULT_OBSERVABLES),
        description="what is measured besides moments, energies, the density and the checks; also "
        '"coherence" and "momentum", for potential networks and the cluster ansatz; or '
        '"module:callable", or the name of an entry point',
    )
    expressions: dict[str, str] = Field(
        default={},
        description="averages of your own over the samples, NAME = expression of t and the coordinates of "
        "the particles x1, x2, ... (also y1, z1, ...)",
        examples=[{"bond_length": "abs(x1 - x2)"}],
    )
    correlation_times: int = Field(
        default=11,
        ge=2,
        description="number of saved times at which functions of two positions and single shots are kept, "
        "the first and the last among them",
    )
    precision: Literal["float64", "float32"] = Field(
        default="float64",
        description="floating-point numbers of what is measured, in results.h5; it is computed in float64",
    )
    trajectories: int = Field(
        default=0, ge=0, description="evaluation trajectories stored in trajectories/, one file a rank"
    )
    figures: bool = Field(default=True, description="draw figures at the end, where matplotlib is installed")
    report: bool = Field(
        default=True, description="write report.html at the end, where plotly and jinja2 are installed"
    )

    @property
    def cadence(self) -> CheckpointCadence:
        """`checkpoint_every` as a unit and a number."""
        return parse_cadence(self.checkpoint_every)


def knows_wave_function(config: Config) -> bool:
    """Whether the fields whose samples are measured are those of a wave function."""
    if config.train.mode == "march" and not config.train.polish and config.march.ansatz == "cluster":
        return True
    return config.network.kind in POTENTIAL_KINDS


def sample_variables(particles: int, dimensions: int) -> list[str]:
    """The names that [output.expressions] may use: coordinates, particle by particle, and last t.

    Those of the first hundred particles: bosons are all alike.
    """
    named = range(1, min(particles, MOST_NAMED) + 1)
    return [f"{axis}{number}" for number in named for axis in "xyz"[:dimensions]] + ["t"]


def output_problems(config: Config) -> Iterator[Problem]:
    """What [output] asks for that does not fit together, or not the rest of the input."""
    output = config.output
    asked = [name for name in output.observables if name in OF_WAVE_FUNCTION]
    if asked and not knows_wave_function(config):
        yield problem_at(
            config,
            "output.observables",
            f"a wave function is needed for {listed(asked)}, but network.kind = "
            f"{shown(config.network.kind)} knows velocities only",
            f"remove {listed(asked)}, or write network.kind = {shown(POTENTIAL_KINDS[0])}",
        )
    if output.trajectories > config.evaluation.samples:
        most = config.evaluation.samples
        yield problem_at(
            config,
            "output.trajectories",
            f"must be at most evaluation.samples = {most}",
            f"write trajectories = {most} or less",
        )
    variables = sample_variables(config.system.particles, config.system.dimensions)
    for name, text in output.expressions.items():
        key = dotted(["output", "expressions", name])
        if IDENTIFIER.fullmatch(name) is None or name.endswith("_stderr") or name == "time":
            yield Problem(
                key,
                "the name must be letters, digits and _, neither time nor with _stderr at its end",
                "choose another name",
            )
        elif name in OBSERVABLES:
            yield Problem(key, "there is an observable of this name already", "choose another name")
        try:
            check_expression(text, variables, ())
        except ValueError as error:
            yield Problem(key, f"{error}", "correct the expression", shown(text))
