"""Fixtures of the cluster tests: one Galera cluster for all of them, a database and a small world on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.support import DATABASE, ClusterWorld
from tests.clusters import Galera
from tests.concurrency.crew import Crew
from tests.conftest import _upgrade
from tests.servers import ServerMissing


@pytest.fixture(scope="session")
def galera() -> Iterator[Galera]:
    """Three members; a test that harms them has them healed before the next."""
    with tempfile.TemporaryDirectory(prefix="flightctl-galera-") as folder:
        try:
            cluster = Galera(Path(folder) / "cluster")
        except ServerMissing as missing:
            pytest.skip(str(missing))
        try:
            cluster.start()
            cluster.nodes[0].create_database(DATABASE)
            _upgrade(cluster.url(DATABASE))
            yield cluster
        finally:
            cluster.discard()


@pytest.fixture
def world(galera: Galera) -> Iterator[ClusterWorld]:
    made = ClusterWorld(galera)
    yield made
    made.close()
    galera.heal()


@pytest.fixture(scope="session")
def crew() -> Iterator[Crew]:
    made = Crew(12)
    yield made
    made.close()
