"""What is asked of Slurm, and whether it suits the inputs: refused now rather than after hours in a queue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dsmsim.config import Config, make_plan
from dsmsim.errors import ConfigError

LAUNCHERS = ("srun", "mpirun")
# most seconds that sbatch takes for the time of a signal, and how much earlier it may come
MOST_LEAD, EARLY = 65535, 60
_WORD = re.compile(r"[\w.,:@%+-]+", re.ASCII)
# options of sbatch that ask for GPUs
_GPU_OPTIONS = re.compile(r"--(gpus|gres)\b")
# options of sbatch that `BatchRequest` has itself
_OWN = {
    *("nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "time", "partition", "account", "qos"),
    *("array", "job-name", "output", "open-mode", "signal", "requeue", "no-requeue", "dependency"),
    *("chdir", "ntasks"),
}


@dataclass(frozen=True)
class BatchRequest:
    """What a job asks of Slurm.

    Attributes:
        nodes: number of nodes.
        ntasks_per_node: ranks on each node; None: one for each GPU, or one.
        gpus_per_node: GPUs on each node, 0 for none.
        cpus_per_task: cores, and so threads, of each rank.
        time: the job's time limit as Slurm writes it, such as 4:00:00 or 1-12.
        partition, account, qos: as the cluster calls them; None leaves them to it.
        options: further options of sbatch, each as `--name=value`.
        launcher: what starts the ranks inside the job, one of `LAUNCHERS`.
        chain: jobs submitted one behind the other; 1 for one alone.
        requeue: whether the job puts itself back into the queue when it was stopped by its time limit.
        setup: shell commands before the ranks are started, such as `module load cuda`.
    """

    nodes: int = 1
    ntasks_per_node: int | None = None
    gpus_per_node: int = 0
    cpus_per_task: int = 1
    time: str = "4:00:00"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    options: tuple[str, ...] = ()
    launcher: str = "srun"
    chain: int = 1
    requeue: bool = False
    setup: tuple[str, ...] = ()

    @property
    def tasks(self) -> int:
        """Ranks on each node."""
        return self.ntasks_per_node or self.gpus_per_node or 1

    @property
    def ranks(self) -> int:
        """Ranks on all nodes."""
        return self.nodes * self.tasks


def parse_slurm_time(text: str) -> int:
    """Seconds of one of Slurm's forms M, M:S, H:M:S, D-H, D-H:M and D-H:M:S.

    Raises:
        ConfigError: the text has another form, or means no time at all.
    """
    days, dash, clock = text.rpartition("-")
    parts = clock.split(":")
    if len(parts) <= 3 and all(part.isascii() and part.isdecimal() for part in [*parts, days or "0"]):
        # what is missing: after days minutes and seconds, otherwise hours, and seconds after minutes alone
        padded = [*parts, "0", "0"] if dash else ["0"] * (len(parts) < 3) + parts + ["0"]
        hours, minutes, seconds = map(int, padded[:3])
        total = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
        if total > 0 and bool(days) == bool(dash):
            return total
    raise ConfigError(
        f"--time = {text!r}: must be a time as Slurm writes it and more than zero; "
        "write hours:minutes:seconds such as 4:00:00, days-hours such as 1-12, or minutes such as 30",
        key="--time",
    )


def check_request(request: BatchRequest, *, several: bool) -> None:
    """Refuse a request that Slurm would refuse, or that contradicts itself.

    Args:
        several: whether there are several inputs, that is a job array.

    Raises:
        ConfigError: it names the option, its value, the rule and what to write instead.
    """
    parse_slurm_time(request.time)
    if request.launcher not in LAUNCHERS:
        raise _refused("launcher", request.launcher, "must be srun or mpirun", "write --launcher srun")
    for name in ("partition", "account", "qos"):
        value = getattr(request, name)
        if value is not None and _WORD.fullmatch(value) is None:
            fix = f"write the name of one, as `sinfo` or your cluster's pages spell it: --{name} NAME"
            raise _refused(name, value, "must be a name without spaces", fix)
    for option in request.options:
        _check_option(option)
    if request.gpus_per_node and request.tasks > request.gpus_per_node:
        raise _refused(
            "ntasks-per-node",
            request.tasks,
            f"every rank needs a GPU of its own, and --gpus-per-node = {request.gpus_per_node}",
            f"write --ntasks-per-node {request.gpus_per_node}, or leave it out",
        )
    if request.chain > 1 and request.requeue:
        raise _refused(
            "chain",
            request.chain,
            "a job that requeues itself needs no successors",
            "leave out --chain, or --requeue",
        )
    if request.chain > 1 and several:
        raise _refused(
            "chain",
            request.chain,
            "the tasks of an array do not end together",
            "use --requeue: every task puts itself back into the queue",
        )


def warnings(request: BatchRequest, configs: Sequence[tuple[str, Config]]) -> list[str]:
    """What the plans of the inputs on so many ranks say is probably not meant, such as ranks without work."""
    return [
        f"{name}: {warning}"
        for name, config in configs
        for warning in make_plan(config, request.ranks).warnings
    ]


def check_inputs(request: BatchRequest, configs: Sequence[tuple[str, Config]]) -> int:
    """Refuse a request that does not suit an input.

    Args:
        configs: name and content of every input.

    Returns:
        The seconds before the time limit at which the runs must begin to save: the largest `run.margin`.

    Raises:
        ConfigError: it names option or key, value, rule and fix.
    """
    for name, config in configs:
        _check_gpus(request, name, config)
    lead = max(config.run.margin_seconds for _, config in configs)
    if lead + EARLY >= parse_slurm_time(request.time):
        raise _refused(
            "time",
            request.time,
            f"leaves the run no time: run.margin keeps the last {lead:g} s for saving, and Slurm may say so "
            f"{EARLY} s earlier",
            "ask for more time, or write a shorter run.margin into the input",
        )
    return min(MOST_LEAD, max(1, round(lead)))


def _check_gpus(request: BatchRequest, name: str, config: Config) -> None:
    gpus = request.gpus_per_node > 0 or any(map(_GPU_OPTIONS.match, request.options))
    if gpus and config.run.device == "cpu":
        raise _refused(
            "gpus-per-node",
            request.gpus_per_node,
            f'{name} says run.device = "cpu", and would not use them',
            'leave out --gpus-per-node, or write run.device = "auto"',
        )
    if not gpus and config.run.device == "cuda":
        raise ConfigError(
            f'run.device = "cuda" in {name}: needs GPUs, and none are asked for; '
            "write --gpus-per-node with the number on each node",
            key="run.device",
        )


def _check_option(option: str) -> None:
    name = option.removeprefix("--").partition("=")[0]
    if not option.startswith("--") or not option.isprintable() or not name or " " in name:
        raise _refused("sbatch", option, "must be one option of sbatch", "write it as --name=value")
    if name in _OWN:
        raise _refused(
            "sbatch", option, "is decided by an option of its own", "see `dsmsim slurm --help` for it"
        )


def _refused(name: str, value: object, rule: str, fix: str) -> ConfigError:
    shown = value if isinstance(value, int) else repr(value)
    return ConfigError(f"--{name} = {shown}: {rule}; {fix}", key=f"--{name}")
