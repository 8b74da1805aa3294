"""`dsmsim sample`: its options, its messages, and samples of trained and of marched fields."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from commands import Outcome, call
from launchers import LIMIT, begin_dsmsim, mpirun, needs_mpirun, run_dsmsim
from run_files import finished_run

from dsmsim.methods.sample import wanted
from dsmsim.store import open_samples, read_results

MARCH = {"train.mode": "march", "march.walkers": 64, "march.block": 32, "march.pair_functions": 2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def marched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("marched"), MARCH)


def sampled(run: Path, out: Path, *options: object) -> Outcome:
    outcome = call("sample", run, "--out", out, *options)
    assert outcome.code == 0, outcome.err
    return outcome


def test_samples_of_a_trained_run_have_its_moments(trained: Path, tmp_path: Path) -> None:
    options = ("-n", "4e3", "--times", "5", "--nu", "0", "--draws", "sobol")
    outcome = sampled(trained, tmp_path / "samples", *options)
    assert "4,000 samples at t = 0, 0.25, 0.5, 0.75, 1, sobol, on 1 rank" in outcome.err
    assert "sampling 4000/4000 samples" in outcome.err
    assert "a second on 1 rank" in outcome.err
    assert f"samples   {tmp_path / 'samples' / 'samples.h5'}" in outcome.err
    samples, stored = open_samples(tmp_path / "samples"), read_results(trained / "results.h5").results
    np.testing.assert_allclose(samples.times, stored["observables"]["time"])
    # the run itself has 240 samples, with noise
    found, expected = samples.positions().var(1)[:, 0, 0], stored["observables"]["variance"][:, 0, 0]
    np.testing.assert_allclose(found, expected, rtol=5.0 * np.sqrt(2.0 / 240))


def test_the_last_time_and_another_directory_by_default(marched: Path) -> None:
    outcome = call("sample", marched, "-n", "100")
    assert outcome.code == 0, outcome.err
    samples = open_samples(marched.with_name(f"{marched.name}-samples"))
    assert (samples.times.tolist(), samples.count) == ([1.0], 100)
    assert "100 samples of 2 x 1 coordinates at t = 1" in call("info", f"{marched}-samples").out


def test_once_more_is_nothing_to_draw_and_other_samples_are_refused(marched: Path, tmp_path: Path) -> None:
    sampled(marched, tmp_path, "-n", "100", "--times", "0.5")
    before = {file.name: file.read_bytes() for file in tmp_path.glob("part-*.h5")}
    outcome = sampled(marched, tmp_path, "-n", "100", "--times", "0.5")
    assert "nothing to draw" in outcome.err
    refused = call("sample", marched, "-n", "100", "--times", "0.5", "--seed", "2", "--out", tmp_path)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert {file.name: file.read_bytes() for file in tmp_path.glob("part-*.h5")} == before
    sampled(marched, tmp_path, "-n", "100", "--times", "0.5", "--seed", "2", "--overwrite")
    assert {file.name: file.read_bytes() for file in tmp_path.glob("part-*.h5")} != before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-n", "many"), "-n many: write a whole number"),
        (("-n", "1"), "-n 1: "),
        (("-n", "2.5"), "-n 2.5: "),
        (("-n", "1e400"), "-n 1e400: "),
        (("-n", "nan"), "-n nan: "),
        (("-n", "5", "--draws", "antithetic"), "an even number"),
        (("-n", "10", "--draws", "latin"), "--draws latin: write one of independent"),
        (("-n", "10", "--nu", "-1"), "--nu -1"),
        (("-n", "10", "--nu", "nan"), "--nu nan"),
        (("-n", "10", "--seed", "-3"), "--seed -3"),
        (("-n", "10", "--times", "1"), "--times 1: a number of times is at least 2"),
        (("-n", "10", "--times", "soon"), "--times soon: write times"),
        (("-n", "10", "--times", "0.5,0.2"), "times must increase"),
        (("-n", "10", "--times", "0,1.5"), "--times 1.5: the fields of this run are known from 0 to 1"),
        (("-n", "10", "--times", "0.0,nan"), "--times 0.0,nan"),
    ],
)
def test_wrong_options(options: tuple[str, ...], words: str, marched: Path, tmp_path: Path) -> None:
    outcome = call("sample", marched, *options, "--out", tmp_path / "samples")
    assert outcome.code == 2
    assert words in outcome.err
    assert not (tmp_path / "samples").exists()


def test_what_cannot_be_sampled(trained: Path, tmp_path: Path) -> None:
    for name, file in (("baseline", "results.h5"), ("begun", "resolved.toml")):
        (tmp_path / name).mkdir()
        shutil.copyfile(trained / file, tmp_path / name / file)
    messages = {"baseline": "holds no run", "begun": "has no results.h5 yet", "none": "is no directory"}
    for name, words in messages.items():
        outcome = call("sample", tmp_path / name, "-n", "10")
        assert outcome.code == 4
        assert words in outcome.err


def test_options_as_the_command_line_gives_them() -> None:
    want = wanted(Path("runs/a"), "1e6", "11", 0.0, "sobol", 3, None, False)
    assert (want.count, want.times, want.out) == (1_000_000, 11, Path("runs/a-samples"))
    assert wanted(Path("a"), "10", " 0, 0.5,1 ", None, None, None, None, False).times == (0.0, 0.5, 1.0)
    assert wanted(Path("a"), "10", "0.5", None, None, None, None, False).times == (0.5,)


@needs_mpirun
def test_two_ranks_draw_the_same(marched: Path, tmp_path: Path) -> None:
    options = ("-n", "5000", "--times", "0,1")
    sampled(marched, tmp_path / "one", *options)
    done = run_dsmsim("sample", marched, *options, "--out", tmp_path / "two", launcher=mpirun(2))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("drew 5,000 samples") == 1
    one, two = (sorted((tmp_path / name).glob("part-*.h5")) for name in ("one", "two"))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]
    assert len(one) == 3


def test_a_signal_stops_it_and_complete_parts_stay(marched: Path, tmp_path: Path) -> None:
    out = tmp_path / "samples"
    with begin_dsmsim("sample", marched, "-n", "100000", "--out", out) as process:
        deadline = time.monotonic() + LIMIT
        while not list(out.glob("part-*.h5")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 75, err
    assert "the same command goes on with them" in err
    assert list(out.glob("part-*.h5"))
    assert not [*out.glob(".*.tmp"), *out.glob("samples.h5"), *out.glob("manifest.json")]
