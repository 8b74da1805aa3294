"""One cluster for all tests of this folder, where it can be started."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from launchers import clean_environment
from slurm_cluster import Cluster, running_cluster, why_not


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A Slurm of two nodes whose jobs find the potentials of the tests."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    # a short path, because the name of a socket has at most 107 characters
    with (
        tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as here,
        running_cluster(Path(here), PYTHONPATH=clean_environment()["PYTHONPATH"]) as started,
    ):
        yield started


@pytest.fixture
def jobs(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, empty again when the test is over, however it ends."""
    yield cluster
    cluster.cancel_everything()
