"""A signal to any rank, or to the launcher, stops all ranks together with the state saved."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from dying import BOUND, CHANGES, Fate, begin_run, end, pids_of, still_there, wait_until
from launchers import LIMIT, needs_mpirun

from dsmsim.store import RunDirectory, load_checkpoint

UNDISTURBED = Fate("none", 0)
RARELY_SAVED = CHANGES | {"output.checkpoint_every": "1 h"}
USR1, TERM = signal.SIGUSR1, signal.SIGTERM

# torchrun ends itself with 1 whenever a worker's code is not 0, and tells that code
CASES = [
    pytest.param("mpirun", USR1, 1, [75], marks=needs_mpirun),
    pytest.param("mpirun", TERM, 0, [75], marks=needs_mpirun),
    pytest.param("mpirun", TERM, None, [75], marks=needs_mpirun),
    pytest.param("torchrun", USR1, 1, [1]),
    pytest.param("torchrun", TERM, 0, [1]),
    pytest.param("torchrun", TERM, None, [1]),
    pytest.param("slurm", USR1, 1, [75, 75]),
]


@pytest.mark.parametrize(("launcher", "number", "target", "codes"), CASES)
def test_signal_to_one_process_stops_all_ranks(
    launcher: str, number: signal.Signals, target: int | None, codes: list[int], tmp_path: Path
) -> None:
    directory = tmp_path / "scene"
    processes = begin_run(launcher, 2, UNDISTURBED, directory, RARELY_SAVED)
    try:
        run = RunDirectory(directory / "run")
        assert wait_until(lambda: run.log.is_file() and run.log.read_bytes().count(b"\n") > 2, LIMIT)
        pids = pids_of(directory / "pids")
        os.kill(processes[0].pid if target is None else pids[target], number)
        said = "".join(text for process in processes for text in process.communicate(timeout=BOUND))
        assert wait_until(lambda: not still_there(pids), BOUND)
    finally:
        end(processes, directory)
    assert [process.returncode for process in processes] == codes, said
    assert "ends the run" not in said
    assert said.count("the state is saved") == 1, said
    stopped = re.search(rf"stopped after epoch (\d+) of \d+ \(signal {number.name}\)", said)
    assert stopped is not None, said
    assert load_checkpoint(run.checkpoints).epoch == int(stopped[1]) > 2
    if launcher == "torchrun" and target is not None:
        assert re.search(r"exitcode *: 75", said), said
