"""The import table: which room of the package may use which, read from the syntax trees.

Imports inside functions and under TYPE_CHECKING count like all others, and relative ones are resolved.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST_FILE = 450

# what each top-level room may import of dsmsim; "*" is everything but the command line
TABLE: dict[str, set[str]] = {
    "": {"opening"},  # dsmsim/__init__.py
    "errors": set(),
    "config": {"errors", "tensor_shapes"},
    "system": {"config", "errors"},
    "tensor_shapes": set(),
    "tensor": {"tensor_shapes"},
    "tdvp": set(),
    "networks": {"config", "system", "tensor", "tensor_shapes", "errors"},
    "sampler": {"system", "networks", "errors"},
    "residuals": {"system", "networks", "errors"},
    "measure": {"system", "errors"},
    "march": {"config", "system", "networks", "residuals", "tdvp", "parallel", "errors"},
    "batch": {"config", "errors"},
    "parallel": {"errors"},
    "store": {"config", "errors"},
    "training": {
        *("config", "system", "networks", "tensor", "sampler", "tdvp", "march"),
        *("residuals", "measure", "parallel", "store", "errors"),
    },
    "analysis": {"store", "measure", "system", "config", "errors"},
    "opening": {"store", "errors"},
    "terminal": {"config", "errors"},
    "methods": {"*"},
    "cli": {"*"},
    "__main__": {"cli"},
}
BASELINES = {"config", "system", "tdvp", "measure", "parallel", "store", "errors"}
# libraries that belong to one room
OWNERS = {
    **{"h5py": "store", "mpi4py": "parallel", "torch.distributed": "parallel"},
    **{"matplotlib": "analysis", "plotly": "analysis", "jinja2": "analysis"},
}
# libraries that a room may use besides the standard library, where the list is short
LIBRARIES: dict[str, set[str]] = {
    "errors": set(),
    "tensor": {"torch"},
    "tensor_shapes": set(),
    "tdvp": {"numpy"},
    "config": {"pydantic", "pydantic_core", "annotated_types", "sympy", "tomli_w"},
}


def modules_of(package: str) -> list[tuple[str, Path]]:
    """Dotted name and path of every module below a package."""
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def is_module(name: str) -> bool:
    """Whether a dotted name is a module of this project."""
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Dotted names of everything that a module imports, with `from package import module` resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if f"{node.value.id}.{node.attr}" in OWNERS:  # torch.distributed after `import torch`
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                yield str(node.args[0].value)


def room(name: str) -> str:
    """The top-level room of a dotted name of dsmsim; "" for the package itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and is_module(".".join(parts[:2])) else ""


def offences(text: str, module: str, is_package: bool = False) -> list[str]:
    """What a module imports against the table."""
    package, here = module.split(".")[0], room(module)
    allowed = BASELINES if package == "baselines" else TABLE.get(here, set()) | {here}
    found = []
    for name in imported(ast.parse(text), module, is_package):
        top, there = name.split(".")[0], room(name)
        wrong = top == "dsmsim" and there not in allowed | {""} and "*" not in allowed
        wrong |= top == "baselines" and package != "baselines"
        wrong |= top in ("tools", "tests")
        wrong |= top == "dsmsim" and there == "cli" and here not in ("cli", "__main__")
        wrong |= any(
            f"{name}.".startswith(f"{library}.") and (package, here) != ("dsmsim", owner)
            for library, owner in OWNERS.items()
        )
        foreign = top not in sys.stdlib_module_names and top not in ("dsmsim", "baselines")
        if package == "dsmsim" and here in LIBRARIES:
            wrong |= foreign and top not in LIBRARIES[here]
        if wrong:
            found.append(f"{module}: {name}")
    return found


def test_every_room_is_in_the_table() -> None:
    rooms = {room(module) for module, _ in modules_of("dsmsim")} - {""}
    assert rooms == set(TABLE) - {""}


