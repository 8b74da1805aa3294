"""What a run will cost, known before it starts: parameters, memory, arithmetic, files.

Parameter counts are exact. Memory and arithmetic are estimates; their two factors were measured on the exact
loss (forward mode along n + 1 directions, one reverse pass for the gradient of the divergence, one for the
parameters): a training epoch costs about 7 (n + 2) forward passes per residual point, and keeps about
9 (n + 2) numbers for every hidden value of a point (6.5 for the equivariant network). Rebuilding tensor-train
weights from their cores is not counted.

Symbols: `n` coordinates, N particles, D dimensions, H width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsmsim.config.modes import balanced_modes, tt_ranks

if TYPE_CHECKING:
    from dsmsim.config.model import Config

__all__ = [
    "MemoryEstimate",
    "Plan",
    "PlannedFile",
    "TensorPlan",
    "balanced_modes",
    "make_plan",
    "parameter_count",
]

RESIDUAL_CHUNK = 4096  # residual points that go through the derivative graph at a time
SAMPLE_BLOCK = 2000  # evaluation trajectories that are advanced together
PASSES_PER_POINT = 7  # forward passes per residual point, network and direction
KEPT_PER_VALUE = {
    "mlp": 9.0,
    "sorted": 9.0,
    "equivariant": 6.5,
}  # numbers kept per hidden value and direction
# numbers per parameter: value, moments; for soap an average and a basis of each side of square layers
STORED_PER_PARAMETER = {"adam": 3, "soap": 7}
GRADIENTS = 2  # the gradient, and one buffer for its sum over ranks


@dataclass(frozen=True)
class TensorPlan:
    """The tensor-train layers: modes and ranks as they will be used.

    Attributes:
        modes_out, modes_in: factors of the width.
        ranks: r_0 .. r_K, cut to what each bond can have.
        dense_parameters: parameters of u and v together if the layers were dense.
    """

    modes_out: tuple[int, ...]
    modes_in: tuple[int, ...]
    ranks: tuple[int, ...]
    dense_parameters: int


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on the most loaded rank, by what they hold."""

    parameters: int
    residuals: int
    sampling: int
    evaluation: int
    results: int

    @property
    def total(self) -> int:
        """All of them; training and evaluation do not overlap, so the larger one counts."""
        return self.parameters + max(self.residuals + self.sampling, self.evaluation + self.results)


