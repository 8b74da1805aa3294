"""Make the trained networks that tests/training/test_sorted_is_flagged.py reads (2 ranks, 3 minutes each).

    python tools/train_networks_for_tests.py

Three interacting bosons, once with the published sorted network and once with a plain MLP of the same size,
budget and seed. Only input, networks and loss history are kept.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from dsmsim.store import read_results, write_results

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
INPUT = """
[system]
particles = 3
hbar = 0.1
[system.trap]
kind = "harmonic"
omega = 1.0
[system.interaction]
kind = "gaussian"
g = 1.0
s2 = 0.1
[time]
end = 1.0
steps = 32
[network]
kind = "{kind}"
width = 40
[train]
epochs = 1200
[compare]
with = []
"""


def keep(results: Path, kind: str) -> None:
    """Copy what the test needs of one run into tests/data."""
    stored = read_results(results)
    groups = {name: stored.results[name] for name in ("model/u", "model/v", "training")}
    attributes = {"provenance": {"resolved_input": stored.attributes["provenance"]["resolved_input"]}}
    write_results(DATA / f"three_bosons_{kind}.h5", groups, attributes)


def main() -> None:
    for kind in ("sorted", "mlp"):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            (place / "input.toml").write_text(INPUT.format(kind=kind))
            command = ["mpirun", "-n", "2", "dsmsim", "run", str(place / "input.toml"), "--out"]
            subprocess.run([*command, str(place / "run")], check=True)
            keep(place / "run" / "results.h5", kind)


if __name__ == "__main__":
    main()
