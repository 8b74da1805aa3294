"""`dsmsim slurm`: what is refused before a job waits in a queue, and what is written."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path

import pytest
from commands import call
from hypothesis import given
from hypothesis import strategies as st
from tiny import write_input

from dsmsim.batch import parse_seeds, parse_slurm_time, with_seed
from dsmsim.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800),
        ("30:15", 1815),
        ("4:00:00", 14400),
        ("1-0", 86400),
        ("1-12", 129600),
        ("2-3:30", 185400),
        ("0-0:0:5", 5),
    ],
)
def test_times_of_slurm(text: str, seconds: int) -> None:
    assert parse_slurm_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "4h", "1:2:3:4", "-1", "1-", "1-2:3:4:5", "\u0661", "1.5", " 1", "0:00"]
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--time"):
        parse_slurm_time(text)


@given(st.text(alphabet="0123456789:-. h", max_size=12))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_slurm_time(text) > 0


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a tiny input of six blocks, in which the commands work."""
    monkeypatch.chdir(tmp_path)
    write_input(tmp_path / "tiny.toml", {"run.device": "auto"})
    write_input(tmp_path / "cpu.toml")
    write_input(tmp_path / "cuda.toml", {"run.device": "cuda"})
    write_input(tmp_path / "wrong.toml", {"train.points": 49})
    (tmp_path / "sub").mkdir()
    write_input(tmp_path / "sub" / "tiny.toml")
    return tmp_path


REFUSED = {
    "no input": (["missing.toml"], ["missing.toml", "no such file"]),
    "wrong input": (["wrong.toml"], ["train.points = 49"]),
    "time": (["tiny.toml", "--time", "4h"], ["--time = '4h'", "4:00:00"]),
    "short": (["tiny.toml", "--time", "3"], ["--time = '3'", "run.margin", "120 s"]),
    "launcher": (["tiny.toml", "--launcher", "mpiexec"], ["--launcher = 'mpiexec'", "srun or mpirun"]),
    "partition": (["tiny.toml", "--partition", "a b"], ["--partition = 'a b'", "without spaces"]),
    "option": (["tiny.toml", "--sbatch", "mem=4G"], ["--sbatch = 'mem=4G'", "--name=value"]),
    "two lines": (["tiny.toml", "--sbatch", "--mem=4G\n--x"], ["--sbatch"]),
    "own option": (["tiny.toml", "--sbatch", "--time=5"], ["--sbatch = '--time=5'", "option of its own"]),
    "gpus": (["cpu.toml", "--gpus-per-node", 1], ["--gpus-per-node = 1", 'run.device = "cpu"']),
    "gres": (["cpu.toml", "--sbatch", "--gres=gpu:1"], ['run.device = "cpu"']),
    "no gpus": (["cuda.toml"], ['run.device = "cuda" in cuda.toml', "--gpus-per-node"]),
    "shared gpus": (
        ["tiny.toml", "--gpus-per-node", 1, "--ntasks-per-node", 2],
        ["--ntasks-per-node = 2", "--gpus-per-node = 1"],
    ),
    "chain": (["tiny.toml", "--chain", 2, "--requeue"], ["--chain = 2", "--requeue"]),
    "chained array": (["tiny.toml", "cpu.toml", "--chain", 2], ["--chain = 2", "array"]),
    "seeds": (["tiny.toml", "--seeds", "3-1"], ["--seeds = '3-1'", "1-8"]),
    "seeds of two": (["tiny.toml", "cpu.toml", "--seeds", "1-2"], ["--seeds", "one input"]),
    "out of two": (["tiny.toml", "cpu.toml", "--out", "x"], ["--out", "one run"]),
    "one directory": (["tiny.toml", "sub/tiny.toml"], ["share the directory runs/tiny"]),
}


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED)
def test_mistakes_are_refused(arguments: list[object], words: list[str], here: Path) -> None:
    before = sorted(here.rglob("*"))
    outcome = call("slurm", *arguments)
    assert outcome.code == 2
    assert outcome.err.startswith("dsmsim: ")
    assert [word for word in words if word not in outcome.err] == [], outcome.err
    assert sorted(here.rglob("*")) == before


