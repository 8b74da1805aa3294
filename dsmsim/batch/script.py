"""The text of a batch script, from what is asked of Slurm and what is to be run.

Every script does the same: it starts `dsmsim run INPUT --resume`, which begins the run or continues it, lets
it save when the time is nearly up, and ends with its exit code: 0 done, 75 stopped on purpose and to be run
again. A chain is submitted by the script itself, when it is started by bash instead of sbatch. The scripts
in `slurm/` are made here too, for inputs that are named when they are submitted.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from dsmsim.batch.request import BatchRequest

STOPPED = 75
# a run that never gets anywhere must not come back for ever
MOST_RESTARTS = 100


@dataclass(frozen=True)
class Work:
    """What a job is to run.

    Attributes:
        name: of the job.
        script: path of the script, for the commands in its comments.
        inputs: input files as seen from `directory`; empty: named when the script is submitted.
        array: whether every input is a task of a job array.
        settings: `KEY=VALUE` options that change the inputs.
        out: directory of the run, None for the default.
        directory: where the job works; None: where it is submitted.
        logs: directory of the logs.
        programs: directory with the programs of the Python environment; None: `.venv`, or what is active.
        lead: seconds before the time limit at which Slurm sends SIGUSR1.
    """

    name: str
    script: str
    inputs: tuple[str, ...] = ()
    array: bool = False
    settings: tuple[str, ...] = ()
    out: str | None = None
    directory: str | None = None
    logs: str = "."
    programs: str | None = None
    lead: int = 120


def job_name(text: str) -> str:
    """`text` with only the characters that are safe in names of jobs and files."""
    return re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII).strip("._") or "dsmsim"


def render(request: BatchRequest, work: Work) -> str:
    """The batch script; both arguments have passed the checks of `dsmsim.batch.request`."""
    blocks = [
        ["#!/usr/bin/env bash", *_about(request, work), *_directives(request, work), "set -euo pipefail"],
        _submission(request, work) if request.chain > 1 else [],
        _input(request, work),
        _environment(request, work),
        _launch(request, work),
        _wait(),
        _requeue() if request.requeue else [],
        ['exit "$code"'],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _about(request: BatchRequest, work: Work) -> list[str]:
    nodes = "one node" if request.nodes == 1 else f"{request.nodes} nodes"
    ranks = "one rank" if request.tasks == 1 else f"{request.tasks} ranks"
    each = " on each" if request.nodes > 1 else ""
    gpus = ", a GPU each" if request.gpus_per_node else ""
    again = "a run that was stopped is continued when this is submitted again"
    if request.requeue:
        again = "stopped by its time limit, it saves and goes back into the queue, until the run is done"
    if request.chain > 1:
        again = f"{request.chain} jobs, each of which continues where the one before was stopped"
    return [
        f"# {_what(work)}, on {nodes}: {ranks}{each}{gpus}, started by {request.launcher};",
        f"# {again}.",
        f"#   {_usage(request, work)}",
        "# docs/clusters.md explains what stands here.",
    ]


def _what(work: Work) -> str:
    if work.array:
        return "Several inputs, each a task of a job array"
    return " ".join(work.inputs[0].split()) if work.inputs else "An input"


def _usage(request: BatchRequest, work: Work) -> str:
    """How the script is submitted."""
    script = shlex.quote(work.script)
    start = "bash" if request.chain > 1 else "sbatch"
    if work.inputs:
        return f"{start} {script}"
    return (
        f"sbatch --array=0-2 {script} A.toml B.toml C.toml" if work.array else f"{start} {script} INPUT.toml"
    )


def _directives(request: BatchRequest, work: Work) -> list[str]:
    last = len(work.inputs) - 1
    number = "%A_%a" if work.array else "%j"
    options = {
        "job-name": work.name,
        "chdir": work.directory,
        "array": f"0-{last}" if work.array and work.inputs else None,
        "nodes": request.nodes,
        "ntasks-per-node": request.tasks,
        "gpus-per-node": request.gpus_per_node or None,
        "cpus-per-task": request.cpus_per_task,
        "time": request.time,
        "partition": request.partition,
        "account": request.account,
        "qos": request.qos,
        # to this shell alone, which passes it on: a launcher's helpers would die of it
        "signal": f"B:USR1@{work.lead}",
        "output": f"{work.logs}/%x-{number}.log" if work.logs != "." else f"%x-{number}.log",
        "open-mode": "append",
    }
    lines = [f"#SBATCH --{name}={_quoted(value)}" for name, value in options.items() if value is not None]
    if request.requeue:
        lines.append("#SBATCH --requeue")
    return lines + [f"#SBATCH {option}" for option in request.options]


def _quoted(value: object) -> str:
    """A value in a line of #SBATCH, where only double quotes protect spaces."""
    text = str(value)
    return f'"{text}"' if re.search(r"[\s'#]", text) else text


