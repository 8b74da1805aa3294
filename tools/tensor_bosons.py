"""Error against parameters: tensor networks and narrow dense ones, trained on two and five bosons.

    OMP_NUM_THREADS=1 python tools/tensor_bosons.py --jobs 2 --seeds 3        # about 50 min of two cores
    python tools/tensor_bosons.py --family functional --case ten              # a part of it
    python tools/tensor_bosons.py --print                                     # the table of what is there

Families:

    potential    the default network, Gauss-Newton: hidden layers of width 36 as tensors, against dense ones
                 of widths with as many parameters
    velocity     two velocity networks, SOAP: hidden layers of width 64, against dense ones
    functional   the tensor train over the particles, against the pair network, and against velocity networks
                 of as many parameters and, trained for as many seconds, of the default width

Every line is the median over the seeds, with the smallest and largest: Var x_1 and the density against the
exact solution (`dsmsim baseline exact`), each averaged over 21 times, and processor seconds of training.
Runs go to `--out` as they end, one line of JSON each; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

INPUTS = Path(__file__).resolve().parents[1] / "inputs"
CASES = {"two": "two_bosons", "five": "five_bosons", "ten": "two_bosons"}
SAMPLES, TIMES = 20480, 21
Job = dict[str, Any]


def networks(family: str, case: str) -> Iterator[tuple[str, Job]]:
    """Name and changed tables of every network of a family."""
    if family == "potential":
        for width in (12, 14, 16, 19):
            yield f"dense {width}", {"network": {"width": width}}
        for form, ranks in {"tt": (1, 2, 4), "tr": (1, 2), "lowrank": (1, 2, 4)}.items():
            for rank in ranks:
                tensor: Job = {"format": form, "rank": rank}
                yield f"{form} {rank} of 36", {"network": {"width": 36, "tensor": tensor}}
        for rank in (2, 4):
            ring = {"kind": "functional_tt", "bond_rank": rank}
            yield f"functional {rank}", {"network": ring}
        yield "dense 36", {"network": {"width": 36}}
    elif family == "velocity":
        for width in (16, 20, 26, 64):
            yield f"dense {width}", {"network": {"kind": "mlp", "width": width}}
        for form, ranks in {"tt": (1, 2, 4), "tr": (1, 2), "lowrank": (1, 2, 4)}.items():
            for rank in ranks:
                tensor = {"format": form, "rank": rank}
                yield f"{form} {rank} of 64", {"network": {"kind": "mlp", "width": 64, "tensor": tensor}}
    else:
        for rank in (2, 4, 6):
            yield f"functional {rank}", {"network": {"kind": "functional_tt", "bond_rank": rank}}
        yield "pair network", {"network": {"kind": "potential"}}
        equal = {"two": 18, "five": 15, "ten": 11}[case]
        yield f"mlp {equal}", {"network": {"kind": "mlp", "width": equal}}
        yield "mlp 48, equal time", {"network": {"kind": "mlp"}, "equal_time": True}


def input_of(case: str, changes: Job, seed: int) -> Job:
    """The input of a run."""
    data = tomllib.loads((INPUTS / f"{CASES[case]}.toml").read_text())
    data |= {"seed": seed, "compare": {"with": []}}
    if case == "ten":
        data["system"]["particles"] = 10
        data["system"]["interaction"]["g"] = 0.1
    data["evaluation"] = {"nu": 0.0, "draws": "sobol", "samples": SAMPLES}
    data["time"]["save"] = TIMES
    if changes["network"].get("kind") == "mlp":
        data.pop("train", None)  # settings of the input belong to its own network
    for table, values in changes.items():
        if table != "equal_time":
            data[table] = data.get(table, {}) | values
    return data


def run(job: Job) -> Job:
    """Train, measure, compare: what one line of the output holds."""
    from dsmsim.analysis import compare
    from dsmsim.config import parse_config
    from dsmsim.parallel import World
    from dsmsim.training.evaluate import evaluate

    data = input_of(job["case"], job["changes"], job["seed"])
    if job["changes"].get("equal_time"):
        data["train"] = {"epochs": 10, "warmup": 5}
        data["train"] = {"epochs": max(60, int(job["seconds_given"] / _train(data)[1] * 10))}
    state, seconds = _train(data)
    config = parse_config(data)
    sums = evaluate(config, state, World(), lambda done, total: None).sums
    errors = compare({"observables": sums.observables(), "density": sums.density()}, job["exact"])
    return {key: job[key] for key in ("family", "case", "name", "seed")} | {
        "parameters": sum(p.numel() for p in state.fields.parameters()),
        "seconds": seconds,
        "loss": state.smoothed_loss,
        "variance": float(errors["variance_error"].mean()),
        "density": float(errors["density_l1"].mean()),
        "density_max": float(errors["density_l1"].max()),
        "density_floor": float(errors["density_l1_floor"].mean()),
    }


def _train(data: Job) -> tuple[Any, float]:
    import torch

    from dsmsim.config import parse_config
    from dsmsim.parallel import StopRequest, World
    from dsmsim.training.loop import Hooks, train
    from dsmsim.training.state import new_state

    torch.set_num_threads(1)
    config = parse_config(data)
    state = new_state(config, World())
    began = time.process_time()
    train(
        config, state, World(), StopRequest(None), Hooks(lambda e: None, lambda k, loss: None, lambda: None)
    )
    return state, time.process_time() - began


def reference(case: str) -> dict[str, Any]:
    """Observables and density of the exact solution."""
    from baselines.exact import evolve
    from dsmsim.config import parse_config

    groups = evolve(parse_config(input_of(case, {"network": {}}, 1))).groups
    return {name: dict(groups[name]) for name in ("observables", "density")}


def table(records: list[Job]) -> str:
    """Markdown, one table for each family and case."""
    lines: list[str] = []
    for family, case in dict.fromkeys((r["family"], r["case"]) for r in records):
        lines += [f"\n**{family}, {case} bosons**\n", "| network | parameters | Var x_1 % | density L1 | s |"]
        lines.append("|---" * 5 + "|")
        own = [r for r in records if (r["family"], r["case"]) == (family, case)]
        for name in dict.fromkeys(r["name"] for r in sorted(own, key=lambda r: r["parameters"])):
            runs = [r for r in own if r["name"] == name]
            cells = [spread([100.0 * r["variance"] for r in runs]), spread([r["density"] for r in runs])]
            seconds = statistics.median(r["seconds"] for r in runs)
            lines.append(f"| {name} | {runs[0]['parameters']} | {' | '.join(cells)} | {seconds:.0f} |")
        lines.append(f"\ndensity floor {own[0]['density_floor']:.4f}; seeds: {len({r['seed'] for r in own})}")
    return "\n".join(lines)


def spread(numbers: list[float]) -> str:
    """Median, smallest and largest."""
    return f"{statistics.median(numbers):.3g} ({min(numbers):.3g}-{max(numbers):.3g})"


def main() -> None:
    """Read the command line, run what is missing, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    families = ("potential", "velocity", "functional")
    parser.add_argument("--family", choices=families, action="append")
    parser.add_argument("--case", choices=tuple(CASES), action="append")
    parser.add_argument("--network", action="append", help="names of the table; absent: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--out", type=Path, default=Path("runs/tensor_bosons.jsonl"))
    parser.add_argument("--print", action="store_true", help="run nothing")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    if not args.print:
        for family in args.family or families:
            for case in args.case or (CASES if family == "functional" else ("two", "five")):
                done += _missing(family, case, args, done)
    print(table(done))


