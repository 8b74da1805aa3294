"""Methods as another package would install them: found through entry points on the path, saying nothing true.

The results are constants, so that a test of who is called when needs no physics. Every call leaves a line.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_numbers = itertools.count()

MODULE = """
import json, os
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from dsmsim.errors import ConfigError
from dsmsim.store import provenance, write_results

HERE = Path(__file__).parent
SETTINGS = json.loads((HERE / "settings.json").read_text())


def _log(call):
    with (HERE / "calls.log").open("a") as file:
        cores = len(os.sched_getaffinity(0))
        print(call, os.environ.get("OMP_NUM_THREADS"), cores, os.environ.get("PMI_RANK", 0), file=file)


def predict(config):
    _log("predict")
    if SETTINGS["refuses"]:
        raise ConfigError(SETTINGS["refuses"], key="system.particles")
    return SimpleNamespace(
        method="toy, order 1",
        points="7 points",
        memory=SETTINGS["memory"],
        seconds=SETTINGS["seconds"],
        notes=("A toy says nothing true.",),
    )


def solve(config, out, *, progress PARAMETERS):
    _log("solve")
    if SETTINGS["takes_world"] and world is not None:
        if SETTINGS["fails"]:
            raise world.agreed(ConfigError(SETTINGS["fails"]))
        world.barrier()
        progress(f"rank {world.rank} of {world.size}")
        if world.rank:
            return
    if SETTINGS["fails"]:
        raise ConfigError(SETTINGS["fails"])
    if SETTINGS["is_stopped"]:
        os.kill(os.getpid(), SETTINGS["is_stopped"])
    progress("7 points: change 0.5")
    times = np.asarray(config.time.save_times)
    shape = (len(times), config.system.particles, config.system.dimensions)
    x = np.linspace(-4.0, 4.0, 65)
    density = np.tile(np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi), (len(times), 1))
    how = {"method": "toy, order 1", "error_estimate": 0.5, "tolerance": 0.1}
    how |= {"converged": SETTINGS["converged"], "warning": "" if SETTINGS["converged"] else "it is a toy"}
    write_results(
        out / "results.h5",
        {
            "observables": {"time": times, "mean": np.zeros(shape), "variance": np.ones(shape)},
            "density": {"time": times, "x": x, "density": density},
        },
        {"observables": how, "density": how, "provenance": provenance(config)},
    )
"""

SETTINGS = {
    "memory": 1000,
    "seconds": 0.5,
    "refuses": "",  # the message of a ConfigError of predict
    "fails": "",  # the same of solve
    "is_stopped": 0,  # the number of a signal that arrives while solve works
    "converged": True,
    "takes_world": False,  # whether solve has that parameter
}


class Plugin:
    """A method that was put into a directory of its own; the directory must be on the path."""

    def __init__(self, directory: Path, name: str = "toy", **settings: Any) -> None:
        self.directory, self.name = directory, name
        directory.mkdir()
        module = f"toy_method_{next(_numbers)}"
        chosen = SETTINGS | settings
        parameters = ", world=None" if chosen["takes_world"] else ""
        (directory / f"{module}.py").write_text(MODULE.replace(" PARAMETERS", parameters))
        (directory / "settings.json").write_text(json.dumps(chosen))
        information = directory / f"{module}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        groups = {"dsmsim.methods": "solve", "dsmsim.predictions": "predict"}
        lines = [f"[{group}]\n{name} = {module}:{function}\n" for group, function in groups.items()]
        (information / "entry_points.txt").write_text("\n".join(lines))

    def calls(self) -> list[str]:
        """What was called, in order."""
        return [line.split()[0] for line in self._log()]

    def resources(self) -> Mapping[str, list[str]]:
        """OMP_NUM_THREADS, number of cores and rank at the last call of each function."""
        return {line.split()[0]: line.split()[1:] for line in self._log()}

    def _log(self) -> list[str]:
        log = self.directory / "calls.log"
        return log.read_text().splitlines() if log.exists() else []
