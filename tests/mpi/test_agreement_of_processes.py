"""Loss, gradient, observables and densities on really separate processes are those of one."""

from __future__ import annotations

import pytest
from rank_numbers import NETWORKS, assert_agree, config_of, numbers_of, trained

from dsmsim.parallel import World

pytestmark = pytest.mark.mpi(min_size=2)


@pytest.mark.parametrize("network", NETWORKS)
def test_numbers_are_those_of_one_process(world: World, network: str) -> None:
    config = config_of(network)
    given, _ = trained(config, World())  # on every rank alone, and so the same
    assert_agree(numbers_of(config, given, world), numbers_of(config, given, World()))
