"""The command line before anything is computed: help, checks, mistakes and their exit codes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import Outcome, call
from launchers import clean_environment, mpirun, needs_mpirun, run_dsmsim
from tiny import tiny_config, write_input
from typer.main import get_command

from dsmsim import __version__
from dsmsim.cli import app
from dsmsim.config import load_config
from dsmsim.parallel import World
from dsmsim.training.state import new_state

COMMANDS = sorted(command.callback.__name__ for command in app.registered_commands if command.callback)


def assert_refused(outcome: Outcome, *words: str) -> None:
    """A user's mistake: exit code 2, one message, no traceback, nothing on standard output."""
    assert outcome.code == 2
    assert outcome.err.startswith("dsmsim: ")
    assert outcome.err.count("dsmsim: ") == 1
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    for word in words:
        assert word in outcome.err


def test_the_commands_are_all_tested_here() -> None:
    assert {"run", "resume", "check", "init", "baseline", "compare", "plot"} <= set(COMMANDS)


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command: str, option: str) -> None:
    outcome = call(command, option)
    assert outcome.code == 0
    assert f"dsmsim {command} [OPTIONS]" in outcome.out
    assert outcome.err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_brackets(command: str) -> None:
    """rich takes what stands in brackets for markup, and drops it, unless a backslash stands before."""
    shown = "".join(call(command, "--help").out.replace("│", " ").split())
    for parameter in get_command(app).commands[command].params:  # type: ignore[attr-defined]
        for default in re.findall(r"\[[^]]+]", parameter.help or ""):
            assert "".join(default.split()) in shown, parameter.name


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_lists_every_command(arguments: list[str]) -> None:
    outcome = call(*arguments)
    assert outcome.code == 0
    for command in COMMANDS:
        assert command in outcome.out


def test_no_arguments_show_the_help() -> None:
    outcome = call()
    assert outcome.code == 2
    assert "Usage: dsmsim" in outcome.out + outcome.err


