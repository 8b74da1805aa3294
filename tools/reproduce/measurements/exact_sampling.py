"""The closed form in place of trained fields, sampled like a run and with the run's random numbers.

What is left of an error then is that of the samples and of the integrator: the floor of every method that
moves samples in this way. It is measured as a run is, with moments corrected by a companion of known moments,
and in the plain manner of the publication, where every mean carries the noise of its samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dsmsim.analysis import closed_form_like, compare
from dsmsim.config import Config, load_config
from dsmsim.errors import ConfigError
from dsmsim.parallel import World
from dsmsim.system import ClosedForm, closed_form
from dsmsim.training.evaluate import evaluate
from dsmsim.training.state import new_state
from tools.reproduce.measuring import Columns
from tools.reproduce.task import ROOT

PLAIN = "plain_"  # before the names of errors without control variates


class ExactFields(nn.Module):
    """The closed form's (u, v) in the place of trained fields.

    Args:
        exact: the solution.
        frame: of the fields it stands for: its clock lays out the integrator's steps.
    """

    def __init__(self, exact: ClosedForm, frame: nn.Module) -> None:
        super().__init__()
        self.exact, self.frame = exact, frame

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v), each (B, n), at x (B, n) and t (B, 1)."""
        return self.exact.u(x, t), self.exact.v(x, t)


def exact_errors(config: Config) -> Mapping[str, NDArray[Any]]:
    """Errors of the exact solution, sampled with the random numbers of a run of this input.

    Raises:
        ConfigError: the problem has no closed form.
    """
    exact, world = closed_form(config), World()
    if exact is None:
        raise ConfigError("the problem has no closed form whose fields could be sampled")
    state: Any = new_state(config, world)
    state.fields = ExactFields(exact, state.fields.frame)
    sums = evaluate(config, state, world, lambda done, total: None).sums
    results = {"observables": sums.observables(), "density": sums.density()}
    reference = closed_form_like(config, results)
    assert reference is not None  # there is a closed form
    return compare(results, reference)


def measure(directory: Path, input: str, settings: Sequence[str]) -> Columns:
    """All errors that are numbers, by name, and the same of plain independent samples as `plain_NAME`.

    Args:
        directory: not used: everything is in the columns.
        input: file, relative to the root of the project.
        settings: KEY=VALUE options with which it is run.
    """
    torch.set_num_threads(1)
    path = ROOT / input
    found: dict[str, NDArray[Any]] = {}
    for prefix, more in (("", []), (PLAIN, ["evaluation.control_variates=false"])):
        errors = exact_errors(load_config(path, [*settings, *more]))
        found |= {f"{prefix}{name}": np.asarray(value) for name, value in errors.items() if value.ndim == 0}
    return Columns(found, {f"{prefix}E_m_abs{kind}": "length" for prefix in ("", PLAIN) for kind in KINDS})


KINDS = ("", "_std", "_floor", "_all", "_all_floor")
