"""References of a run: which there are, what they would cost, and their results.

`[compare] with = "auto"` means the closed form where there is one, else `exact`, which picks an exact solver,
where that is cheap. What is named in a list is computed whatever it costs, as long as it fits. Either is
decided before training: a reference that cannot treat the problem is an error then, not hours later.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsmsim.config import Config, shown_size
from dsmsim.errors import ConfigError, StoreError
from dsmsim.methods import cache
from dsmsim.methods.installed import Prediction, Progress, entry_of, predict, solve_by
from dsmsim.store import RunDirectory, StoredResults, read_results, update_results
from dsmsim.store.files import write_atomically
from dsmsim.store.xdmf import write_xdmf

CLOSED_FORM = "closed_form"
EXACT = "exact"
CHEAP_SECONDS = 60.0  # of one core: what "auto" may spend


@dataclass(frozen=True)
class Reference:
    """One reference: its name, and what its solver would cost, where it can tell."""

    name: str
    prediction: Prediction | None = None


@dataclass(frozen=True)
class Choice:
    """The references of a run.

    Attributes:
        references: in the order in which they are compared with.
        note: why there is none, where "auto" found none; else empty.
    """

    references: tuple[Reference, ...] = ()
    note: str = ""

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [reference.name for reference in self.references]

    @property
    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Name, method, size, memory and time of each, in words."""
        return [_row(reference) for reference in self.references]

    @property
    def notes(self) -> list[str]:
        """What else a user should know, a sentence each."""
        notes = [
            f"{reference.name}: {note}"
            for reference in self.references
            if reference.prediction is not None
            for note in reference.prediction.notes
        ]
        return [*notes, *([self.note] if self.note else [])]

    @property
    def summary(self) -> str:
        """One line for the start of a run: what will be computed after training, or why nothing will."""
        computed = [row for row in self.rows if row[0] != CLOSED_FORM]
        costs = [
            f"{name} ({method}, {seconds})" if method else name for name, method, _, _, seconds in computed
        ]
        return f"after training: {', '.join(costs)}" if costs else self.note


def _row(reference: Reference) -> tuple[str, str, str, str, str]:
    prediction = reference.prediction
    if reference.name == CLOSED_FORM:
        return reference.name, "exact formula", "", "", ""
    if prediction is None:
        return reference.name, "", "unknown", "unknown", "unknown"
    memory, seconds = shown_size(prediction.memory), shown_seconds(prediction.seconds)
    return reference.name, prediction.method, prediction.points, memory, seconds


def choose_references(config: Config) -> Choice:
    """What `[compare]` asks for.

    Raises:
        ConfigError: a reference that is named cannot treat the problem, or does not fit into the memory.
    """
    wanted = config.compare.with_
    if wanted == "auto":
        return _automatic(config)
    return Choice(tuple(_named(config, name) for name in wanted))


def has_closed_form(config: Config) -> bool:
    """Whether the problem has an exact solution in closed form."""
    from dsmsim.system import closed_form

    return closed_form(config) is not None


def _automatic(config: Config) -> Choice:
    if has_closed_form(config):
        return Choice((Reference(CLOSED_FORM),))
    ask = f'write [compare] with = ["{EXACT}"] to have one'
    try:
        prediction = predict(EXACT, config)
    except ConfigError as error:
        return Choice(note=f"no reference: {error}")
    if prediction is None or entry_of(EXACT) is None:
        return Choice(note=f"no reference: there is no closed form, and no method {EXACT!r} is installed")
    allowed = config.baselines.memory_bytes
    seconds = prediction.seconds
    if seconds is not None and seconds <= CHEAP_SECONDS and prediction.memory <= allowed:
        return Choice((Reference(EXACT, prediction),))
    cost = f"{shown_seconds(seconds)} and {shown_size(prediction.memory)}"
    return Choice(
        note=f"no reference: {prediction.method} ({prediction.points}) would take {cost}, which is not done "
        f"unasked; {ask}"
    )


def _named(config: Config, name: str) -> Reference:
    if name == CLOSED_FORM:
        if not has_closed_form(config):
            raise ConfigError(
                'compare.with = "closed_form": this problem has none (it needs a harmonic trap or none, a '
                'Gaussian start, and at most a harmonic interaction); write "auto" or another reference',
                key="compare.with",
            )
        return Reference(name)
    try:
        prediction = predict(name, config)
    except ConfigError as error:
        raise ConfigError(f'compare.with = "{name}": {error}', key="compare.with") from error
    if prediction is not None:
        require_memory(config, name, prediction)
    return Reference(name, prediction)


def require_memory(config: Config, name: str, prediction: Prediction) -> None:
    """Refuse a solution that does not fit into `config.baselines.memory_bytes`.

    Raises:
        ConfigError: with need, what there is, and the fix.
    """
    allowed = config.baselines.memory_bytes
    if prediction.memory > allowed:
        raise ConfigError(
            f'baselines.memory = "{config.baselines.memory}": the method "{name}" needs about '
            f"{shown_size(prediction.memory)} for {prediction.points}, but may use {shown_size(allowed)}; "
            "raise it where there is more, or use another method",
            key="baselines.memory",
        )


def shown_seconds(seconds: float | None) -> str:
    """A rough time in words."""
    if seconds is None:
        return "an unknown time"
    if seconds < 1.0:
        return "less than 1 s"
    if seconds < 100.0:
        return f"about {seconds:.2g} s"
    return f"about {seconds / 60:.2g} min" if seconds < 6000.0 else f"about {seconds / 3600:.2g} h"


def reference_results(
    config: Config, run: RunDirectory, name: str, stored: StoredResults, progress: Progress
) -> StoredResults:
    """The results of a reference on the problem of a run.

    A solver's results lie in `references/<name>/` of the run. They are computed unless they are there
    already, or were kept by an earlier run (`dsmsim.methods.cache`), for the same problem and options.

    Raises:
        ConfigError: no such reference, or it cannot treat the problem.
        StoreError: files cannot be written.
    """
    if name == CLOSED_FORM:
        return closed_form_of(config, stored)
    file = run.references / name / cache.RESULTS
    key = cache.reference_key(config, name)
    there = _usable(file, key)
    if there is not None:
        return there
    file.parent.mkdir(parents=True, exist_ok=True)
    shared = cache.may_be_shared(config)
    data = cache.find(name, key, progress) if shared else None
    if data is not None:
        write_atomically(file, data)
        results = read_results(file)
        write_xdmf(file, results.results)
        return results
    solve_by(name, cache.reference_config(config, name), file.parent, progress)
    update_results(file, {}, {"provenance": {"reference_key": key}})
    results = read_results(file)
    # what is not converged may have stopped at a limit of this machine
    if shared and results.attributes.get("observables", {}).get("converged", True):
        cache.keep(name, key, file, progress)
    return results


def closed_form_of(config: Config, stored: StoredResults) -> StoredResults:
    """The closed form at the times and in the density cells of a run.

    Raises:
        ConfigError: there is none.
    """
    from dsmsim.analysis import closed_form_like

    exact = closed_form_like(config, stored.results)
    if exact is None:
        raise ConfigError(f"{config.title or 'this problem'} has no closed form")
    return StoredResults(exact, {})


def _usable(file: Path, key: str) -> StoredResults | None:
    """What is left of an earlier run in this directory, if it answers the same question."""
    if not file.is_file():
        return None
    try:
        stored = read_results(file)
    except StoreError:
        return None
    return stored if stored.attributes.get("provenance", {}).get("reference_key") == key else None
