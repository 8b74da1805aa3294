"""The log survives a killed writer and is cut back when a run resumes."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pytest

from dsmsim.errors import StoreError
from dsmsim.store import JsonLines, read_jsonlines


def test_records_are_readable_while_the_log_is_open(tmp_path: Path) -> None:
    with JsonLines(tmp_path / "log.jsonl") as log:
        log.write(
            {"epoch": np.int64(1), "loss": np.float32(0.5), "parts": np.array([1.0, np.nan]), "t": (1, 2)}
        )
        assert read_jsonlines(log.path) == [{"epoch": 1, "loss": 0.5, "parts": [1.0, None], "t": [1, 2]}]
        log.write({"epoch": 2, "loss": float("inf")})
        lines = log.path.read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert "Infinity" not in lines[1]


def test_unfinished_line_is_ignored_and_then_removed(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"epoch": 1}\n{"epoch": 2, "lo')
    assert read_jsonlines(path) == [{"epoch": 1}]
    with JsonLines(path) as log:
        log.write({"epoch": 2})
    assert read_jsonlines(path) == [{"epoch": 1}, {"epoch": 2}]


def test_a_log_is_cut_back_to_what_was_synced(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with JsonLines(path) as log:
        log.write({"epoch": 0})
        size = log.sync()
        assert size == path.stat().st_size
        log.write({"epoch": 1})
    path.write_bytes(path.read_bytes() + b"\0\0\0 lost in a power failure\n")
    with JsonLines(path) as log:
        assert log.cut(size) == 0
        log.write({"epoch": 1, "again": True})
        assert log.cut(10**6) == 10**6 - path.stat().st_size  # so many bytes are missing
    assert read_jsonlines(path) == [{"epoch": 0}, {"epoch": 1, "again": True}]


def test_damaged_and_missing_logs_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with pytest.raises(StoreError, match="cannot read"):
        read_jsonlines(path)
    path.write_text('{"epoch": 1}\nepoch 2\n')
    with pytest.raises(StoreError, match="line 2, is no JSON"):
        read_jsonlines(path)
    path.write_text("3\n")
    with pytest.raises(StoreError, match="line 1, is no JSON object"):
        read_jsonlines(path)
    with pytest.raises(StoreError, match="create it first"):
        JsonLines(tmp_path / "nowhere" / "log.jsonl")


def test_full_disk_is_a_store_error_and_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with JsonLines(path) as log:
        log.write({"epoch": 1})
        resource.setrlimit(resource.RLIMIT_FSIZE, (30, hard))
        try:
            with pytest.raises(StoreError, match="cannot write"):
                log.write({"epoch": 2, "text": "x" * 100})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_jsonlines(path) == [{"epoch": 1}]