def test_version() -> None:
    assert call("--version") == (0, f"dsmsim {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [["--version"], ["init", "--help"], ["doctor", "--help"], ["slurm", "--help"]]
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom dsmsim.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    print(sorted({'torch', 'numpy', 'h5py', 'mpi4py'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n")


def test_python_dash_m() -> None:
    command = [sys.executable, "-m", "dsmsim", "--version"]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"dsmsim {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runn", "input.toml"], "No such command 'runn'"),
        (["run"], "Missing argument 'INPUT.toml'"),
        (["run", "input.toml", "--outt", "x"], "No such option: --outt"),
        (["run", "input.toml", "more"], "unexpected extra argument"),
        (["check", "input.toml", "--ranks", "0"], "Invalid value for '--ranks'"),
        (["check", "input.toml", "--ranks", "two"], "Invalid value for '--ranks'"),
        (["compare", "one"], "Missing argument"),
        (["--verbose"], "No such option: --verbose"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str) -> None:
    outcome = call(*arguments)
    assert outcome.code == 2
    assert words in outcome.err
    assert "Usage: dsmsim" in outcome.err


@needs_mpirun
@pytest.mark.parametrize("arguments", [["run", "input.toml", "--outt", "x"], ["runn"], ["run"]])
def test_wrong_usage_is_told_once_by_two_ranks(arguments: list[str]) -> None:
    done = run_dsmsim(*arguments, launcher=mpirun(2))
    assert done.returncode == 2
    assert (done.stdout + done.stderr).count("Usage: dsmsim") == 1
    assert "Traceback" not in done.stderr


BAD: list[tuple[dict[str, Any], str]] = [
    ({"system.hbar": -1.0}, "system.hbar = -1.0: must be > 0"),
    ({"system.hbr": 1.0}, "system.hbr = 1.0: unknown key; did you mean system.hbar?"),
    ({"time.end": None}, "time.end: is missing"),
    ({"train.points": 49}, "train.points = 49: must be a multiple"),
    ({"train.precision": "float46"}, 'did you mean "float64"?'),
    ({"system.trap.kind": "harmonc"}, "system.trap.kind"),
    ({"compare.with": ["fockk"]}, "compare.with"),
    ({"system.terms.a": {"kind": "python", "target": "no_such_module:f"}}, "system.terms.a.target"),
    ({"system.terms.a": {"kind": "python", "target": "math:sin"}}, "system.terms.a.target"),
]


@pytest.mark.parametrize(("changes", "words"), BAD, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("command", ["check", "run"])
def test_bad_input_names_the_key(command: str, changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    file = write_input(tmp_path / "input.toml", changes)
    assert_refused(call(command, file, "--out", tmp_path / "out"), words)
    assert not (tmp_path / "out").exists()


def test_a_baseline_refuses_the_same_input(tmp_path: Path) -> None:
    file = write_input(tmp_path / "input.toml", {"system.hbar": -1.0})
    outcome = call("baseline", "split_step", file, "--out", tmp_path / "out")
    assert_refused(outcome, "system.hbar = -1.0: must be > 0")


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    file = write_input(tmp_path / "input.toml", {"system.hbar": -1.0, "train.points": "many", "seed": -1})
    assert_refused(call("check", file), "3 problems", "system.hbar", "train.points", "seed")


def test_no_reference_is_known_before_anything_is_computed(tmp_path: Path) -> None:
    changes = {"system.interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1}}
    file = write_input(tmp_path / "input.toml", changes | {"compare.with": ["closed_form"]})
    assert_refused(call("run", file, "--out", tmp_path / "out"), 'compare.with = "closed_form"')
    assert not (tmp_path / "out").exists()


@needs_mpirun
@pytest.mark.parametrize("changes", [{"system.hbar": -1.0}, BAD[7][0]], ids=["value", "function"])
def test_bad_input_is_told_once_by_two_ranks(changes: dict[str, Any], tmp_path: Path) -> None:
    file = write_input(tmp_path / "input.toml", changes)
    done = run_dsmsim("run", file, "--out", tmp_path / "out", launcher=mpirun(2))
    assert done.returncode == 2
    assert_refused(Outcome(done.returncode, done.stdout, done.stderr), next(iter(changes)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [["run"], ["check"], ["baseline", "split_step"]])
def test_missing_input(command: list[str], tmp_path: Path) -> None:
    write_input(tmp_path / "bosons.toml")
    outcome = call(*command, tmp_path / "boson.toml")
    assert_refused(outcome, f"{tmp_path / 'boson.toml'}: there is no such file", "bosons.toml?")
    assert_refused(call(*command, tmp_path), "is a directory")


def test_our_own_method_is_no_baseline(tmp_path: Path) -> None:
    outcome = call("baseline", "dsm", write_input(tmp_path / "input.toml"), "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "it is what `dsmsim run` does" in outcome.err
    assert not (tmp_path / "out").exists()


def test_unknown_baseline_lists_those_that_are_installed(tmp_path: Path) -> None:
    outcome = call("baseline", "split_stepp", write_input(tmp_path / "input.toml"))
    assert_refused(outcome, "'split_stepp' is not installed", "split_step")


def squeezed(text: str) -> list[str]:
    """Lines of a table with single blanks and without its frame."""
    return [" ".join(line.replace("│", " ").split()) for line in text.splitlines()]


@pytest.mark.parametrize(
    "changes",
    [
        {"network.kind": "mlp"},
        {"network.kind": "mlp", "network.tensor": {"rank": 2}},
        {"network.kind": "equivariant", "network.blocks": 2},
        {"network.kind": "potential"},
    ],
    ids=["mlp", "tt", "equivariant", "potential"],
)
def test_check_prints_parameters_and_files(changes: dict[str, Any], tmp_path: Path) -> None:
    file = write_input(tmp_path / "input.toml", changes)
    outcome = call("check", file, "--ranks", 3, "--out", tmp_path / "there")
    assert (outcome.code, outcome.err) == (0, "")
    lines = squeezed(outcome.out)
    fields = new_state(tiny_config(changes), World()).fields
    count = sum(p.numel() for p in fields.parameters())
    assert f"parameters of {' and '.join(fields.networks())} {count:,}" in lines
    assert "Plan for 3 ranks" in lines
    assert "trajectories per rank 4" in lines
    assert f"Files in {tmp_path / 'there'}" in lines
    for name in ("input.toml", "resolved.toml", "log.jsonl", "checkpoints/ckpt-NNNNNN.h5", "results.h5"):
        assert any(line.startswith(f"{name} ") for line in lines), name
    assert not (tmp_path / "there").exists()


def test_check_warns_of_idle_ranks_and_default_place(tmp_path: Path) -> None:
    outcome = call("check", write_input(tmp_path / "case.toml"), "--ranks", 8)
    text = " ".join(squeezed(outcome.out))
    assert "warning: 2 of 8 ranks have nothing to do" in text
    assert "Files in runs/case" in text


@pytest.mark.parametrize("name", ["[bold]x", "a[/b]", "[red]"])
def test_names_are_no_markup(name: str, tmp_path: Path) -> None:
    outcome = call("check", write_input(tmp_path / "input.toml"), "--out", name)
    assert outcome.code == 0
    assert f"Files in {name}" in squeezed(outcome.out)


def test_init_writes_an_input_that_check_accepts(tmp_path: Path) -> None:
    file = tmp_path / "input.toml"
    outcome = call("init", file)
    assert outcome.code == 0
    assert f"dsmsim check {file}" in outcome.out
    assert load_config(file).system.particles == 2
    assert call("check", file).code == 0


def test_init_does_not_overwrite_unless_asked(tmp_path: Path) -> None:
    file = tmp_path / "input.toml"
    file.write_text("mine")
    assert_refused(call("init", file), "input.toml exists", "--overwrite")
    assert file.read_text() == "mine"
    assert call("init", file, "--overwrite").code == 0
    assert call("check", file).code == 0


@pytest.mark.parametrize("place", ["", "nowhere/input.toml"])
def test_init_where_nothing_can_be_written(place: str, tmp_path: Path) -> None:
    assert_refused(call("init", tmp_path / place, "--overwrite"), "cannot write", str(tmp_path / place))


@pytest.mark.parametrize(
    "arguments", [["resume", "{}"], ["plot", "{}"], ["compare", "{}", "{}"]], ids=lambda value: value[0]
)
@pytest.mark.parametrize("empty", [True, False], ids=["empty", "missing"])
def test_directories_without_a_run(arguments: list[str], empty: bool, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    if empty:
        directory.mkdir()
    outcome = call(*(argument.format(directory) for argument in arguments))
    assert outcome.code == 4
    assert outcome.err.startswith(
        f"dsmsim: {directory}" if arguments[0] == "resume" else "dsmsim: cannot read"
    )
    assert str(directory) in outcome.err


def test_place_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    file = write_input(tmp_path / "input.toml")
    outcome = call("run", file, "--out", tmp_path / "file")
    assert outcome.code == 2
    assert f"dsmsim: --out {tmp_path / 'file'}: this is a file, not a directory" in outcome.err
    outcome = call("run", file, "--out", tmp_path / "file" / "run")
    assert outcome.code == 4
    assert f"cannot create {tmp_path / 'file' / 'run'}" in outcome.err
