"""Loss, gradient, observables and densities are the same on 1, 2, 3 and 4 ranks."""

from __future__ import annotations

import numpy as np
import pytest
from rank_numbers import NETWORKS, assert_agree, config_of, numbers_of, trained
from ranks import run_ranks

from dsmsim.parallel import World


@pytest.mark.parametrize("network", NETWORKS)
def test_numbers_do_not_depend_on_the_number_of_ranks(network: str) -> None:
    config = config_of(network)
    given, _ = trained(config, World())
    alone = numbers_of(config, given, World())
    assert np.abs(alone.at_parameters["gradient"]).max() > 1e-4
    assert alone.at_parameters["density/density"].max() > 0.1
    assert len(alone.losses) == 3
    for size in (2, 3, 4):
        for found in run_ranks(size, lambda world: numbers_of(config, given, world)):
            assert_agree(found, alone)
