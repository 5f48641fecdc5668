"""Fixtures of the cluster tests: one Galera cluster for all of them, a database and a small world on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checker import violations
from tests.clusters import Galera
from tests.concurrency.crew import Crew
from tests.concurrency.support import World
from tests.conftest import Backend, _upgrade
from tests.servers import ServerMissing

DATABASE = "cluster"


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


class ClusterWorld(World):
    """Looked at through one member and used through all of them."""

    def __init__(self, galera: Galera, redis_url: str = "", **variables: str) -> None:
        self.galera = galera
        self.looks_at = 1  # the member that plain SQL goes to; tests harm the first
        super().__init__(Backend("mysql+redis" if redis_url else "mysql", self.node_url(1), redis_url))
        self.env |= {
            "FLIGHTCTL_DATABASE_URL": galera.url(DATABASE),
            # Above what a cluster needs to do without a member that is silent (5 s).
            "FLIGHTCTL_DATABASE_ANSWER_TIMEOUT": "12s",
            "FLIGHTCTL_DATABASE_RETRY_TIMEOUT": "20s",
            **variables,
        }

    def node_url(self, number: int) -> str:
        return self.galera.nodes[number].url(DATABASE)

    def through(self, first: int) -> dict[str, str]:
        """The environment of somebody who prefers that member."""
        return {**self.env, "FLIGHTCTL_DATABASE_URL": self.galera.url(DATABASE, first)}

    def execute(self, sql, params=()):  # type: ignore[no-untyped-def]
        if self._connection is None:
            super().execute("SET SESSION wsrep_sync_wait = 7")
        return super().execute(sql, params)

    def violations_anywhere(self) -> list[str]:
        """What the independent checker finds on any member, and where members differ."""
        found = []
        for number, execute in enumerate(self.galera.caught_up(DATABASE), 1):
            found += [f"member {number}: {line}" for line in violations(execute)]
        return found


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
