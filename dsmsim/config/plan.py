"""What a run will cost, known before it starts: parameters, memory, arithmetic, files.

Parameter counts are exact. Memory is predicted from the buffers of networks, engines and optimisers on a CPU.
Arithmetic counts products of matrices; rebuilding decomposed weights from their cores is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsmsim.config.engine_costs import RESIDUAL_CHUNK, engine_costs
from dsmsim.config.memory_costs import (
    SAMPLE_BLOCK,
    MemoryEstimate,
    Share,
    memory_estimate,
    sampling_steps,
    share_of_work,
)
from dsmsim.config.network_costs import NetworkCosts, network_costs
from dsmsim.config.optimizer_costs import OptimizerCosts, optimizer_costs
from dsmsim.config.tensor_plan import TensorPlan, tensor_plan

if TYPE_CHECKING:
    from dsmsim.config.model import Config

__all__ = [
    "RESIDUAL_CHUNK",
    "SAMPLE_BLOCK",
    "MemoryEstimate",
    "Plan",
    "PlannedFile",
    "TensorPlan",
    "make_plan",
]

STAGES = {"heun": 2, "euler": 1}  # drift evaluations in a step


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
        networks: exact numbers of trainable parameters by the names of the networks.
        tensor: the decomposed layers, None where the layers are dense.
        trajectories_per_rank, points_per_rank: on the most loaded rank.
        network_evaluations: evaluations of one network at one point, per epoch, over all ranks.
        multiply_adds: per epoch, over all ranks.
        memory: estimate for the most loaded rank.
        files: what is written, relative to the run's directory.
        warnings: what is allowed but probably not meant.
    """

    ranks: int
    networks: dict[str, int]
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
        """Trainable parameters of all networks together."""
        return sum(self.networks.values())


def make_plan(config: Config, ranks: int = 1) -> Plan:
    """The plan of a run over `ranks` processes.

    Raises:
        ValueError: `ranks` is less than 1.
    """
    if ranks < 1:
        raise ValueError(f"ranks = {ranks} must be at least 1")
    train = config.train
    share = share_of_work(config, ranks)
    network = network_costs(config)
    optimizer = optimizer_costs(engine_costs(config, network))
    memory = memory_estimate(config, optimizer, share)
    evaluated = train.trajectories * sampling_steps(config) * STAGES[config.sampler.scheme]
    sampling = len(network.names) * evaluated * network.drift_multiply_adds()
    return Plan(
        ranks=ranks,
        networks=dict.fromkeys(network.names, network.parameters()),
        tensor=tensor_plan(config, network, share),
        trajectories_per_rank=share.trajectories,
        points_per_rank=share.points,
        network_evaluations=len(network.names) * (evaluated + train.points),
        multiply_adds=sampling + optimizer.multiply_adds(train.points),
        memory=memory,
        files=_files(config, memory, optimizer),
        warnings=_warnings(config, network, share),
    )


def _files(config: Config, memory: MemoryEstimate, optimizer: OptimizerCosts) -> tuple[PlannedFile, ...]:
    parameters, size = optimizer.parameters, optimizer.engine.size
    keep = config.output.keep
    files = [
        PlannedFile("input.toml", "the input as given"),
        PlannedFile("resolved.toml", "the input with every default"),
        PlannedFile("log.jsonl", "progress, one line per logged epoch"),
        PlannedFile(
            "checkpoints/ckpt-NNNNNN.h5",
            f"state for `dsmsim resume`, every {config.output.checkpoint_every}, the last {keep} are kept",
            (parameters + optimizer.remembered()) * size,
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


def _warnings(config: Config, network: NetworkCosts, share: Share) -> tuple[str, ...]:
    warnings, ranks, blocks = [], share.ranks, share.blocks
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
    tensor = config.network.tensor
    # ranks that are found may begin too large
    fixed = tensor is not None and not tensor.adaptive
    if fixed and network.parameters() >= network.parameters(dense=True):
        warnings.append("the decomposed layers have no fewer parameters than dense ones; use a smaller rank")
    return tuple(warnings)
