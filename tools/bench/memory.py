"""Memory of training and evaluation: what `dsmsim check` predicts, and what a process takes.

    python tools/bench/memory.py [--only WORDS] [--points 1024 4096 15104] [--quick]

Every case runs in a process of its own. A tiny run of the same kind comes first, so that everything is
loaded; what is resident then counts as the program. Printed are the peaks above it in training and in
evaluation, measured / predicted with the ratio, and the same for the whole process. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MEGABYTE = 1e6
EPOCHS = 2

Input = dict[str, Any]


def bosons(particles: int, points: int, **tables: Input) -> Input:
    """Interacting bosons in one dimension; further tables replace the keys they name."""
    data: Input = {
        "system": {
            "particles": particles,
            "hbar": 0.1,
            "trap": {"kind": "harmonic", "omega": 1.0},
            "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
        },
        "time": {"end": 1.0, "steps": 16, "save": 11},
        "network": {"kind": "mlp", "blocks": 1},
        "train": {
            "optimizer": "soap",
            "epochs": EPOCHS,
            "warmup": 1,
            "trajectories": 64,
            "block": 8,
            "points": points,
            "precision": "float32",
        },
        "evaluation": {"samples": 8000, "trials": 4, "draws": "independent"},
        "run": {"device": "cpu"},
    }
    for name, table in tables.items():
        data[name] = data[name] | table
    return data


def cases(points: list[int], quick: bool) -> Iterator[tuple[str, Input]]:
    """Name and input of every case."""
    widths = (64, 128) if quick else (16, 64, 128, 500)
    for count in points:
        for width in widths:
            yield f"mlp fused, width {width}, d 2", bosons(2, count, network={"width": width})
        for d in (5, 20):
            yield f"mlp fused, width 64, d {d}", bosons(d, count, network={"width": 64})
        tensor = {"width": 64, "tensor": {"rank": 8}}
        yield "mlp fused, tensor 64, d 2", bosons(2, count, network=tensor)
        for width, d in ((16, 2), (64, 2), (48, 5), (16, 20)):
            train = {"engine": "torch_func", "optimizer": "adam"}
            name = f"mlp torch_func, width {width}, d {d}"
            yield name, bosons(d, count, network={"width": width}, train=train)
        for width, d in ((32, 2), (32, 5)):
            network = {"kind": "equivariant", "width": width}
            yield f"equivariant, width {width}, d {d}", bosons(d, count, network=network)
        train = {"divergence": "hutchinson"}
        name = "mlp hutchinson, width 64, d 20"
        yield name, bosons(20, count, network={"width": 64}, train=train)
        for width, d in ((16, 2), (48, 2), (48, 5), (16, 20)):
            network = {"kind": "potential", "width": width}
            yield f"potential, width {width}, d {d}", bosons(d, count, network=network)
        if count <= 4096:
            train = {"optimizer": "gauss_newton"}
            network = {"kind": "potential", "width": 32}
            for d in (2, 5):
                name = f"potential gauss_newton, width 32, d {d}"
                yield name, bosons(d, count, network=network, train=train)
            if count <= 1024:
                name = "mlp gauss_newton, width 32, d 2"
                yield name, bosons(2, count, network={"width": 32}, train=train)
        name = "mlp fused lbfgs, width 128, d 2"
        yield name, bosons(2, count, network={"width": 128}, train={"optimizer": "lbfgs"})


def measure(data: Input) -> dict[str, int]:
    """Bytes of one case, from a process of its own: see `child`."""
    found = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps(data)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    result: dict[str, int] = json.loads(found.stdout.splitlines()[-1])
    return result


def child(data: Input) -> dict[str, int]:
    """Run one case here.

    Returns:
        `program`: resident after a tiny run; `training`, `evaluating`: peaks above it; `predicted_...`: the
        same by the plan.
    """
    from dsmsim.config import make_plan, parse_config

    config = parse_config(data, environment=False)
    _run(tiny(data))
    program = status_bytes("VmRSS")
    training, evaluating, optimizer = _run(data)
    plan = make_plan(config)
    memory, number = plan.memory, 4 if config.train.precision == "float32" else 8
    return {
        "program": program,
        "training": training - program,
        "evaluating": evaluating - program,
        "predicted_program": memory.program,
        "predicted_training": memory.training,
        # an evaluation by itself: the optimiser holds no more than at its start
        "predicted_evaluating": memory.evaluation + memory.results + number * plan.parameters + optimizer,
    }


def tiny(data: Input) -> Input:
    """The same kind of run with as little of everything as there can be."""
    small = copy.deepcopy(data)
    small["network"] = {key: value for key, value in data["network"].items() if key != "tensor"} | {
        "width": 8
    }
    block = small["train"]["block"]
    small["train"] |= {"trajectories": block, "points": block, "epochs": 2}
    small["evaluation"] |= {"samples": 40, "trials": 2}
    small["time"] |= {"save": 3, "steps": 4}
    return small


def _run(data: Input) -> tuple[int, int, int]:
    """Peaks of training and of evaluation, and what the optimiser holds before its first step, bytes."""
    from dsmsim.config import parse_config
    from dsmsim.parallel import StopRequest, World
    from dsmsim.training.evaluate import evaluate
    from dsmsim.training.loop import Hooks, train
    from dsmsim.training.state import new_state

    config, world = parse_config(data, environment=False), World()
    forget_peak()
    state = new_state(config, world)
    optimizer = sum(array.nbytes for array in state.optimizer.arrays().values())
    # first, because the C library does not return all that training has held
    evaluate(config, state, world, lambda done, total: None)
    evaluating = status_bytes("VmHWM")
    forget_peak()
    train(config, state, world, StopRequest(), Hooks(lambda e: None, lambda e, loss: None, lambda: None))
    return status_bytes("VmHWM"), evaluating, optimizer


def status_bytes(name: str) -> int:
    """Bytes of an entry of /proc/self/status."""
    found = re.search(rf"^{name}:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found.group(1))


def forget_peak() -> None:
    """Let VmHWM start at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--points", type=int, nargs="+", default=[1024, 4096, 15104])
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--quick", action="store_true", help="fewer widths")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        import torch

        torch.set_num_threads(1)
        print(json.dumps(child(json.loads(given.child))))
        return
    print(
        f"{'MB above the program':34} {'points':>6}   {'training':^24}   {'evaluation':^22}   whole process"
    )
    for name, data in cases(given.points, given.quick):
        if given.only in name:
            print(line(name, data["train"]["points"], measure(data)), flush=True)


def line(name: str, points: int, found: dict[str, int]) -> str:
    """One row of the table."""
    parts = [f"{name:34} {points:6}"]
    for phase in ("training", "evaluating"):
        measured, predicted = found[phase], found[f"predicted_{phase}"]
        ratio = measured / predicted
        parts.append(f"{measured / MEGABYTE:8.1f} / {predicted / MEGABYTE:7.1f} {ratio:5.2f}")
    peaks = (max(found[f"{p}training"], found[f"{p}evaluating"]) for p in ("", "predicted_"))
    measured, predicted = map(sum, zip(peaks, (found["program"], found["predicted_program"]), strict=True))
    parts.append(f"{measured / MEGABYTE:7.0f} / {predicted / MEGABYTE:6.0f} {measured / predicted:5.2f}")
    return "   ".join(parts)


if __name__ == "__main__":
    main()