def test_ranks_without_work_are_warned_about(here: Path) -> None:
    outcome = call("slurm", "tiny.toml", "--nodes", 2, "--ntasks-per-node", 4)
    assert outcome.code == 0
    assert outcome.err.startswith("warning: tiny.toml: 2 of 8 ranks have nothing to do")
    assert "wrote tiny.sh: 8 ranks" in outcome.out


def test_nothing_is_replaced_unasked(here: Path) -> None:
    (here / "tiny.sh").write_text("mine")
    outcome = call("slurm", "tiny.toml")
    assert outcome.code == 2
    assert "tiny.sh exists" in outcome.err
    assert (here / "tiny.sh").read_text() == "mine"
    assert call("slurm", "tiny.toml", "--overwrite").code == 0
    assert "dsmsim run" in (here / "tiny.sh").read_text()

    own = here / "seeds.inputs" / "tiny-seed-2.toml"
    own.parent.mkdir()
    own.write_text("mine")
    outcome = call("slurm", "tiny.toml", "--seeds", "1-2", "--script", "seeds.sh")
    assert outcome.code == 2
    assert f"{own.relative_to(here)} exists with another content" in outcome.err
    assert own.read_text() == "mine"
    assert not (own.parent / "tiny-seed-1.toml").exists()


def test_the_request_stands_in_the_script(here: Path) -> None:
    wanted = ["--nodes", 2, "--ntasks-per-node", 3, "--cpus-per-task", 8, "--time", "1-12"]
    wanted += ["--partition", "long", "--account", "p1", "--qos", "high", "--sbatch", "--mem=16G"]
    assert call("slurm", "tiny.toml", *wanted, "--script", "sub/job.sh").code == 0
    lines = (here / "sub" / "job.sh").read_text().splitlines()
    given = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert given == {
        *("job-name=tiny", f"chdir={here}", "nodes=2", "ntasks-per-node=3", "cpus-per-task=8", "time=1-12"),
        *("partition=long", "account=p1", "qos=high", "mem=16G", "signal=B:USR1@120", "open-mode=append"),
        f"output={here}/sub/%x-%j.log",
    }


def test_one_rank_for_each_gpu(here: Path) -> None:
    assert call("slurm", "tiny.toml", "--gpus-per-node", 3, "--nodes", 2).code == 0
    text = (here / "tiny.sh").read_text()
    assert "#SBATCH --gpus-per-node=3\n" in text
    assert "#SBATCH --ntasks-per-node=3\n" in text


def test_the_margin_of_the_input_decides_when_slurm_signals(here: Path) -> None:
    write_input(here / "late.toml", {"run.margin": "10 min"})
    assert call("slurm", "late.toml", "tiny.toml", "--script", "a.sh").code == 0
    assert "#SBATCH --signal=B:USR1@600\n" in (here / "a.sh").read_text()


def test_seeds() -> None:
    assert parse_seeds("1-3,7, 9-9") == [1, 2, 3, 7, 9]
    for text in ("", "1,1", "a", "2-", "1-99999999", "-1"):
        with pytest.raises(ConfigError, match="--seeds"):
            parse_seeds(text)


@pytest.mark.parametrize(
    "text",
    [
        'title = "x"\nseed = 5  # mine\n[run]\nseed = 1\n',
        "[run]\nseed = 1\n",
        "# only a comment",
    ],
)
def test_only_the_seed_changes(text: str) -> None:
    changed = with_seed(text, 42)
    assert tomllib.loads(changed) == tomllib.loads(text) | {"seed": 42}
    assert ("# mine" in changed) == ("# mine" in text)


def test_a_seed_that_cannot_be_replaced_is_said_to_be_so() -> None:
    with pytest.raises(ConfigError, match="line of its own"):
        with_seed('title = """\nseed = 1"""\nseed = 3', 42)
