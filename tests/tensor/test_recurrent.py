"""Recurrent networks with tensor trains: equal to torch's with the same matrices, counts, ways of use."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, jvp, vmap
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from dsmsim.tensor.recurrent import MPOLSTM, TTGRU, TTLSTM, TensorRNN
from dsmsim.tensor.tt_linear import TTLinear

KINDS: list[type[Any]] = [TTLSTM, TTGRU, MPOLSTM]
OPTIONS = list(itertools.product((1, 2), (True, False), (False, True), (False, True)))
NAMES = ("layers", "bias", "batch_first", "bidirectional")


def network(kind: type[Any], *options: Any, rank: int = 3, **keywords: Any) -> Any:
    """A double-precision network 6 -> 8 from its own seed."""
    torch.manual_seed(0)
    modes = {"modes_in": (2, 3), "modes_hidden": (2, 4)}
    return kind(6, 8, *options, rank=rank, **modes, dtype=torch.float64, **keywords)


def twin(net: TensorRNN) -> Any:
    """torch's own network with the dense matrices of `net`."""
    kind = nn.GRU if isinstance(net, TTGRU) else nn.LSTM
    options = (net.num_layers, net.bias, net.batch_first, net.dropout, net.bidirectional)
    dense = kind(net.input_size, net.hidden_size, *options, dtype=torch.float64)
    with torch.no_grad():
        for name, parameter in dense.named_parameters():
            own = getattr(net, name)
            parameter.copy_(own.weight if isinstance(own, TTLinear) else own)
    return dense


def first_state(net: TensorRNN, *batch: int) -> Any:
    """A random h, with c where there is one."""
    count = net.num_layers * (2 if net.bidirectional else 1)
    h = torch.randn(count, *batch, net.hidden_size, dtype=torch.float64)
    return h if isinstance(net, TTGRU) else (h, torch.randn_like(h))


def same(found: Any, expected: Any) -> None:
    """Outputs and last states agree to rounding."""
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(NAMES, OPTIONS)
def test_equal_to_torch(
    kind: type[Any], layers: int, bias: bool, batch_first: bool, bidirectional: bool
) -> None:
    net = network(kind, layers, bias, batch_first, 0.0, bidirectional)
    dense, x = twin(net), torch.randn(5, 4, 6, dtype=torch.float64)
    state = first_state(net, 5 if batch_first else 4)
    same(net(x), dense(x))
    same(net(x, state), dense(x, state))
    single = first_state(net)
    same(net(x[:, 0]), dense(x[:, 0]))
    same(net(x[:, 0], single), dense(x[:, 0], single))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, True)])
def test_sequences_of_different_lengths(
    kind: type[Any], ordered: bool, layers: int, bidirectional: bool
) -> None:
    net = network(kind, layers, True, False, 0.0, bidirectional)
    lengths = torch.tensor([5, 3, 3, 1] if ordered else [3, 5, 1, 3])
    x = torch.randn(5, 4, 6, dtype=torch.float64)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=ordered)
    state = first_state(net, 4)
    for given in (None, state):
        (found, last), (expected, expected_last) = net(packed, given), twin(net)(packed, given)
        assert isinstance(found, PackedSequence)
        same(found.data, expected.data)
        assert torch.equal(found.batch_sizes, expected.batch_sizes)
        same(last, expected_last)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_torch(kind: type[Any]) -> None:
    net = network(kind, 2, True, False, 0.0, True)
    dense, x = twin(net), torch.randn(4, 3, 6, dtype=torch.float64)
    net(x)[0].square().sum().backward()
    dense(x)[0].square().sum().backward()
    for name, parameter in dense.named_parameters():
        own = getattr(net, name)
        if isinstance(own, TTLinear):
            cores = list(own.cores)
            through = torch.autograd.grad(own.weight, cores, parameter.grad)
            same([core.grad for core in cores], list(through))
        else:
            same(own.grad, parameter.grad)


def test_dropout_is_between_layers_and_in_training_only() -> None:
    net = network(TTGRU, 2, True, False, 1.0)
    x = torch.randn(5, 4, 6, dtype=torch.float64)
    dense = twin(net)
    assert not torch.equal(net(x)[0], net.eval()(x)[0])
    same(net(x), dense.eval()(x))
    same(net.train()(x), dense.train()(x))


@pytest.mark.parametrize(("kind", "count"), [(TTGRU, 3232), (TTLSTM, 3360)])
def test_published_counts(kind: type[Any], count: int) -> None:
    """Video frames of 160 x 120 x 3 into 256 hidden numbers at rank 4 (Yang et al. 2017, UCF11).

    The dense GRU has 57600 * 256 * 3 = 44,236,800 in the same place.
    """
    net = kind(57600, 256, rank=4, modes_in=(8, 20, 20, 18), modes_hidden=(4, 4, 4, 4))
    assert sum(core.numel() for core in net.weight_ih_l0.parameters()) == count
    gates = 3 if kind is TTGRU else 4
    assert net.weight_ih_l0.in_features * net.weight_ih_l0.out_features == 57600 * 256 * gates
    assert sum(parameter.numel() for parameter in net.parameters(recurse=False)) == gates * 256 * (256 + 2)
    outputs, _ = net(torch.randn(2, 1, 57600))
    assert outputs.shape == (2, 1, 256)


