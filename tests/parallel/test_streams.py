"""Random streams: the same for the same name, unrelated for different names; blocks cover everything once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsmsim.parallel import blocks_of_rank, random_stream


def test_golden_values() -> None:
    # A change here changes the results of every seed: runs would no longer be repeatable.
    stream = random_stream(1, "trajectories", 0, 0)
    assert stream.bit_generator.random_raw(3).tolist() == [
        13959270140782887529,
        1476479215753434520,
        6537726906097966371,
    ]
    normal = random_stream(1, "trajectories", 0, 0).standard_normal(3)
    golden = [0.07439416431744011, -1.0902401780324602, -0.7134931834445146]
    np.testing.assert_allclose(normal, golden, rtol=1e-13)
    assert random_stream(7, "evaluation").integers(0, 1000, 5).tolist() == [640, 264, 968, 730, 222]


def test_same_name_same_numbers_whatever_integer_type() -> None:
    first = random_stream(3, "a", 1, 2).standard_normal(50)
    seed, epoch, block = np.array([3, 1, 2])  # as they come from an array of blocks
    again = random_stream(seed, "a", epoch, block).standard_normal(50)
    np.testing.assert_array_equal(first, again)


def test_every_part_of_the_name_matters() -> None:
    names = [
        (1, "a", 1, 2),
        (2, "a", 1, 2),
        (1, "b", 1, 2),
        (1, "a", 2, 1),
        (1, "a", 12),
        (1, "a"),
        (1, "a", 1, 2, 0),
    ]
    firsts = {int(random_stream(*name).integers(2**62)) for name in names}  # type: ignore[arg-type]
    assert len(firsts) == len(names)


def test_streams_are_uncorrelated_and_standard() -> None:
    count, length = 200, 500
    draws = np.stack([random_stream(5, "test", block).standard_normal(length) for block in range(count)])
    total = count * length
    assert abs(draws.mean()) < 5 / np.sqrt(total)
    assert abs(draws.var() - 1) < 5 * np.sqrt(2 / total)
    products = (draws[:-1] * draws[1:]).ravel()  # neighbouring blocks, the likeliest to be related
    assert abs(products.mean()) < 5 / np.sqrt(products.size)


@given(total=st.integers(0, 200), size=st.integers(1, 40))
def test_blocks_are_shared_out_once_in_order_and_evenly(total: int, size: int) -> None:
    shares = [blocks_of_rank(total, rank, size) for rank in range(size)]
    assert [block for share in shares for block in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(("total", "rank", "size"), [(-1, 0, 1), (4, 2, 2), (4, -1, 2), (4, 0, 0)])
def test_senseless_shares_are_refused(total: int, rank: int, size: int) -> None:
    with pytest.raises(ValueError, match="rank"):
        blocks_of_rank(total, rank, size)
