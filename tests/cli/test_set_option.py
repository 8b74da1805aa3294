"""`--set KEY=VALUE`: what it means, what it refuses, and what a run with it leaves behind."""

from __future__ import annotations

import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from commands import call
from fuzzing import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from launchers import mpirun, needs_mpirun, run_dsmsim
from run_files import assert_same_run, log_of
from tiny import tiny_input, write_input

from dsmsim.config import Config, load_config, load_input, with_settings
from dsmsim.config.settings import parse_setting
from dsmsim.errors import ConfigError
from dsmsim.store import RunDirectory, read_results, stored_config

QUIET = {"compare.with": [], "train.epochs": 2}


def two_ways(directory: Path, option: str, changes: dict[str, Any]) -> tuple[Config, Config]:
    """The tiny input changed by an option, and written as it should then be."""
    return (
        load_config(write_input(directory / "plain.toml"), [option]),
        load_config(write_input(directory / "changed.toml", changes)),
    )


@pytest.mark.parametrize(
    ("option", "path", "value"),
    [
        ("train.epochs=20", ("train", "epochs"), 20),
        (" train . epochs = 2_000 ", ("train", "epochs"), 2000),
        ("time.end=1e-3", ("time", "end"), 1e-3),
        ("output.figures=false", ("output", "figures"), False),
        ("network.kind=mlp", ("network", "kind"), "mlp"),
        ('network.kind="mlp"', ("network", "kind"), "mlp"),
        ("title='a = b'", ("title",), "a = b"),
        ('title=""', ("title",), ""),
        ("title=two bosons, g=1", ("title",), "two bosons, g=1"),
        ("run.time_limit=01:30:00", ("run", "time_limit"), "01:30:00"),
        ("output.expressions.d2=(x1 - x2)**2", ("output", "expressions", "d2"), "(x1 - x2)**2"),
        ('output.expressions."a.b=c"=x1', ("output", "expressions", "a.b=c"), "x1"),
        ('compare.with=["exact", "tvmc"]', ("compare", "with"), ["exact", "tvmc"]),
        ("time.save=[0, 0.5,\n1]", ("time", "save"), [0, 0.5, 1]),
        ('network={kind="mlp", width=6}', ("network",), {"kind": "mlp", "width": 6}),
    ],
)
def test_keys_and_values(option: str, path: tuple[str, ...], value: object) -> None:
    setting = parse_setting(option)
    assert setting.path == path
    assert setting.value == value
    assert type(setting.value) is type(value)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("epochs", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("train.=3", "KEY=VALUE"),
        ("", "KEY=VALUE"),
        ("time.save[0]=1", "KEY=VALUE"),
        ("train.epochs=", "has no value"),
        ("compare.with=[exact]", "--set 'compare.with=[\"a\"]'"),
        ('title="open', "not TOML"),
        ("seed=1\ntitle='b'", "more than one value"),
        ("title=a\nb", "not TOML"),
        ("seed=" + 5000 * "9", "number that cannot be read"),
        ("title=" + 2000 * "[", "nested too deeply"),
        ("seed.first=3", "seed = 1 is no table"),
        ("title=\udcff", "not UTF-8"),
    ],
)
def test_what_is_no_setting(option: str, words: str, tmp_path: Path) -> None:
    file = write_input(tmp_path / "tiny.toml", {"seed": 1})
    with pytest.raises(ConfigError) as refused:
        load_config(file, [option])
    message = str(refused.value)
    assert message.startswith("--set ")
    assert words in message
    assert len(message) < 300
    assert refused.value.key == "--set"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["train.epohcs=5"], ["--set train.epohcs = 5: unknown key; did you mean train.epochs?"]),
        (["trian.epochs=5"], ["--set trian = ", "did you mean train?"]),
        (["network={kind='mlp', widht=6}"], ["--set network.widht = 6", "did you mean network.width?"]),
        (["system.particles=0"], ["--set system.particles = 0: must be >= 1"]),
        (["title=5"], ["--set title = 5: must be text", "write --set 'title=\"...\"'"]),
        (["train.points=50"], ["--set train.points = 50: must be a multiple of train.trajectories = 12"]),
        # not the option's own value is wrong, but what stands in the file beside it
        (["train.trajectories=30"], ["tiny.toml with --set train.trajectories=30: train.points = 48"]),
        (["system.particles=0", "time.end=x"], ["2 problems", "--set system.particles", "--set time.end"]),
        (["system.terms.dip.omega=2.0"], ["--set system.terms.dip.kind: is missing"]),
    ],
)
def test_what_is_wrong_names_the_option(options: list[str], words: list[str], tmp_path: Path) -> None:
    file = write_input(tmp_path / "tiny.toml")
    outcome = call("check", file, *(word for option in options for word in ("--set", option)))
    assert outcome.code == 2
    assert outcome.err.startswith("dsmsim: ")
    assert "Traceback" not in outcome.err
    for word in [*words, "tiny.toml"]:
        assert word in outcome.err


