"""The command `compress`: a new run from a finished one, with other hidden layers.

The new directory is that of a run like any other: it begins with a checkpoint that holds the new networks,
from which the run is resumed, with no epochs left or with those of the fine-tuning.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.tensor_shapes import FORMATS

if TYPE_CHECKING:
    from torch import Tensor

    from dsmsim.networks import Fields
    from dsmsim.parallel import World
    from dsmsim.store import RunDirectory, StoredResults
    from dsmsim.training.compress import LayerReport, Recipe
    from dsmsim.training.state import TrainState

DENSE = "dense"
DEFAULT_TOLERANCE = 0.01
# batches of points like those of the training; fitted to too few, layers are good at them alone
FITTED, MEASURED = range(1, 17), range(17, 19)
# errors against references in the order shown, of those that there are
SHOWN = ("E_v", "variance_error_mean", "density_l1_mean", "density_l1_max", "E_u", "E_v_field")


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for.

    Attributes:
        recipe: None for dense layers.
        finetune: epochs of training after the compression.
        out: directory of the new run.
        overwrite: whether a run that is there may be replaced.
    """

    recipe: Recipe | None
    finetune: int
    out: Path
    overwrite: bool


@dataclass(frozen=True)
class Stage:
    """The networks at one stage: numbers in them, loss, failed checks, and errors by reference.

    Attributes:
        distance: relative L2 distance of u and v to those of the run that was compressed.
    """

    name: str
    numbers: int
    loss: float
    failed: str
    distance: tuple[float, float]
    errors: dict[str, Mapping[str, Any]]


def wanted(
    directory: Path,
    format: str,
    rank: int | None,
    tolerance: float | None,
    modes: str | None,
    fit: str,
    reorder: bool,
    finetune: int,
    out: Path | None,
    overwrite: bool,
) -> Wanted:
    """The options of the command line, checked.

    Raises:
        ConfigError: options that contradict each other, or a value that is wrong.
    """
    from dsmsim.tensor.fit import SWAPS
    from dsmsim.training.compress import Recipe

    if format not in (*FORMATS, DENSE):
        raise ConfigError(f"--format {format}: write one of {', '.join((*FORMATS, DENSE))}")
    if fit not in ("data", "weights"):
        raise ConfigError(f"--fit {fit}: write data or weights")
    if rank is not None and tolerance is not None:
        raise ConfigError(f"--rank {rank} and --tolerance {tolerance:g}: give one, the other follows from it")
    if format == DENSE and not (rank is None and tolerance is None and modes is None):
        raise ConfigError("--format dense: dense layers have no --rank, --tolerance or --modes; remove them")
    if rank is not None and rank < 1:
        raise ConfigError(f"--rank {rank}: must be at least 1")
    if tolerance is not None and not 0.0 < tolerance < 1.0:
        raise ConfigError(f"--tolerance {tolerance:g}: must be between 0 and 1, e.g. 0.01")
    target = out or directory.with_name(f"{directory.resolve().name}-{format}")
    if target.resolve() == directory.resolve():
        raise ConfigError(f"--out {target}: this is the run that is compressed; name another directory")
    modes_out, modes_in = _modes(modes)
    if rank is None and tolerance is None:
        tolerance = DEFAULT_TOLERANCE
    swaps = SWAPS if reorder else 0
    recipe = Recipe(format, rank, tolerance, modes_out, modes_in, fit, swaps)  # type: ignore[arg-type]
    return Wanted(None if format == DENSE else recipe, finetune, target, overwrite)


def _modes(text: str | None) -> tuple[list[int] | None, list[int] | None]:
    """4x16:16x4 as modes of outputs and of inputs, 8x8 as both."""
    if text is None:
        return None, None
    try:
        sides = [[int(mode) for mode in side.split("x")] for side in text.split(":")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2):
        raise ConfigError(f"--modes {text}: write e.g. 8x8, or 4x16:16x4 for outputs and inputs")
    return sides[0], sides[-1]