def _submission(request: BatchRequest, work: Work) -> list[str]:
    """A job of the chain waits until all before it have failed, and is dropped once one of them has not."""
    return [
        "# Outside a job, submit the chain. A job begins when all before it have ended unfinished.",
        'if [ "${ENVIRONMENT:-}" != BATCH ]; then',
        *([] if work.inputs else [f'    : "${{1:?usage: {_usage(request, work)}}}"']),
        "    before=",
        f"    for _ in $(seq {request.chain}); do",
        "        after=${before:+--dependency=afternotok$before}",
        '        job=$(sbatch --parsable --kill-on-invalid-dep=yes $after "$0" "$@")',
        '        echo "${job%%;*}"',
        "        before=$before:${job%%;*}",
        "    done",
        "    exit",
        "fi",
    ]


def _input(request: BatchRequest, work: Work) -> list[str]:
    if not work.array:
        named = f"${{1:?usage: {_usage(request, work)}}}"
        return [f"input={shlex.quote(work.inputs[0]) if work.inputs else named}"]
    inputs = ["inputs=(", *(f"    {shlex.quote(name)}" for name in work.inputs), ")"]
    task = f"${{SLURM_ARRAY_TASK_ID:?usage: {_usage(request, work)}}}"
    return [
        *(inputs if work.inputs else ['inputs=("$@")']),
        f"task={task}",
        "input=${inputs[task]:?there is no input for task $task of the array}",
    ]


def _environment(request: BatchRequest, work: Work) -> list[str]:
    if work.programs is None:
        lines = ['if [ -d .venv ]; then export PATH="$PWD/.venv/bin:$PATH"; fi']
    else:
        lines = [f'export PATH={shlex.quote(work.programs)}:"$PATH"']
    lines += request.setup
    lines.append("export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1} OMP_WAIT_POLICY=passive")
    if request.launcher == "mpirun":
        # mpirun starts one helper per node through srun, which would bind it and all its ranks to one core
        lines.append(
            "export SLURM_CPU_BIND=none  # the helper of mpirun on a node may use all cores of the job"
        )
    return lines


def _launch(request: BatchRequest, work: Work) -> list[str]:
    run = 'dsmsim run "$input" --resume'
    run += "".join(f" --set {shlex.quote(option)}" for option in work.settings)
    if work.out is not None:
        run += f" --out {shlex.quote(work.out)}"
    if request.launcher == "mpirun":
        return [f'mpirun -n "$SLURM_NTASKS" {run} &', "child=$!"]
    return [
        'srun --export=ALL --mpi=none --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \\',
        f"    {run} &",
        "child=$!",
    ]


def _wait() -> list[str]:
    return [
        "# Slurm signals this shell, the launcher passes SIGUSR1 on to the ranks, and they save and stop.",
        "asked=''",
        "trap 'asked=yes interrupted=yes; kill -USR1 \"$child\" 2>/dev/null || true' USR1 TERM",
        "interrupted=yes",
        'while [ -n "$interrupted" ]; do',
        "    interrupted='' code=0",
        '    wait "$child" || code=$?',
        "done",
        "# A signal that comes before dsmsim listens, or after it has saved, ends it with another code.",
        f'if [ -n "$asked" ] && [ "$code" != 0 ]; then code={STOPPED}; fi',
    ]


def _requeue() -> list[str]:
    return [
        f"# {STOPPED}: stopped by the time limit, if the job is still RUNNING; it is not after scancel.",
        "job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}",
        f'if [ "$code" = {STOPPED} ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {MOST_RESTARTS} ] &&',
        '    [ "$(squeue --noheader --jobs "$job" --format %T)" = RUNNING ]; then',
        '    scontrol requeue "$job"',
        "fi",
    ]
