"""Errors of one result against another: of a run against its references, or of any two files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.methods import cache
from dsmsim.methods.installed import Progress
from dsmsim.methods.references import CLOSED_FORM, closed_form_of, reference_results
from dsmsim.store import RunDirectory, StoredResults, read_results, stored_config, update_results

if TYPE_CHECKING:
    from dsmsim.analysis import Entry

Errors = dict[str, NDArray[Any]]
Array = NDArray[np.float64]
Evaluate = Callable[[Array, float], tuple[Array, Array]]


def compare_with(config: Config, run: RunDirectory, name: str, progress: Progress) -> Errors:
    """Errors of the run against one reference, also written to `/errors/<name>` of its results.h5.

    Raises:
        ConfigError, StoreError: as `reference_results`.
    """
    stored = read_results(run.results)
    reference = reference_results(config, run, name, stored, progress)
    errors = errors_between(stored, reference)
    update_results(run.results, {f"errors/{name}": errors})
    return errors


def compare_stage(config: Config, run: RunDirectory, name: str, progress: Progress) -> Errors | None:
    """Errors of the march from which the networks of a run were trained; None where there was none.

    Raises:
        ConfigError, StoreError: as `reference_results`.
    """
    if not run.march.is_file():
        return None
    stored = read_results(run.march)
    errors = errors_between(stored, reference_results(config, run, name, stored, progress))
    update_results(run.march, {f"errors/{name}": errors})
    return errors


def compare_several(paths: Sequence[Path], reference: Path) -> list[Entry]:
    """Errors of results against one reference, each under a short name.

    Args:
        paths: directories with a results.h5, or such files.
        reference: the same, or "closed_form" for the exact solution of the problem of each.

    Raises:
        ConfigError: they are not about the same system, or there is no closed form.
        StoreError: a file is missing or damaged.
    """
    from dsmsim.analysis import Entry

    entries = []
    for path, name in zip(paths, short_names(paths), strict=True):
        stored = read_results(_file(path))
        try:
            errors = errors_between(stored, _reference(path, stored, reference))
        except ConfigError as error:
            if len(paths) == 1:
                raise
            raise ConfigError(f"{path}: {error}", key=error.key) from error
        entries.append(Entry(name, stored, errors))
    return entries


def draw_several(entries: Sequence[Entry], first: Path, reference: Path, file: Path | None) -> Path:
    """The figure of several results, in `file` or beside the figures of the first one; its path.

    Raises:
        ConfigError: matplotlib is not installed.
        StoreError: the figure cannot be written.
    """
    from dsmsim.analysis import plot_entries

    stored = entries[0].stored
    truth = _reference(first, stored, reference)
    directory = first if first.is_dir() else first.parent
    target = file or RunDirectory(directory).figures / "methods.png"
    (name,) = short_names([reference])
    return plot_entries(entries, truth.results, name, target, stored_config(stored.attributes))


def short_names(paths: Sequence[Path]) -> list[str]:
    """The last part of every path that is not "results.h5"; whole paths where that is not enough."""
    names = [path.parent.name if path.name == cache.RESULTS else path.name for path in paths]
    return [
        name if name and names.count(name) == 1 else str(path)
        for name, path in zip(names, paths, strict=True)
    ]


def _reference(path: Path, stored: StoredResults, reference: Path) -> StoredResults:
    """A reference that is named by a path, or the closed form of the problem of `path`."""
    if str(reference) != CLOSED_FORM or reference.exists():
        return read_results(_file(reference))
    config = stored_config(stored.attributes)
    if config is None:
        raise ConfigError(f"{path} does not say which problem it solves, so its closed form is not known")
    return closed_form_of(config, stored)


def _file(path: Path) -> Path:
    return path / cache.RESULTS if path.is_dir() else path


def errors_between(stored: StoredResults, reference: StoredResults) -> Errors:
    """Errors of moments, densities and, where the one has networks and the other fields, of the fields.

    Against the closed form (which has no attributes) the errors of the fields were measured on the run's own
    samples; against a solver's fields they are measured at the solver's configurations.
    """
    from dsmsim.analysis import compare

    how = reference.attributes.get("observables")
    errors = compare(stored.results, reference.results, how, conserved=_conserves_energy(stored))
    fields = reference.results.get("velocity_fields")
    from dsmsim.training.trained import holds_fields

    if fields is not None and holds_fields(stored):
        from dsmsim.analysis.fields_error import field_errors

        errors |= field_errors(fields, evaluator(stored))
    elif not reference.attributes:
        attributes = stored.attributes.get("observables", {})
        errors |= {name: np.asarray(attributes[name]) for name in ("E_u", "E_v_field") if name in attributes}
    return errors


def _conserves_energy(stored: StoredResults) -> bool:
    """Whether the potential does not depend on time; a file that does not say is given the benefit."""
    from dsmsim.system import build_system

    try:
        config = stored_config(stored.attributes)
        return config is None or build_system(config).is_static
    except ConfigError:  # a function of the user that is not here
        return False


def evaluator(stored: StoredResults) -> Evaluate:
    """The trained u and v of a run as a function of positions (K, N, D) and a time, each (K, N, D).

    Raises:
        StoreError: the results hold no networks, or others than their own input describes.
    """
    import torch

    from dsmsim.training.trained import trained_fields

    _, fields = trained_fields(stored)
    like = fields.frame.center

    def evaluate(x: Array, t: float) -> tuple[Array, Array]:
        flat = torch.as_tensor(x.reshape(len(x), -1), dtype=like.dtype)
        with torch.no_grad():
            u, v = fields(flat, flat.new_full((len(x), 1), t))
        return u.double().numpy().reshape(x.shape), v.double().numpy().reshape(x.shape)

    return evaluate
