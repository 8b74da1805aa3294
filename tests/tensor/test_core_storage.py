"""Cores in HDF5, read back by torchTT, tntorch and tensorly as their own, and by this package."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
import torch

from dsmsim.tensor import LAYERS, TensorLinear, TRLinear, TTLinear, tensor_linear
from dsmsim.tensor.storage import cores_from_arrays, cores_to_arrays

IN, OUT = (3, 2, 4), (4, 3, 2)


def library(name: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchTT has no compiled part here
        module: ModuleType = pytest.importorskip(name)
    return module


def written(path: Path, layer: TensorLinear) -> Path:
    """The layer in a file, as anybody would write it."""
    arrays, attributes = cores_to_arrays(layer)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values.numpy()
        file.attrs.update(attributes)
    return path


def read(path: Path) -> list[np.ndarray]:
    """The cores, without this package."""
    with h5py.File(path) as file:
        return [file[f"core_{k}"][...] for k in range(sum(name.startswith("core_") for name in file))]


@pytest.fixture(params=[1, 3, 12])
def train(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, np.ndarray]:
    torch.manual_seed(0)
    layer = TTLinear(24, 24, IN, OUT, request.param, dtype=torch.float64)
    return written(tmp_path / "train.h5", layer), layer.weight.detach().numpy()


def rows_and_columns(tensor: np.ndarray) -> np.ndarray:
    """W (O, I) from a tensor of the modes o_k i_k."""
    pairs = tensor.reshape([size for pair in zip(OUT, IN, strict=True) for size in pair])
    return pairs.transpose(0, 2, 4, 1, 3, 5).reshape(24, 24)


def assert_same(found: np.ndarray, exact: np.ndarray) -> None:
    assert np.abs(found - exact).max() <= 1e-12 * np.abs(exact).max()


def test_torchtt_reads_a_tt_matrix(train: tuple[Path, np.ndarray]) -> None:
    torchtt, (path, exact) = library("torchtt"), train
    matrix = torchtt.TT([torch.from_numpy(core) for core in read(path)])
    assert (list(matrix.M), list(matrix.N)) == (list(OUT), list(IN))
    assert_same(matrix.full().reshape(24, 24).numpy(), exact)


def test_tntorch_reads_a_tensor(train: tuple[Path, np.ndarray]) -> None:
    tntorch, (path, exact) = library("tntorch"), train
    cores = [torch.from_numpy(core.reshape(len(core), -1, core.shape[-1])) for core in read(path)]
    assert_same(rows_and_columns(tntorch.Tensor(cores).torch().numpy()), exact)


def test_tensorly_reads_a_tt_matrix(train: tuple[Path, np.ndarray]) -> None:
    tt_matrix, (path, exact) = library("tensorly.tt_matrix"), train
    assert_same(np.asarray(tt_matrix.tt_matrix_to_matrix(read(path))), exact)


def test_tensorly_reads_a_ring(tmp_path: Path) -> None:
    tr_tensor = library("tensorly.tr_tensor")
    torch.manual_seed(0)
    layer = TRLinear(24, 24, IN, OUT, 3, dtype=torch.float64)
    path = written(tmp_path / "ring.h5", layer)
    cores = [core.reshape(len(core), -1, core.shape[-1]) for core in read(path)]
    tensor = np.asarray(tr_tensor.tr_to_tensor(cores))
    assert_same(rows_and_columns(tensor), layer.weight.detach().numpy())
    with h5py.File(path) as file:
        assert bool(file.attrs["ring"])
        assert list(file.attrs["ranks"]) == [3, 3, 3, 3]


@pytest.mark.parametrize("format", sorted(LAYERS))
def test_a_layer_comes_back_from_a_file(format: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    modes = ((24,), (24,)) if format == "lowrank" else (OUT, IN)
    sides = (None, None) if format == "lowrank" else (IN, OUT)
    first, second = (tensor_linear(format, 24, 24, *sides, rank=3, dtype=torch.float64) for _ in range(2))
    path = written(tmp_path / "layer.h5", first)
    with h5py.File(path) as file:
        arrays = {name: torch.from_numpy(values[...]) for name, values in file.items()}
        attributes = dict(file.attrs)
    second.set_cores(cores_from_arrays(arrays, attributes))
    assert torch.equal(second.weight, first.weight)
    assert torch.equal(arrays["bias"], first.bias)
    assert attributes["format"] == format
    assert (tuple(attributes["modes_out"]), tuple(attributes["modes_in"])) == modes


def test_permutations_are_arrays_and_enter_as_written() -> None:
    torch.manual_seed(0)
    orders = [torch.randperm(24) for _ in range(2)]
    layer = TTLinear(
        24, 24, IN, OUT, 3, False, dtype=torch.float64, permute_in=orders[0], permute_out=orders[1]
    )
    arrays, attributes = cores_to_arrays(layer)
    assert "bias" not in arrays
    assert attributes["ranks"] == [1, 3, 3, 1]
    plain = TTLinear(24, 24, IN, OUT, 3, False, dtype=torch.float64)
    plain.set_cores(cores_from_arrays(arrays, attributes))
    x = torch.randn(5, 24, dtype=torch.float64)
    y = plain(x[:, arrays["permute_in"]])[:, arrays["permute_out"]]
    torch.testing.assert_close(layer(x), y)


def test_arrays_are_of_this_moment_and_without_gradients() -> None:
    layer = TTLinear(24, 24, IN, OUT, 2)
    arrays, _ = cores_to_arrays(layer)
    assert not any(values.requires_grad for values in arrays.values())
    assert math.prod(arrays["core_0"].shape) == layer.cores[0].numel()


def test_files_that_are_not_cores_are_refused() -> None:
    arrays, attributes = cores_to_arrays(TTLinear(24, 24, IN, OUT, 2))
    with pytest.raises(ValueError, match="format 'mps' must be one of"):
        cores_from_arrays(arrays, attributes | {"format": "mps"})
    with pytest.raises(ValueError, match="without a gap"):
        cores_from_arrays({name: arrays[name] for name in ("core_0", "core_2")}, attributes)
    with pytest.raises(ValueError, match="without a gap"):
        cores_from_arrays({}, attributes)
    with pytest.raises(ValueError, match="that the attributes say"):
        cores_from_arrays(arrays, attributes | {"ranks": [1, 2, 3, 1]})
    with pytest.raises(ValueError, match="do not fit format 'tt'"):
        cores_from_arrays(arrays, attributes | {"ring": True})
