"""Checkpoints come back exactly; damage at any byte is found out, and the checkpoint before is used."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from dsmsim.errors import StoreError
from dsmsim.store import checkpoint_files, load_checkpoint, save_checkpoint

ARRAYS = {
    "u/blocks/0/weight": np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32),
    "optimizer/step": np.array(17),
    "stream": np.array([2**64 - 1, 3], dtype=np.uint64),
    "flag": np.array(True),
    "empty": np.zeros((0, 3)),
}
ATTRIBUTES = {"loss": [0.5, float("inf")], "state": {"key": 2**130, "name": None}, "rate": np.float32(0.25)}


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_checkpoint_comes_back_exactly(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "checkpoints", 120, ARRAYS, ATTRIBUTES, keep=3)
    assert path == tmp_path / "checkpoints" / "ckpt-000120.h5"
    found = load_checkpoint(tmp_path / "checkpoints")
    assert (found.epoch, found.path, found.warnings) == (120, path, [])
    assert found.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)
    assert found.attributes == ATTRIBUTES
    with h5py.File(path) as file:  # an ordinary HDF5 file for everybody else
        assert file.attrs["epoch"] == 120


def test_the_last_ones_stay(tmp_path: Path) -> None:
    for epoch in (5, 10, 999_999, 1_000_000, 15):
        save_checkpoint(tmp_path, epoch, {}, {}, keep=2)
    # Those of later epochs are left by a run that went further: saving epoch 15 does not touch them.
    assert [path.name for path in checkpoint_files(tmp_path)] == [
        "ckpt-000015.h5",
        "ckpt-999999.h5",
        "ckpt-1000000.h5",
    ]
    assert load_checkpoint(tmp_path).epoch == 1_000_000


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, ARRAYS, ATTRIBUTES, keep=3)
    newest = save_checkpoint(tmp_path, 2, ARRAYS, ATTRIBUTES, keep=3)
    whole = newest.read_bytes()
    rng = np.random.default_rng(2)
    for offset in [0, 30, 511, 512, len(whole) - 1, *rng.integers(0, len(whole), 200)]:
        flipped = bytearray(whole)
        flipped[offset] ^= 1 << int(rng.integers(8))
        newest.write_bytes(flipped)
        found = load_checkpoint(tmp_path)
        assert found.epoch == 1
        assert found.warnings == [f"{newest} is damaged: its content does not match its checksum"]
    newest.write_bytes(whole)
    assert load_checkpoint(tmp_path).epoch == 2


def test_every_torn_file_is_found(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, ARRAYS, ATTRIBUTES, keep=3)
    newest = save_checkpoint(tmp_path, 2, ARRAYS, ATTRIBUTES, keep=3)
    whole = newest.read_bytes()
    random = np.random.default_rng(3).integers(0, len(whole), 200)
    for length in [0, 1, 511, 512, 513, len(whole) // 2, len(whole) - 1, *random]:
        newest.write_bytes(whole[:length])
        assert load_checkpoint(tmp_path).epoch == 1
    newest.write_bytes(whole + b"\0")
    assert load_checkpoint(tmp_path).epoch == 1


def test_none_valid_and_none_at_all_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no checkpoint"):
        load_checkpoint(tmp_path / "nowhere")
    (tmp_path / "ckpt-latest.h5").write_text("somebody's own file")
    with pytest.raises(StoreError, match="holds no checkpoint"):
        load_checkpoint(tmp_path)
    for epoch in (1, 2):
        save_checkpoint(tmp_path, epoch, {}, {}, keep=3).write_bytes(b"torn")
    with pytest.raises(StoreError, match=r"none of the 2 checkpoints(.|\n)*ckpt-000002(.|\n)*ckpt-000001"):
        load_checkpoint(tmp_path)


def test_failed_save_keeps_all_earlier_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, 1, ARRAYS, ATTRIBUTES, keep=1)

    def fail(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match=r"ckpt-000002\.h5: Input/output error"):
        save_checkpoint(tmp_path, 2, ARRAYS, ATTRIBUTES, keep=1)
    assert names(tmp_path) == ["ckpt-000001.h5"]
    assert load_checkpoint(tmp_path).epoch == 1


def test_only_plain_attributes_are_taken(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"plain values, not .*Path"):
        save_checkpoint(tmp_path, 1, {}, {"path": Path()}, keep=1)
    with pytest.raises(ValueError, match="keep=0"):
        save_checkpoint(tmp_path, 1, {}, {}, keep=0)
    assert names(tmp_path) == []
