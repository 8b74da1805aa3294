"""What batch scripts do, seen with stand-ins for Slurm's programs: no cluster is needed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from commands import call
from stand_ins import STAND_IN, Shell
from tiny import write_input

from dsmsim.batch import BatchRequest, Work, render
from dsmsim.batch.ready import READY, ready_script

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def text_of(request: BatchRequest, **changes: object) -> str:
    work: dict[str, object] = {"name": "tiny", "script": "tiny.sh", "inputs": ("tiny.toml",)} | changes
    return render(request, Work(**work))  # type: ignore[arg-type]


@pytest.mark.parametrize("launcher", ["srun", "mpirun"])
@pytest.mark.parametrize("code", [0, 2, 75])
def test_the_code_of_the_run_is_that_of_the_job(launcher: str, code: int, shell: Shell) -> None:
    text = text_of(BatchRequest(launcher=launcher), out="my runs/1")
    assert shell.code(text, RANKS_DO=str(code)) == code
    assert shell.calls.startswith(launcher)
    assert shell.calls.rstrip().endswith("dsmsim run tiny.toml --resume --out my runs/1")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
@pytest.mark.parametrize(
    ("ranks", "code", "word"), [("listen", 75, "saved"), ("last", 0, "done"), ("die", 75, "")]
)
def test_a_signal_reaches_the_ranks(number: int, ranks: str, code: int, word: str, shell: Shell) -> None:
    assert shell.code_after_signal(text_of(BatchRequest()), number, RANKS_DO=ranks) == code
    assert word in shell.calls


@pytest.mark.parametrize(
    ("code", "state", "restarts", "again"),
    [
        ("75", "RUNNING", "3", True),
        ("75", "COMPLETING", "3", False),
        ("75", "RUNNING", "100", False),
        ("0", "RUNNING", "3", False),
        ("3", "RUNNING", "3", False),
    ],
)
def test_only_a_job_stopped_by_its_limit_requeues_itself(
    code: str, state: str, restarts: str, again: bool, shell: Shell
) -> None:
    text = text_of(BatchRequest(requeue=True))
    given = {"RANKS_DO": code, "JOB_STATE": state, "SLURM_RESTART_COUNT": restarts}
    assert shell.code(text, **given) == int(code)
    assert ("scontrol requeue 7" in shell.calls) == again


def test_a_task_of_an_array_requeues_itself_alone(shell: Shell) -> None:
    text = text_of(BatchRequest(requeue=True), array=True)
    numbers = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}
    assert shell.code(text, RANKS_DO="75", **numbers) == 75
    assert "squeue --noheader --jobs 7_0 " in shell.calls
    assert "scontrol requeue 7_0\n" in shell.calls


def test_a_chain_submits_itself(shell: Shell) -> None:
    text = text_of(BatchRequest(chain=3))
    process = shell.start(text, "more", ENVIRONMENT="")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.split() == ["1", "2", "3"]
    script = f"{shell.directory}/script.sh more"
    usual = "sbatch --parsable --kill-on-invalid-dep=yes"
    assert shell.calls.splitlines() == [
        f"{usual} {script}",
        f"{usual} --dependency=afternotok:1 {script}",
        f"{usual} --dependency=afternotok:1:2 {script}",
    ]
    assert shell.code(text) == 0  # in a job it runs
    assert "dsmsim run tiny.toml" in shell.calls


def test_names_with_spaces_stay_whole(shell: Shell) -> None:
    text = text_of(BatchRequest(), inputs=("my input's.toml", "b.toml"), array=True)
    assert shell.code(text, SLURM_ARRAY_TASK_ID="0") == 0
    assert "dsmsim run my input's.toml --resume" in shell.calls
    assert '#SBATCH --chdir="/my place"' in text_of(BatchRequest(), directory="/my place")


@pytest.mark.parametrize("name", READY)
def test_ready_scripts_are_made_here(name: str) -> None:
    file = ROOT / "slurm" / f"{name}.sh"
    assert file.read_text() == ready_script(name), "python -m dsmsim.batch.ready slurm"
    by_hand = {"reproduce"}
    assert {path.stem for path in file.parent.glob("*.sh")} == set(READY) | by_hand
    assert f"`{name}.sh`" in (file.parent / "README.md").read_text()


@pytest.mark.parametrize("name", READY)
def test_ready_scripts_want_an_input(name: str, shell: Shell) -> None:
    environment = {"ENVIRONMENT": ""} if name == "chain" else {"SLURM_ARRAY_TASK_ID": "1"}
    process = shell.start(ready_script(name), **environment)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "there is no input" in err if name == "array" else f"slurm/{name}.sh INPUT.toml" in err
    assert shell.calls == ""


def test_the_environment_of_the_directory_is_used(shell: Shell) -> None:
    (shell.directory / ".venv" / "bin").mkdir(parents=True)
    (shell.directory / "bin" / "srun").rename(shell.directory / ".venv" / "bin" / "srun")
    assert shell.code(ready_script("one_node"), "a.toml") == 0
    assert "dsmsim run a.toml --resume" in shell.calls


def test_submitting_prints_the_jobs(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(shell.calls_file))
    monkeypatch.delenv("ENVIRONMENT", raising=False)
    write_input(tmp_path / "tiny.toml")
    outcome = call("slurm", "tiny.toml", "--submit")
    assert outcome.code == 0, outcome.err
    assert "submitted: 1; results go to runs/tiny" in outcome.out
    assert "scancel 1" in outcome.out
    outcome = call("slurm", "tiny.toml", "--chain", 3, "--script", "chain.sh", "--submit")
    assert "submitted: 2 3 4" in outcome.out
    refusal = "echo 'sbatch: error: invalid account' >&2; exit 1"
    (tmp_path / "bin" / "sbatch").write_text(STAND_IN.format(refusal))
    outcome = call("slurm", "tiny.toml", "--script", "b.sh", "--submit")
    assert outcome.code == 2
    assert "Slurm refuses b.sh: sbatch: error: invalid account" in outcome.err


def test_the_script_leads_to_this_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_input(tmp_path / "tiny.toml")
    assert call("slurm", "tiny.toml", "--setup", "module load cuda").code == 0
    text = (tmp_path / "tiny.sh").read_text()
    assert f'export PATH={Path(sys.executable).parent}:"$PATH"\nmodule load cuda\n' in text
    assert f"#SBATCH --chdir={tmp_path}\n" in text