def _missing(family: str, case: str, args: argparse.Namespace, done: list[Job]) -> list[Job]:
    known = {(r["family"], r["case"], r["name"], r["seed"]) for r in done}
    jobs = [
        {"family": family, "case": case, "name": name, "changes": changes, "seed": seed}
        for seed in range(1, args.seeds + 1)
        for name, changes in networks(family, case)
        if (family, case, name, seed) not in known and name in (args.network or [name])
    ]
    if not jobs:
        return []
    exact = reference(case)
    # what may take as long as others have taken comes last
    jobs.sort(key=lambda job: bool(job["changes"].get("equal_time")))
    found: list[Job] = []
    with multiprocessing.get_context("fork").Pool(args.jobs, maxtasksperchild=1) as pool:
        for timed in (False, True):
            part = [job for job in jobs if bool(job["changes"].get("equal_time")) == timed]
            given = [r["seconds"] for r in done + found if r["case"] == case and r["name"] == "functional 4"]
            for job in part:
                job |= {"exact": exact, "seconds_given": statistics.median(given) if given else None}
            for record in pool.imap_unordered(run, part):
                found.append(record)
                with args.out.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                print(f"{family} {case} {record['name']} seed {record['seed']}: ", end="", flush=True)
                print(f"Var {record['variance']:.2e}, {record['seconds']:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    main()