def compress(directory: Path, want: Wanted) -> None:
    """`dsmsim compress`: on every rank; rank 0 then reports.

    Raises:
        ConfigError: what is wanted does not suit the networks, or the new directory holds a run.
        StoreError: there is no finished run, or files cannot be read or written.
        DivergedError, StoppedEarly: of the new run, see `dsmsim.errors`.
    """
    from dsmsim.parallel import start
    from dsmsim.store import RunDirectory, read_results
    from dsmsim.terminal import ProgressWatcher, report_console
    from dsmsim.training.dsm import solve_in
    from dsmsim.training.trained import trained_fields

    old = RunDirectory.open(directory)
    stored = read_results(old.results)
    config, fields = trained_fields(stored)
    with start(config.run.device, config.run.timeout_seconds) as world:
        changed, layers, text = world.broadcast_object(
            world.on_root(lambda: _prepared(directory, config, fields, want))
        )
        measure = _Measure(world, config, fields, old)
        stages = [measure.stage("before", config, fields, stored)]
        if want.finetune:
            state = _restored(changed, want.out, world)
            watcher = ProgressWatcher() if world.rank == 0 else None
            found = measure.evaluated(changed, state, watcher.sampling if watcher else lambda d, t: None)
            stages.append(measure.stage("changed", changed, state.fields, found))
        solve_in(
            world, changed, want.out, input_text=text, resume=True, observer=lambda world: ProgressWatcher()
        )
        state = _restored(changed, want.out, world)
        new = RunDirectory(want.out)
        found = world.broadcast_object(world.on_root(lambda: read_results(new.results)))
        last = f"after {want.finetune} epochs" if want.finetune else "changed"
        stages.append(measure.stage(last, changed, state.fields, found))
        if world.rank == 0:
            _keep_errors(old, new, stages[-1])
            _report(report_console(), directory, want.out, layers, stages)


def _prepared(
    directory: Path, config: Config, fields: Fields, want: Wanted
) -> tuple[Config, list[LayerReport], str]:
    """Make the new directory with its first checkpoint; its input, the layers, and the text of the input."""
    from dsmsim.parallel import World
    from dsmsim.store import RunDirectory
    from dsmsim.training.beginning import new_directory
    from dsmsim.training.compress import compressed, densified, finetuned
    from dsmsim.training.state import new_state, save_state

    if not want.overwrite:
        RunDirectory.create(want.out)  # a run that is there is refused before the work, and removed after it
    changed, made = densified(config, fields)
    layers: list[LayerReport] = []
    if want.recipe is not None:
        points = _points(changed, made, FITTED)
        changed, made, layers = compressed(changed, made, *points, want.recipe)
    if want.finetune:
        changed = finetuned(changed, want.finetune)
    state = new_state(changed, World())
    state.fields.load_state_dict(made.state_dict())
    state.epoch = 0 if want.finetune else changed.train.epochs
    command = shlex.join(["dsmsim", *sys.argv[1:]])
    text = f"# {directory} with other hidden layers:\n#     {command}\n\n" + changed.to_toml()
    run = new_directory(changed, want.out, text, want.overwrite)
    save_state(changed, state, run.checkpoints, cpu_seconds=0.0)
    return changed, layers, text


def _points(config: Config, fields: Fields, epochs: range) -> tuple[Tensor, Tensor]:
    """x (P, n), t (P, 1) on trajectories of the trained process: of these epochs after its training."""
    import torch

    from dsmsim.system import build_initial, build_system
    from dsmsim.training.batch import block_count, training_points

    system, initial, blocks = build_system(config), build_initial(config), list(range(block_count(config)))
    first = config.train.epochs
    batches = [training_points(config, system, initial, fields, first + epoch, blocks) for epoch in epochs]
    return torch.cat([batch.x for batch in batches]), torch.cat([batch.t for batch in batches])


def _restored(config: Config, out: Path, world: World) -> TrainState:
    """The state of the newest checkpoint, on every rank."""
    from dsmsim.store import RunDirectory, load_checkpoint
    from dsmsim.training.state import new_state

    state = new_state(config, world)
    state.load(world.broadcast_object(world.on_root(lambda: load_checkpoint(RunDirectory(out).checkpoints))))
    return state


