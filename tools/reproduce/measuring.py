"""One measurement in a process of its own: measurement.h5 with its columns and where they come from."""

from __future__ import annotations

import json
import platform
import resource
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import cast

import torch
from numpy.typing import ArrayLike

from tools.reproduce.columns import write_columns
from tools.reproduce.found import MEASUREMENT
from tools.reproduce.task import Task


@dataclass(frozen=True)
class Columns:
    """What a measurement returns.

    Attributes:
        values: arrays by name, of any shape; words as lists of str.
        units: by name; "" or nothing for pure numbers.
    """

    values: Mapping[str, ArrayLike]
    units: Mapping[str, str] = field(default_factory=dict)


def measure(task: Task, directory: Path) -> None:
    """Call the task's function on one thread and keep what it returns."""
    torch.set_num_threads(1)
    module, _, name = task.measurement.partition(":")
    function = cast(
        Callable[..., Columns], getattr(import_module(f"tools.reproduce.measurements.{module}"), name)
    )
    began = time.time()
    columns = function(directory, **task.settings)
    attributes = {
        "measurement": task.measurement,
        "settings": json.dumps(dict(task.settings)),
        "cpu_seconds": cpu_seconds(),
        "wall_seconds": time.time() - began,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        **{f"{package}_version": metadata.version(package) for package in ("dsmsim", "torch", "numpy")},
    }
    write_columns(directory / MEASUREMENT, columns.values, attributes, columns.units)


def cpu_seconds() -> float:
    """CPU seconds of this process and of those it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