def test_a_file_that_is_wrong_by_itself_is_told_as_ever(tmp_path: Path) -> None:
    file = write_input(tmp_path / "tiny.toml", {"train.epohcs": 5})
    outcome = call("check", file, "--set", "seed=3")
    assert outcome.code == 2
    assert "train.epohcs = 5: unknown key" in outcome.err
    assert "--set train.epohcs" not in outcome.err


def test_a_changed_input_is_the_same_as_a_changed_file(tmp_path: Path) -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("train.epochs=9", {"train.epochs": 9}),
        ("compare.with=[]", {"compare.with": []}),
        ("network={kind='mlp', width=6}", {"network": {"kind": "mlp", "width": 6}}),
        # a table that the file does not have; the defaults follow what is set
        ("evaluation={samples=60, trials=6}", {"evaluation": {"samples": 60, "trials": 6}}),
        ("output.expressions.d2=(x1 - x2)**2", {"output.expressions": {"d2": "(x1 - x2)**2"}}),
        ("system.terms.dip.kind=harmonic", {"system.terms.dip": {"kind": "harmonic"}}),
    ]
    for option, changes in cases:
        if "dip" in option:  # one table by two options
            file = write_input(tmp_path / "plain.toml")
            found = load_config(file, [option, "system.terms.dip.omega=0.5"])
            changes["system.terms.dip"] |= {"omega": 0.5}
            expected = load_config(write_input(tmp_path / "changed.toml", changes))
        else:
            found, expected = two_ways(tmp_path, option, changes)
        assert found == expected
        assert found != load_config(tmp_path / "plain.toml")


def test_the_last_one_wins_and_nothing_else_changes() -> None:
    data = tiny_input()
    before = tomli_w.dumps(data)
    found = with_settings(data, ["seed=3", "network.width=5", "seed=4", "train={epochs=2}"])
    assert tomli_w.dumps(data) == before
    assert found == data | {"seed": 4, "network": {"kind": "mlp", "width": 5}, "train": {"epochs": 2}}


def test_the_changed_text_says_where_it_is_from_and_loads_again(tmp_path: Path) -> None:
    file = tmp_path / "sharp\x07name.toml"
    write_input(file)
    options = ['title="a # b\\n\\u0007"', "time.save=[0,\n1]", "seed=7"]
    given_text = load_input(file)
    assert given_text.text == file.read_text()
    first = load_input(file, options)
    head = first.text.splitlines()[:5]
    assert head[0] == f"# {tmp_path}/sharp name.toml, changed by"
    assert head[3:] == ["#     --set seed=7", ""]
    again = tmp_path / "again.toml"
    again.write_text(first.text)
    assert load_config(again) == first.config
    # changed once more, it still says which file it began as
    second = load_input(again, ["seed=8"])
    assert second.text.splitlines()[:6] == [*head[:4], "#     --set seed=8", ""]
    assert second.config == first.config.model_copy(update={"seed": 8})


@settings(max_examples=examples(150), deadline=None)
@given(st.text(alphabet=st.sampled_from("a.=\"'[]{}#,\\ \n\t1-e:τ\udc80"), max_size=14))
def test_any_text_is_a_setting_or_is_refused(text: str) -> None:
    for option in (text, f"title={text}", f"{text}=1"):
        complaint = complaint_about(option)
        if complaint is None:
            found: Any = with_settings({}, [option])
            assert tomllib.loads(tomli_w.dumps(found)) == found
            setting = parse_setting(option)
            for name in setting.path:
                found = found[name]
            assert found == setting.value
        else:
            assert complaint.startswith("--set ")
            assert complaint.isprintable()


def complaint_about(option: str) -> str | None:
    """Why this is no setting; None if it is one."""
    try:
        parse_setting(option)
    except ConfigError as error:
        return str(error)
    return None