class _Measure:
    """How good networks are, measured in the same way at every stage; all ranks ask together."""

    def __init__(self, world: World, config: Config, fields: Fields, old: RunDirectory) -> None:
        self.world, self.config, self.old = world, config, old
        self.fields = fields.to(world.device)
        self.x, self.t = (values.to(world.device) for values in _points(config, fields, MEASURED))

    def stage(self, name: str, config: Config, fields: Fields, stored: StoredResults) -> Stage:
        """Everything about one stage."""
        passed = stored.results["checks"]["passed"]
        failed = f"{len(passed) - int(sum(passed))} of {len(passed)}"
        numbers = sum(p.numel() for p in fields.parameters())
        return Stage(
            name, numbers, self._loss(config, fields), failed, self._distance(fields), self._errors(stored)
        )

    def evaluated(
        self, config: Config, state: TrainState, progress: Callable[[int, int], None]
    ) -> StoredResults:
        """Observables of networks that no file holds yet."""
        from dsmsim.store import StoredResults
        from dsmsim.training.evaluate import evaluate

        found = evaluate(config, state, self.world, progress)
        return StoredResults(found.groups(), {"observables": found.sums.field_errors()})

    def _loss(self, config: Config, fields: Fields) -> float:
        """On one batch of the process of these fields that no training has seen."""
        import torch

        from dsmsim.parallel import blocks_of_rank
        from dsmsim.system import build_initial, build_system
        from dsmsim.training.batch import block_count, slice_count, training_points
        from dsmsim.training.engines import gradient_function
        from dsmsim.training.step import Objective

        system, initial = build_system(config), build_initial(config)
        blocks = list(blocks_of_rank(block_count(config), self.world.rank, self.world.size))
        batch = training_points(config, system, initial, fields, self.config.train.epochs, blocks)
        gradient = gradient_function(config, fields, system)
        weights = torch.ones(slice_count(config), dtype=batch.x.dtype, device=batch.x.device)
        loss = Objective(config.train, fields, gradient, batch, self.world, weights).loss_and_gradient().loss
        for parameter in fields.parameters():
            parameter.grad = None
        return loss

    def _distance(self, fields: Fields) -> tuple[float, float]:
        pairs = zip(fields(self.x, self.t), self.fields(self.x, self.t), strict=True)
        u, v = (float((found - true).detach().norm() / true.detach().norm()) for found, true in pairs)
        return u, v

    def _errors(self, stored: StoredResults) -> dict[str, Mapping[str, Any]]:
        """Against the references whose results the old run has; rank 0 only."""
        from dsmsim.methods.comparing import errors_between
        from dsmsim.methods.references import CLOSED_FORM, has_closed_form, reference_results
        from dsmsim.store import read_results

        if self.world.rank != 0:
            return {}
        names = [CLOSED_FORM] if has_closed_form(self.config) else []
        names += sorted(file.parent.name for file in self.old.references.glob("*/results.h5"))
        found: dict[str, Mapping[str, Any]] = {}
        for name in names:
            if name == CLOSED_FORM:
                reference = reference_results(self.config, self.old, name, stored, lambda line: None)
            else:
                reference = read_results(self.old.references / name / "results.h5")
            found[name] = errors_between(stored, reference)
        return found


def _keep_errors(old: RunDirectory, new: RunDirectory, last: Stage) -> None:
    """The references and the errors against them, in the new directory."""
    from dsmsim.store import update_results

    for file in (*old.references.glob("*/results.h5"), *old.references.glob("*/results.xdmf")):
        target = new.references / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    if last.errors:
        update_results(new.results, {f"errors/{name}": errors for name, errors in last.errors.items()})


def _report(console: Any, directory: Path, out: Path, layers: list[LayerReport], stages: list[Stage]) -> None:
    from rich.markup import escape
    from rich.table import Table

    if layers:
        table = Table(title="Hidden layers", title_justify="left")
        table.add_column("layer")
        for column in ("numbers before", "after", "weight error", "output error"):
            table.add_column(column, justify="right")
        for layer in layers:
            errors = (f"{layer.weight_error:.2g}", f"{layer.output_error:.2g}")
            table.add_row(layer.name, f"{layer.before:,}", f"{layer.after:,}", *errors)
        console.print(table)
    table = Table(title=f"{escape(str(directory))} with other hidden layers", title_justify="left")
    table.add_column("", no_wrap=True)
    for stage in stages:
        table.add_column(stage.name, justify="right", no_wrap=True)
    table.add_row("numbers in the networks", *(f"{stage.numbers:,}" for stage in stages))
    table.add_row("loss", *(f"{stage.loss:.3g}" for stage in stages))
    table.add_row("failed checks", *(stage.failed for stage in stages))
    for k, field in enumerate("uv"):
        cells = (f"{stage.distance[k]:.2g}" for stage in stages[1:])
        table.add_row(f"{field}, distance to before", "0", *cells)
    for name in stages[0].errors:
        for metric in SHOWN:
            if metric in stages[0].errors[name]:
                measured = (stage.errors[name].get(metric) for stage in stages)
                # fields are compared with a reference at the ends only
                cells = ("-" if value is None else f"{float(value):.3g}" for value in measured)
                table.add_row(f"{metric} ({escape(name)})", *cells)
    console.print(table)
    if stages[-1].numbers >= stages[0].numbers and layers:
        console.print("no compression: the new networks hold no fewer numbers; raise --tolerance")
    console.print(f"results   {out / 'results.h5'}", markup=False, highlight=False, soft_wrap=True)
