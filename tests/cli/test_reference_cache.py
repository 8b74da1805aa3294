"""The cache of references: where it is, what its keys depend on, and several writers at once."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_config

from dsmsim.methods import cache
from dsmsim.methods.cache import cache_directory, find, keep, may_be_shared, reference_config, reference_key

NO_KEY = "0" * 64


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DSMSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "cache"
    for off in ("", "off", " OFF "):
        monkeypatch.setenv("DSMSIM_CACHE", off)
        assert cache_directory() is None
    monkeypatch.setenv("DSMSIM_CACHE", "~/there")
    assert cache_directory() == tmp_path / "there"
    monkeypatch.delenv("DSMSIM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_directory() == Path("/somewhere/dsmsim")
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_directory() == tmp_path / ".cache" / "dsmsim"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("title", "another"),
        ("seed", 9),
        ("network.width", 12),
        ("train.epochs", 7),
        ("time.steps", 9),
        ("compare.with", []),
        ("baselines.memory", "3 GB"),
        ("baselines.fock.cutoff", 12),
        ("run.device", "auto"),
    ],
)
def test_what_a_key_does_not_depend_on(key: str, value: Any) -> None:
    config, other = tiny_config(), tiny_config({key: value})
    assert reference_key(other, "split_step") == reference_key(config, "split_step")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("system.hbar", 0.4),
        ("initial.mean", 0.1),
        ("time.end", 2.0),
        ("time.save", 6),
        ("time.save", [0.0, 1.0]),
        ("baselines.split_step.grid", 64),
        ("baselines.split_step.tolerance", 1e-5),
    ],
)
def test_what_a_key_depends_on(key: str, value: Any) -> None:
    config, other = tiny_config(), tiny_config({key: value})
    assert reference_key(other, "split_step") != reference_key(config, "split_step")


def test_a_sampled_reference_depends_on_its_samples() -> None:
    config = tiny_config()
    for key, value in (("seed", 3), ("evaluation.samples", 480), ("baselines.tvmc.walkers", 128)):
        assert reference_key(tiny_config({key: value}), "tvmc") != reference_key(config, "tvmc")
    mine = tiny_config({"seed": 3})
    assert reference_config(mine, "tvmc") is mine


def test_exact_passes_the_input_on_to_others() -> None:
    config, other = tiny_config(), tiny_config({"baselines.fock.cutoff": 12})
    assert reference_key(other, "exact") != reference_key(config, "exact")


def test_method_version_and_sources_are_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config()
    keys = {reference_key(config, name) for name in ("split_step", "fock")}
    monkeypatch.setattr(cache, "__version__", "9.9")
    keys.add(reference_key(config, "split_step"))
    monkeypatch.setattr(cache, "_sources", lambda package: "changed")
    keys.add(reference_key(config, "split_step"))
    assert len(keys) == 4


def test_a_reference_is_a_function_of_its_key() -> None:
    """The seed is not in the key, so it must not be in the result either."""
    first, second = (reference_config(tiny_config({"seed": seed}), "split_step") for seed in (3, 4))
    assert first == second
    mine = tiny_config({"seed": 3})
    assert reference_config(mine, "method_of_another_package") is mine


def test_functions_of_the_user_are_read_and_never_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "my_wells.py"
    source.write_text("def well(x, t):\n    return 0.0 * x[:, 0]\n")
    changes = {"system.terms.a": {"kind": "python", "target": "my_wells:well"}}
    config = tiny_config(changes)
    assert may_be_shared(tiny_config())
    assert not may_be_shared(config)
    before = reference_key(config, "split_step")
    assert reference_key(config, "split_step") == before
    source.write_text("def well(x, t):\n    return 1.0 * x[:, 0]\n")
    assert reference_key(config, "split_step") != before


def silent(line: str) -> None:
    raise AssertionError(line)


def test_an_entry_can_be_checked_by_hand(tmp_path: Path, own_cache: Path) -> None:
    file = tmp_path / "results.h5"
    file.write_bytes(b"content")
    assert find("toy", NO_KEY, silent) is None
    keep("toy", NO_KEY, file, silent)
    entry = own_cache / "references" / "toy-0000000000000000"
    assert (entry / "results.h5").read_bytes() == b"content"
    checksum = hashlib.sha256(b"content").hexdigest()
    assert (entry / "results.h5.sha256").read_text() == f"{checksum}  results.h5\n"
    assert find("toy", NO_KEY, lambda line: None) == b"content"


def test_many_writers_and_readers_do_no_harm(tmp_path: Path, own_cache: Path) -> None:
    """Every reader finds nothing or one writer's whole file; what is left in the end is whole."""
    contents = [bytes([k]) * 20_000 for k in range(6)]
    found: list[bytes | None] = []

    def work(k: int) -> None:
        file = tmp_path / f"{k}.h5"
        file.write_bytes(contents[k])
        for _ in range(20):
            keep("toy", NO_KEY, file, lambda line: None)
            found.append(find("toy", NO_KEY, lambda line: None))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(contents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {data for data in found if data is not None} <= set(contents)
    assert [path.name for path in (own_cache / "references").iterdir()] == ["toy-0000000000000000"]
    assert find("toy", NO_KEY, lambda line: None) in contents
