"""Errors of one result against another: of a run against its references, or of any two files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.methods.installed import Progress
from dsmsim.methods.references import CLOSED_FORM, closed_form_of, reference_results
from dsmsim.store import RunDirectory, StoredResults, read_results, stored_config, update_results

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


def compare_files(path: Path, reference: Path) -> Errors:
    """Errors of one result against another.

    Args:
        path: a directory with a results.h5, or such a file.
        reference: the same, or "closed_form" for the exact solution of the problem of `path`.

    Raises:
        ConfigError: they are not about the same system, or there is no closed form.
        StoreError: a file is missing or damaged.
    """
    stored = read_results(_file(path))
    if str(reference) != CLOSED_FORM or reference.exists():
        return errors_between(stored, read_results(_file(reference)))
    config = stored_config(stored.attributes)
    if config is None:
        raise ConfigError(f"{path} does not say which problem it solves, so its closed form is not known")
    return errors_between(stored, closed_form_of(config, stored))


def _file(path: Path) -> Path:
    return path / "results.h5" if path.is_dir() else path


def errors_between(stored: StoredResults, reference: StoredResults) -> Errors:
    """Errors of moments, densities and, where the one has networks and the other fields, of the fields.

    Against the closed form (which has no attributes) the errors of the fields were measured on the run's own
    samples; against a solver's fields they are measured at the solver's configurations.
    """
    from dsmsim.analysis import compare

    errors = compare(stored.results, reference.results, reference.attributes.get("observables"))
    fields = reference.results.get("velocity_fields")
    if fields is not None and any(name.startswith("model/") for name in stored.results):
        from dsmsim.analysis.fields_error import field_errors

        errors |= field_errors(fields, evaluator(stored))
    elif not reference.attributes:
        attributes = stored.attributes.get("observables", {})
        errors |= {name: np.asarray(attributes[name]) for name in ("E_u", "E_v_field") if name in attributes}
    return errors


def evaluator(stored: StoredResults) -> Evaluate:
    """The trained u and v of a run as a function of positions (K, N, D) and a time, each (K, N, D).

    Raises:
        StoreError: the results hold no networks, or others than their own input describes.
    """
    import torch

    from dsmsim.training.trained import trained_fields

    _, fields = trained_fields(stored)
    like = next(fields.parameters())

    def evaluate(x: Array, t: float) -> tuple[Array, Array]:
        flat = torch.as_tensor(x.reshape(len(x), -1), dtype=like.dtype)
        with torch.no_grad():
            u, v = fields(flat, flat.new_full((len(x), 1), t))
        return u.double().numpy().reshape(x.shape), v.double().numpy().reshape(x.shape)

    return evaluate