@dataclass(frozen=True)
class PlannedFile:
    """A file that a run writes, with its size in bytes where it can be foreseen."""

    path: str
    meaning: str
    size: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a run will cost.

    Attributes:
        ranks: processes over which it is spread.
        parameters_u, parameters_v: exact numbers of trainable parameters.
        tensor: the tensor-train layers, None where the layers are dense.
        trajectories_per_rank, points_per_rank: on the most loaded rank.
        network_evaluations: evaluations of one network at one point, per epoch, over all ranks.
        multiply_adds: per epoch, over all ranks.
        memory: estimate for the most loaded rank.
        files: what is written, relative to the run's directory.
        warnings: what is allowed but probably not meant.
    """

    ranks: int
    parameters_u: int
    parameters_v: int
    tensor: TensorPlan | None
    trajectories_per_rank: int
    points_per_rank: int
    network_evaluations: int
    multiply_adds: int
    memory: MemoryEstimate
    files: tuple[PlannedFile, ...]
    warnings: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """Trainable parameters of u and v together."""
        return self.parameters_u + self.parameters_v


def make_plan(config: Config, ranks: int = 1) -> Plan:
    """The plan of a run over `ranks` processes.

    Raises:
        ValueError: `ranks` is less than 1.
    """
    if ranks < 1:
        raise ValueError(f"ranks = {ranks} must be at least 1")
    train, n = config.train, config.system.coordinates
    blocks = train.trajectories // train.block
    trajectories = math.ceil(blocks / ranks) * train.block
    points = trajectories * (train.points // train.trajectories)
    stages = {"heun": 2, "euler": 1}[config.sampler.scheme]
    sampling = 2 * train.trajectories * config.time.steps * stages
    passes = sampling + 2 * train.points * PASSES_PER_POINT * (n + 2)
    count = parameter_count(config)
    memory = _memory(config, ranks, trajectories, points)
    return Plan(
        ranks=ranks,
        parameters_u=count,
        parameters_v=count,
        tensor=_tensor_plan(config),
        trajectories_per_rank=trajectories,
        points_per_rank=points,
        network_evaluations=sampling + 2 * train.points,
        multiply_adds=passes * _multiply_adds_per_pass(config),
        memory=memory,
        files=_files(config, memory),
        warnings=_warnings(config, ranks, blocks),
    )


def parameter_count(config: Config, *, dense: bool = False) -> int:
    """Trainable parameters of one of the two networks, exactly.

    Args:
        config: the input.
        dense: count hidden layers as dense even where [network.tensor] is given.
    """
    count = {"mlp": _mlp_count, "sorted": _mlp_count, "equivariant": _equivariant_count}[config.network.kind]
    return count(config, dense)


def _layer(inputs: int, outputs: int) -> int:
    """A dense layer with bias."""
    return (inputs + 1) * outputs


def _blocks_count(config: Config, dense: bool) -> int:
    """The residual blocks, two H x H layers with bias each: dense, or cores (r_{k-1}, out_k, in_k, r_k)."""
    network, plan = config.network, None if dense else _tensor_plan(config)
    layer = _layer(network.width, network.width)
    if plan is not None:
        cores = zip(plan.ranks[:-1], plan.modes_out, plan.modes_in, plan.ranks[1:], strict=True)
        layer = sum(math.prod(shape) for shape in cores) + network.width
    return 2 * network.blocks * layer


def _mlp_count(config: Config, dense: bool) -> int:
    """(x, t) -> H, residual blocks, H -> n."""
    n, width = config.system.coordinates, config.network.width
    return _layer(n + 1, width) + _blocks_count(config, dense) + _layer(width, n)


def _equivariant_count(config: Config, dense: bool) -> int:
    """Messages (x_i, t) -> H, x_i - x_j -> H (no bias), sums (x_j, t) -> H, all of it -> H, blocks, -> D."""
    dimensions, width = config.system.dimensions, config.network.width
    features = 2 * _layer(dimensions + 1, width) + dimensions * width
    entry = _layer(dimensions + 1 + 2 * width, width)
    return features + entry + _blocks_count(config, dense) + _layer(width, dimensions)


def _tensor_plan(config: Config) -> TensorPlan | None:
    tensor, width = config.network.tensor, config.network.width
    if tensor is None:
        return None
    modes_out = tensor.modes_out or balanced_modes(width)
    modes_in = tensor.modes_in or balanced_modes(width)
    ranks = tt_ranks(modes_out, modes_in, tensor.rank)
    return TensorPlan(
        tuple(modes_out), tuple(modes_in), tuple(ranks), 2 * parameter_count(config, dense=True)
    )


def _multiply_adds_per_pass(config: Config) -> int:
    """Multiply-adds of one network at one point; tensor-train layers are applied as dense ones."""
    system, network = config.system, config.network
    width, hidden = network.width, 2 * network.blocks * network.width**2
    if network.kind != "equivariant":
        return (2 * system.coordinates + 1) * width + hidden
    dimensions = system.dimensions
    per_particle = (4 * dimensions + 2) * width + (dimensions + 1 + 2 * width) * width + hidden
    return system.particles * per_particle


def _hidden_values(config: Config) -> int:
    """Hidden values of one network at one point."""
    particles, network = config.system.particles, config.network
    if network.kind != "equivariant":
        return (1 + 2 * network.blocks) * network.width
    return (particles**2 + (3 + 2 * network.blocks) * particles) * network.width


def _bytes_per_number(config: Config) -> int:
    return {"float32": 4, "float64": 8}[config.train.precision]


def _memory(config: Config, ranks: int, trajectories: int, points: int) -> MemoryEstimate:
    system, network, time = config.system, config.network, config.time
    n, size = system.coordinates, _bytes_per_number(config)
    rebuilt = 0 if network.tensor is None else 8 * network.blocks * network.width**2
    kept = math.ceil(KEPT_PER_VALUE[network.kind] * (n + 2) * _hidden_values(config))
    samples = min(math.ceil(config.evaluation.samples / ranks), SAMPLE_BLOCK)
    return MemoryEstimate(
        parameters=size
        * (
            (STORED_PER_PARAMETER[config.train.optimizer] + GRADIENTS) * 2 * parameter_count(config) + rebuilt
        ),
        residuals=size * (min(points, RESIDUAL_CHUNK) * 2 * kept + 3 * points * (n + 1)),
        sampling=size * trajectories * (time.steps + 1) * n,
        evaluation=samples * (80 * n + size * 2 * _hidden_values(config)),
        results=_results_size(config),
    )


def _results_size(config: Config) -> int:
    """Bytes of observables, densities and stored trajectories, in double precision with standard errors."""
    system, evaluation = config.system, config.evaluation
    times = config.time.save if isinstance(config.time.save, int) else len(config.time.save)
    moments = system.coordinates * (4 + 2 * system.particles + 2 * evaluation.trials)
    density = 2 * system.dimensions * evaluation.bins
    return 8 * times * (moments + density + 20 + config.output.trajectories * system.coordinates)


def _files(config: Config, memory: MemoryEstimate) -> tuple[PlannedFile, ...]:
    parameters, size = 2 * parameter_count(config), _bytes_per_number(config)
    keep = config.output.keep
    files = [
        PlannedFile("input.toml", "the input as given"),
        PlannedFile("resolved.toml", "the input with every default"),
        PlannedFile("log.jsonl", "progress, one line per logged epoch"),
        PlannedFile(
            "checkpoints/ckpt-NNNNNN.h5",
            f"state for `dsmsim resume`, every {config.output.checkpoint_every}, the last {keep} are kept",
            STORED_PER_PARAMETER[config.train.optimizer] * parameters * size,
        ),
        PlannedFile("results.h5", "observables, densities, networks", memory.results + parameters * size),
    ]
    named = config.compare.with_ if isinstance(config.compare.with_, list) else []
    for name in named:
        if name != "closed_form":
            files.append(PlannedFile(f"references/{name}/results.h5", "the same of a reference"))
    if config.output.figures:
        files.append(PlannedFile("figures/", "figures, where matplotlib is installed"))
    return tuple(files)


def _warnings(config: Config, ranks: int, blocks: int) -> tuple[str, ...]:
    warnings = []
    if config.network.kind == "sorted":
        warnings.append(
            'network.kind = "sorted" converges to wrong answers with a small loss; use it only to reproduce '
            'the publication, and kind = "equivariant" otherwise'
        )
    if blocks < ranks:
        warnings.append(
            f"{ranks - blocks} of {ranks} ranks have nothing to do: train.trajectories / train.block makes "
            f"{blocks} blocks; use fewer ranks, or a smaller train.block"
        )
    elif blocks % ranks:
        warnings.append(
            f"the load is uneven: {blocks} blocks (train.trajectories / train.block) over {ranks} ranks"
        )
    if config.network.tensor is not None and 2 * parameter_count(config) >= 2 * parameter_count(
        config, dense=True
    ):
        warnings.append(
            "the tensor-train layers have no fewer parameters than dense ones; use a smaller rank"
        )
    return tuple(warnings)