def test_all_matrices_of_an_mpo_lstm_are_trains() -> None:
    net = MPOLSTM(64, 64, 2, bias=False, rank=4, modes_in=(4, 4, 4), modes_hidden=(4, 4, 4))
    assert {name.split(".")[1] for name, _ in net.named_parameters()} == {"cores"}
    one = 4 * 16 * 4 + 4 * 4 * 4 * 4 + 4 * 4 * 4
    assert sum(parameter.numel() for parameter in net.parameters()) == 4 * one


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_start_with_the_variance_of_torch(kind: type[Any]) -> None:
    torch.manual_seed(3)
    net = kind(256, 256, rank=8)
    for name, _ in twin(network(kind)).named_parameters():
        own = getattr(net, name)
        values = own.weight if isinstance(own, TTLinear) else own
        assert 256 * values.square().mean().item() == pytest.approx(1.0 / 3.0, rel=0.15)


@pytest.mark.parametrize(
    ("sizes", "modes_in", "modes_hidden", "expected"),
    [
        ((12, 16), None, None, ((3, 4), (4, 4))),
        ((7, 16), None, None, ((1, 7), (4, 4))),
        ((12, 16), None, (2, 2, 4), ((2, 2, 3), (2, 2, 4))),
        ((12, 16), (12, 1), None, ((12, 1), (4, 4))),
    ],
)
def test_modes_that_are_not_given(
    sizes: tuple[int, int],
    modes_in: Sequence[int] | None,
    modes_hidden: Sequence[int] | None,
    expected: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    net = TTGRU(*sizes, 2, bidirectional=True, rank=2, modes_in=modes_in, modes_hidden=modes_hidden)
    first, *others = expected[1]
    for name in ("weight_ih_l0", "weight_ih_l0_reverse"):
        assert getattr(net, name).modes_in == expected[0]
        assert getattr(net, name).modes_out == (3 * first, *others)
    assert net.weight_ih_l1.modes_in == (2 * first, *others)
    assert math.prod(net.weight_ih_l1.modes_in) == 2 * sizes[1]


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="multiply to 4, not 6"):
        TTLSTM(6, 8, rank=2, modes_in=(2, 2))
    with pytest.raises(ValueError, match="dropout"):
        TTLSTM(6, 8, rank=2, dropout=1.5)
    with pytest.raises(ValueError, match="num_layers"):
        TTGRU(6, 8, 0, rank=2)
    with pytest.raises(ValueError, match="shape"):
        network(TTGRU)(torch.zeros(5, 4, 6, dtype=torch.float64), torch.zeros(1, 3, 8, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives(kind: type[Any]) -> None:
    torch.manual_seed(1)
    net = kind(4, 4, bidirectional=True, rank=1, dtype=torch.float64)
    names = [name for name, _ in net.named_parameters()]
    x = torch.randn(2, 1, 4, dtype=torch.float64, requires_grad=True)
    values = tuple(value.detach().clone().requires_grad_() for value in net.parameters())

    def outputs(x: Tensor, *values: Tensor) -> Tensor:
        found: Tensor = functional_call(net, dict(zip(names, values, strict=True)), (x,))[0]
        return found.sum(-1)

    assert gradcheck(outputs, (x, *values), fast_mode=True)
    assert gradgradcheck(outputs, (x, *values), fast_mode=True)
    step, direction = 1e-6, torch.randn_like(x)
    _, slope = jvp(lambda x: outputs(x, *values), (x,), (direction,))
    difference = outputs(x + step * direction, *values) - outputs(x - step * direction, *values)
    torch.testing.assert_close(slope, difference / (2 * step), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_vmap_over_inputs_and_parameters(kind: type[Any]) -> None:
    net = network(kind, 2, True, False, 0.0, True)
    x = torch.randn(3, 5, 4, 6, dtype=torch.float64)
    same(vmap(lambda x: net(x)[0])(x), torch.stack([net(part)[0] for part in x]))
    sets = [{name: scale * value for name, value in net.named_parameters()} for scale in (1.0, 0.5)]
    stacked = {name: torch.stack([one[name] for one in sets]) for name in sets[0]}
    found = vmap(lambda values: functional_call(net, values, (x[0],))[0])(stacked)
    same(found, torch.stack([functional_call(net, one, (x[0],))[0] for one in sets]))


@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_and_copies(kind: type[Any]) -> None:
    net, other = network(kind, 2), network(kind, 2)
    other.reset_parameters()
    x = torch.randn(5, 4, 6, dtype=torch.float64)
    assert not torch.equal(other(x)[0], net(x)[0])
    assert "weight_ih_l1.cores.0" in net.state_dict()
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x)[0], net(x)[0])
    clone = copy.deepcopy(net)
    net.reset_parameters()
    assert torch.equal(clone(x)[0], other(x)[0])
    assert network(kind).float()(x.float())[0].dtype == torch.float32