def test_a_run_with_settings_keeps_the_changed_input_and_goes_on(tmp_path: Path) -> None:
    file = write_input(tmp_path / "tiny.toml", QUIET)
    out = tmp_path / "run"
    arguments = ["run", file, "--out", out, "--set", "train.epochs=3", "--set", "seed=5"]
    assert call(*arguments).code == 0
    run = RunDirectory(out)
    expected = load_config(write_input(tmp_path / "same.toml", QUIET | {"train.epochs": 3, "seed": 5}))
    assert load_config(run.input) == load_config(run.resolved) == expected
    assert run.input.read_text().startswith(f"# {file}, changed by\n#     --set train.epochs=3\n")
    attributes = read_results(run.results).attributes
    assert attributes["provenance"]["input"] == run.input.read_text()
    assert stored_config(attributes) == expected
    # the input that it kept makes the same run
    assert call("run", run.input, "--out", tmp_path / "again").code == 0
    assert_same_run(out, tmp_path / "again")

    assert "nothing to train" in call(*arguments, "--resume").err
    refused = call(*arguments, "--resume", "--set", "system.hbar=0.4")
    assert refused.code == 2
    assert "system.hbar: 0.5 -> 0.4" in refused.err
    assert load_config(run.input) == expected

    further = call(*arguments, "--resume", "--set", "train.epochs=4")
    assert further.code == 0
    assert "train.epochs: 3 -> 4" in further.err
    assert len(log_of(out)) == 4
    assert load_config(run.input).train.epochs == 4

    assert call("resume", out, "--set", "train.epochs=5").code == 0
    assert len(log_of(out)) == 5
    assert load_config(run.input).train.epochs == 5
    assert run.input.read_text().startswith(f"# {file}, changed by\n")


def test_baselines_take_settings(tmp_path: Path) -> None:
    file = write_input(tmp_path / "tiny.toml")
    outcome = call("baseline", "split_step", file, "--out", tmp_path / "exact", "--set", "time.save=3")
    assert outcome.code == 0, outcome.err
    config = stored_config(read_results(tmp_path / "exact" / "results.h5").attributes)
    assert config == load_config(file, ["time.save=3"])
    refused = call("baseline", "split_step", file, "--set", "time.svae=3")
    assert refused.code == 2
    assert "--set time.svae = 3: unknown key; did you mean time.save?" in refused.err


def test_batch_scripts_hand_settings_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_input(tmp_path / "tiny.toml")
    options = ["--set", "title='it''s $HOME'", "--set", 'compare.with=["exact"]']
    assert call("slurm", "tiny.toml", *options).code == 2  # two strings in a row are no TOML
    options[1] = "title=it's $HOME"
    assert call("slurm", "tiny.toml", *options).code == 0
    line = next(line for line in Path("tiny.sh").read_text().splitlines() if "--resume" in line)
    assert shlex.split(line.rstrip("&"))[4:] == options
    subprocess.run(["bash", "-n", "tiny.sh"], check=True)
    # what is set is checked with the request, before anything waits in a queue
    outcome = call("slurm", "tiny.toml", "--set", 'run.margin="4 h"', "--overwrite")
    assert (outcome.code, "run.margin" in outcome.err) == (2, True)
    outcome = call("slurm", "tiny.toml", "--set", "seed=3", "--seeds", "1-2", "--overwrite")
    assert (outcome.code, "--set seed" in outcome.err) == (2, True)
    assert call("slurm", "tiny.toml", "--set", "seed=3", "--overwrite").code == 0


def test_the_doctor_needs_an_input_to_change() -> None:
    outcome = call("doctor", "--set", "seed=3")
    assert outcome.code == 2
    assert "none is named" in outcome.err


@needs_mpirun
def test_all_ranks_take_the_settings(tmp_path: Path) -> None:
    file = write_input(tmp_path / "tiny.toml", QUIET)
    one, two = tmp_path / "one", tmp_path / "two"
    changed = ["--set", "train.epochs=3", "--set", "evaluation.samples=120"]
    done = run_dsmsim("run", file, "--out", two, *changed, launcher=mpirun(2))
    assert done.returncode == 0, done.stderr
    assert call("run", file, "--out", one, *changed).code == 0
    stored = [read_results(RunDirectory(run).results) for run in (one, two)]
    assert stored[1].attributes["provenance"]["world_size"] == 2
    assert stored_config(stored[1].attributes) == stored_config(stored[0].attributes)
    losses = [[record["loss"] for record in log_of(run)] for run in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-10)
    assert (one / "input.toml").read_text() == (two / "input.toml").read_text()
