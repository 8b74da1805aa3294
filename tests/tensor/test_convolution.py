"""The convolution with a tensor-train kernel: equal to torch's, counted, and used in torch's ways."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, jvp, vmap

from dsmsim.tensor.convolution import TTConv2d

OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"stride": 2, "padding": 1},
    {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)},
    {"padding": "same"},
    {"padding": "same", "dilation": (2, 1), "padding_mode": "circular"},
    {"padding": "valid"},
    {"padding": (2, 1), "padding_mode": "reflect"},
    {"padding": 1, "padding_mode": "replicate"},
    {"padding": 1, "groups": 2},
]


def layer(kernel_size: int | tuple[int, int] = 3, rank: int = 3, **options: Any) -> TTConv2d:
    """A double-precision layer of 4 channels into 6, from its own seed."""
    torch.manual_seed(0)
    return TTConv2d(4, 6, kernel_size, rank=rank, dtype=torch.float64, **options)


def images(*leading: int) -> Tensor:
    """Random images of 4 channels."""
    return torch.randn(*leading, 4, 7, 8, dtype=torch.float64)


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")  # torch's, of the dense layer
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kernel_size", [3, (2, 3), 1])
def test_equal_to_torch(kernel_size: int | tuple[int, int], options: dict[str, Any]) -> None:
    own = layer(kernel_size, **options)
    dense = nn.Conv2d(4, 6, kernel_size, dtype=torch.float64, **options)
    with torch.no_grad():
        dense.weight.copy_(own.weight)
        if own.bias is not None:
            dense.bias.copy_(own.bias)
    for x in (images(5), images()):
        torch.testing.assert_close(own(x), dense(x), rtol=0.0, atol=1e-12)


def test_arguments_come_in_torchs_order() -> None:
    arguments = (4, 6, (2, 3), (2, 1), (1, 2), (1, 2), 2, False, "circular")
    own, dense = TTConv2d(*arguments, rank=2), nn.Conv2d(*arguments)
    x = images(2).float()
    assert own.weight.shape == dense.weight.shape
    assert own(x).shape == dense(x).shape
    assert own.bias is None


def test_kernel_is_the_contraction_of_the_cores() -> None:
    """K[s, u, c] = G_0[u] G_1[s_1, c_1] G_2[s_2, c_2], u = (u_1, u_2) row by row."""
    own = layer((2, 3), modes_in=(2, 2), modes_out=(2, 3))
    positions, first, second = own.kernel.cores
    assert positions.shape == (1, 1, 6, 3)
    full = torch.einsum("aouv,vsmw,wtnz->stmnu", positions, first, second)
    expected = full.reshape(6, 4, 2, 3)
    torch.testing.assert_close(own.weight, expected, rtol=1e-12, atol=1e-14)


def test_counted_example() -> None:
    """3 x 3, 64 channels into 128 at rank 16: 9 r + 16 r^2 + 16 r^2 + 32 r, 8.3 times fewer."""
    own = TTConv2d(64, 128, 3, bias=False, rank=[9, 16, 16], modes_in=(4, 4, 4), modes_out=(4, 4, 8))
    count = sum(parameter.numel() for parameter in own.parameters())
    assert count == 9 * 9 + 9 * 16 * 16 + 16 * 16 * 16 + 16 * 32
    uncut = TTConv2d(64, 128, 3, bias=False, rank=[16] * 3, modes_in=(4, 4, 4), modes_out=(4, 4, 8))
    assert sum(parameter.numel() for parameter in uncut.parameters()) == 144 + 2 * 16**3 + 512
    cut = TTConv2d(64, 128, 3, bias=False, rank=16, modes_in=(4, 4, 4), modes_out=(4, 4, 8))
    assert cut.kernel.ranks == (1, 9, 16, 16, 1)


def test_kernel_and_bias_start_with_the_variance_of_torch() -> None:
    torch.manual_seed(2)
    own = TTConv2d(16, 400, 3, rank=8)
    assert own.bias is not None
    for values in (own.weight, own.bias):
        assert 9 * 16 * values.square().mean().item() == pytest.approx(1.0 / 3.0, rel=0.1)


def test_modes_that_are_not_given() -> None:
    assert TTConv2d(12, 16, 3, rank=2).kernel.modes_in == (9, 3, 4)
    assert TTConv2d(12, 16, 3, rank=2).kernel.modes_out == (1, 4, 4)
    assert TTConv2d(3, 16, 5, rank=2).kernel.modes_in == (25, 1, 3)
    assert TTConv2d(12, 16, 3, rank=2, modes_in=(2, 2, 3)).kernel.modes_out == (1, 2, 2, 4)
    assert TTConv2d(12, 16, 3, groups=2, rank=2).kernel.modes_in == (9, 2, 3)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="3 groups"):
        layer(groups=3)
    with pytest.raises(ValueError, match="padding_mode"):
        layer(padding_mode="zero")
    with pytest.raises(ValueError, match="without strides"):
        layer(padding="same", stride=2)
    with pytest.raises(ValueError, match="'full'"):
        layer(padding="full")
    with pytest.raises(ValueError, match="multiply"):
        layer(modes_in=(2, 3), modes_out=(2, 3))


def test_derivatives() -> None:
    own = layer(2, rank=2, padding=1, stride=2)
    names = [name for name, _ in own.named_parameters()]
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    values = tuple(value.detach().clone().requires_grad_() for value in own.parameters())

    def outputs(x: Tensor, *values: Tensor) -> Tensor:
        found: Tensor = functional_call(own, dict(zip(names, values, strict=True)), (x,))
        return found.tanh()

    assert gradcheck(outputs, (x, *values), fast_mode=True)
    assert gradgradcheck(outputs, (x, *values), fast_mode=True)
    _, slope = jvp(own, (x,), (x,))
    assert own.bias is not None
    torch.testing.assert_close(slope, own(x) - own.bias[:, None, None], rtol=1e-12, atol=1e-12)


def test_vmap_over_images_and_over_parameters() -> None:
    own, x = layer(padding=1), images(3, 5)
    expected = torch.stack([own(part) for part in x])
    torch.testing.assert_close(vmap(own)(x), expected, rtol=1e-12, atol=1e-12)
    sets = [{name: scale * value for name, value in own.named_parameters()} for scale in (1.0, 0.5)]
    stacked = {name: torch.stack([one[name] for one in sets]) for name in sets[0]}
    found = vmap(lambda values: functional_call(own, values, (x[0],)))(stacked)
    expected = torch.stack([functional_call(own, one, (x[0],)) for one in sets])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_state_dict_and_copies() -> None:
    own, other, x = layer(), layer(), images(2)
    other.reset_parameters()
    assert list(own.state_dict()) == ["bias", *(f"kernel.cores.{k}" for k in range(3))]
    assert not torch.equal(other(x), own(x))
    other.load_state_dict(own.state_dict())
    assert torch.equal(other(x), own(x))
    clone = copy.deepcopy(own)
    own.reset_parameters()
    assert torch.equal(clone(x), other(x))
    assert layer().float()(x.float()).dtype == torch.float32
