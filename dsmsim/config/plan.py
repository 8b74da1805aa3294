"""What a run will cost, known before it starts: parameters, memory, arithmetic, files.

Parameter counts are exact. Memory is predicted from the buffers of networks, engines and optimisers on a CPU.
Arithmetic counts products of matrices; rebuilding decomposed weights from their cores is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsmsim.config.engine_costs import RESIDUAL_CHUNK, engine_costs
from dsmsim.config.march_costs import MarchPlan, march_plan
from dsmsim.config.march_table import MarchTable
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
    "MarchPlan",
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
        networks: exact numbers of trainable parameters by the names of the networks; empty where only
            marching moves them, and what else stands here of an epoch is 0.
        march: what marching costs, None where train.mode is another.
        tensor: the decomposed layers, None where the layers are dense or no network is asked for.
        trajectories_per_rank, points_per_rank: on the most loaded rank.
        network_evaluations: evaluations of one network at one point, per epoch, over all ranks.
        multiply_adds: per epoch, over all ranks.
        memory: estimate for the most loaded rank.
        files: what is written, relative to the run's directory.
        warnings: what is allowed but probably not meant.
    """

    ranks: int
    networks: dict[str, int]
    march: MarchPlan | None
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
    march = march_plan(config, ranks) if train.mode == "march" else None
    trains = march is None or train.polish
    share = share_of_work(config, ranks)
    network = network_costs(config)
    optimizer = optimizer_costs(engine_costs(config, network))
    memory = memory_estimate(config, optimizer, share, march)
    evaluated = train.trajectories * sampling_steps(config) * STAGES[config.sampler.scheme]
    sampling = len(network.names) * evaluated * network.drift_multiply_adds()
    return Plan(
        ranks=ranks,
        networks=dict.fromkeys(network.names, network.parameters()) if trains else {},
        march=march,
        tensor=tensor_plan(config, network, share) if _uses_network(config) else None,
        trajectories_per_rank=share.trajectories if trains else 0,
        points_per_rank=share.points if trains else 0,
        network_evaluations=len(network.names) * (evaluated + train.points) if trains else 0,
        multiply_adds=sampling + optimizer.multiply_adds(train.points) if trains else 0,
        memory=memory,
        files=_files(config, memory, optimizer, march),
        warnings=_warnings(config, network, share),
    )


def _uses_network(config: Config) -> bool:
    """Whether [network] is read: a cluster ansatz that is not polished goes without one."""
    train = config.train
    return train.mode == "global" or train.polish or config.march.ansatz == "network"


def _files(
    config: Config, memory: MemoryEstimate, optimizer: OptimizerCosts, march: MarchPlan | None
) -> tuple[PlannedFile, ...]:
    trains = march is None or config.train.polish
    parameters, size = optimizer.parameters if trains else 0, optimizer.engine.size
    state = (parameters + optimizer.remembered()) * size if trains else 0
    keep, logged = config.output.keep, "logged epoch" if trains else "step"
    files = [
        PlannedFile("input.toml", "the input as given"),
        PlannedFile("resolved.toml", "the input with every default"),
        PlannedFile("log.jsonl", f"progress, one line per {logged}"),
        PlannedFile(
            "checkpoints/ckpt-NNNNNN.h5",
            f"state for `dsmsim resume`, every {config.output.checkpoint_every}, the last {keep} are kept",
            state + (0 if march is None else march.kept),
        ),
        PlannedFile(
            "results.h5",
            "observables, densities, " + ("networks" if trains else "parameters"),
            memory.results + parameters * size,
        ),
        PlannedFile("results.xdmf", "by which ParaView reads results.h5"),
    ]
    named = config.compare.with_ if isinstance(config.compare.with_, list) else []
    for name in named:
        if name != "closed_form":
            files.append(PlannedFile(f"references/{name}/results.h5", "the same of a reference"))
    if config.output.figures:
        files.append(PlannedFile("figures/", "figures, where matplotlib is installed"))
    if config.output.report:
        files.append(PlannedFile("report.html", "all of it on one page, where plotly is installed"))
    return tuple(files)


def _warnings(config: Config, network: NetworkCosts, share: Share) -> tuple[str, ...]:
    warnings, train, march = [], config.train, config.march
    if config.network.kind == "sorted":
        warnings.append(
            'network.kind = "sorted" converges to wrong answers with a small loss; use it only to reproduce '
            'the publication, and kind = "equivariant" otherwise'
        )
    if train.mode == "global" and march != MarchTable():
        warnings.append('[march] is not read: train.mode = "global"; write mode = "march" to march in time')
    if train.mode == "march":
        warnings += _idle(share.ranks, march.walkers // march.block, "march.walkers / march.block")
    if train.mode == "global" or train.polish:
        warnings += _idle(share.ranks, share.blocks, "train.trajectories / train.block")
    tensor = config.network.tensor if _uses_network(config) else None
    # ranks that are found may begin too large
    fixed = tensor is not None and not tensor.adaptive
    if fixed and network.parameters() >= network.parameters(dense=True):
        warnings.append("the decomposed layers have no fewer parameters than dense ones; use a smaller rank")
    return tuple(warnings)


def _idle(ranks: int, blocks: int, made_by: str) -> Iterator[str]:
    """What ranks get no share, or an uneven one, of so many blocks."""
    if blocks < ranks:
        yield (
            f"{ranks - blocks} of {ranks} ranks have nothing to do: {made_by} makes {blocks} blocks; use "
            f"fewer ranks, or a smaller {made_by.rpartition(' ')[2]}"
        )
    elif blocks % ranks:
        yield f"the load is uneven: {blocks} blocks ({made_by}) over {ranks} ranks"
