"""Spectra and entropies of bonds against dense singular value decompositions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dsmsim.tensor import TRLinear, TTLinear
from dsmsim.tensor.adaptation import bond_entropies, bond_spectra, rank_report

MODES_IN, MODES_OUT = (3, 4, 2), (4, 2, 3)


def made(kind: type[TTLinear], rank: int) -> TTLinear:
    torch.manual_seed(2)
    return kind(24, 24, MODES_IN, MODES_OUT, rank, dtype=torch.float64)


def unfoldings(layer: TTLinear) -> list[torch.Tensor]:
    """W as a matrix (o_1 i_1 .. o_k i_k, o_{k+1} .. i_d) for k = 1 .. d - 1."""
    grouped = layer.weight.detach().reshape(*MODES_OUT, *MODES_IN).permute(0, 3, 1, 4, 2, 5)
    sizes = [out * into for out, into in zip(MODES_OUT, MODES_IN, strict=True)]
    return [grouped.reshape(math.prod(sizes[:k]), -1) for k in (1, 2)]


@pytest.mark.parametrize(("kind", "rank"), [(TTLinear, 1), (TTLinear, 3), (TRLinear, 2), (TRLinear, 3)])
def test_spectra_and_entropies_are_those_of_the_dense_weight(kind: type[TTLinear], rank: int) -> None:
    layer = made(kind, rank)
    spectra, entropies = bond_spectra(layer), bond_entropies(layer)
    assert len(spectra) == len(entropies) == 2
    for found, entropy, matrix in zip(spectra, entropies, unfoldings(layer), strict=True):
        dense = torch.linalg.svdvals(matrix)
        shared = min(len(found), len(dense))
        torch.testing.assert_close(found[:shared], dense[:shared], rtol=1e-10, atol=1e-12)
        assert float(dense[shared:].sum()) < 1e-12
        share = dense.square() / dense.square().sum()
        assert entropy == pytest.approx(float(-torch.xlogy(share, share).sum()), abs=1e-10)


def test_entropy_of_a_product_and_of_a_flat_spectrum() -> None:
    assert bond_entropies(made(TTLinear, 1)) == pytest.approx([0.0, 0.0], abs=1e-12)
    layer = TTLinear(9, 9, (3, 3), (3, 3), 9, dtype=torch.float64)
    layer.set_cores([torch.eye(9).reshape(1, 3, 3, 9), torch.eye(9).reshape(9, 3, 3, 1)])
    assert bond_entropies(layer) == pytest.approx([math.log(9.0)])


def test_a_weight_of_zeros_has_no_entropy() -> None:
    layer = made(TTLinear, 2)
    with torch.no_grad():
        for core in layer.cores:
            core.zero_()
    assert bond_entropies(layer) == [0.0, 0.0]


def test_report_by_the_names_of_the_layers() -> None:
    model = nn.ModuleDict({"a": made(TTLinear, 3), "dense": nn.Linear(2, 2), "b": made(TRLinear, 2)})
    report = rank_report(model)
    assert set(report) == {"a", "b"}
    assert report["a"]["ranks"] == (1, 3, 3, 1)
    assert report["b"]["ranks"] == (2, 2, 2, 2)
    assert report["b"]["entropies"] == bond_entropies(model["b"])  # type: ignore[arg-type]
