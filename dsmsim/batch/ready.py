"""The scripts in `slurm/`: for inputs that are named when they are submitted.

`python -m dsmsim.batch.ready DIRECTORY` writes them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dsmsim.batch.request import BatchRequest
from dsmsim.batch.script import Work, render
from dsmsim.batch.submit import write_script

READY: dict[str, BatchRequest] = {
    "one_node": BatchRequest(ntasks_per_node=2),
    "many_nodes": BatchRequest(nodes=2, ntasks_per_node=2),
    "many_nodes_mpirun": BatchRequest(nodes=2, ntasks_per_node=2, launcher="mpirun"),
    "gpu": BatchRequest(gpus_per_node=4, cpus_per_task=4),
    "array": BatchRequest(),
    "chain": BatchRequest(ntasks_per_node=2, chain=3),
    "requeue": BatchRequest(ntasks_per_node=2, requeue=True),
}


def ready_script(name: str) -> str:
    """The text of `slurm/<name>.sh`."""
    work = Work(f"dsmsim-{name}", f"slurm/{name}.sh", array=name == "array")
    return render(READY[name], work)


def main(directory: Path) -> None:
    """Write all of them into a directory, over those that are there."""
    for name in READY:
        write_script(directory / f"{name}.sh", ready_script(name))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