@pytest.mark.parametrize("package", ["dsmsim", "baselines"])
def test_imports_follow_the_table(package: str) -> None:
    modules = modules_of(package)
    assert len(modules) > 3
    found = [
        offence
        for module, path in modules
        for offence in offences(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
    ]
    assert found == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("dsmsim.measure.moments", "def f():\n    from dsmsim.config import Config"),
        ("dsmsim.system.quench", "if TYPE_CHECKING:\n    from dsmsim.networks import Fields"),
        ("dsmsim.system.quench", "from ..sampler import Process"),
        ("dsmsim.system.quench", "from .. import sampler"),
        ("dsmsim.tensor.tt_linear", "from dsmsim.errors import ConfigError"),
        ("dsmsim.tensor.tt_linear", "import numpy as np"),
        ("dsmsim.config.plan", "import torch"),
        ("dsmsim.training.loop", "import dsmsim.analysis.plots"),
        ("dsmsim.training.loop", "import h5py"),
        ("dsmsim.training.loop", "import torch\ntorch.distributed.barrier()"),
        ("dsmsim.training.loop", "from torch import distributed"),
        ("dsmsim.training.loop", "import importlib\nimportlib.import_module('mpi4py.MPI')"),
        ("dsmsim.store.files", "import matplotlib.pyplot as plt"),
        ("dsmsim.methods", "from plotly.offline import get_plotlyjs"),
        ("dsmsim.methods", "from dsmsim.cli import app"),
        ("dsmsim.methods", "from baselines import split_step"),
        ("baselines.grid", "from dsmsim.networks import Fields"),
        ("baselines.grid", "from tools.reproduce.rows import Row"),
        ("baselines.grid", "from h5py import File"),
    ],
)
def test_the_reader_finds_what_is_forbidden(module: str, text: str) -> None:
    assert len(offences(text, module)) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (
            "dsmsim.system.quench",
            "from . import term\nfrom .term import Setting\nfrom ..config import Config",
        ),
        ("dsmsim.store.provenance", "from dsmsim import __version__\nimport h5py"),
        ("dsmsim.parallel.world", "import torch.distributed as dist\nfrom mpi4py import MPI"),
        ("dsmsim.methods", "from dsmsim.training.dsm import solve\nfrom dsmsim import analysis"),
        ("baselines.grid", "from baselines.solution import Solution\nfrom dsmsim import store"),
    ],
)
def test_the_reader_lets_pass_what_is_allowed(module: str, text: str) -> None:
    assert offences(text, module) == []


def test_relative_imports_of_a_package_start_at_itself() -> None:
    assert offences("from .plots import plot_run\nfrom ..sampler import x", "dsmsim.analysis", True) == [
        "dsmsim.analysis: dsmsim.sampler.x"
    ]


def test_no_file_is_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for package in ("dsmsim", "baselines", "tools")
        for _, path in modules_of(package)
    }
    assert {name: length for name, length in lengths.items() if length >= LONGEST_FILE} == {}


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after some code."""
    script = f"import sys\n{code}\nprint('LOADED', *sorted({{name.split('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(run.stdout.rsplit("LOADED", 1)[1].split())


HEAVY = {"torch", "mpi4py", "h5py", "numpy"}


def test_importing_the_package_is_light() -> None:
    loaded = loaded_after("import dsmsim, dsmsim.errors")
    assert "dsmsim" in loaded
    assert loaded & (HEAVY | {"pydantic"}) == set()


def test_reading_an_input_loads_no_torch() -> None:
    loaded = loaded_after("import dsmsim.config")
    assert "pydantic" in loaded
    assert loaded & HEAVY == set()


def test_help_is_light() -> None:
    loaded = loaded_after("from dsmsim.cli import app\napp(['--help'], standalone_mode=False)")
    assert "typer" in loaded
    assert loaded & (HEAVY | {"pydantic"}) == set()


@pytest.mark.parametrize("command", ["run", "check", "resume"])
def test_help_of_a_command_is_light(command: str) -> None:
    # typer itself may load pydantic to convert a command's arguments
    loaded = loaded_after(f"from dsmsim.cli import app\napp([{command!r}, '--help'], standalone_mode=False)")
    assert "typer" in loaded
    assert loaded & HEAVY == set()
