"""Fixtures of the races: a small world on each back end, and a crew of processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.concurrency.crew import Crew
from tests.concurrency.support import World, warnings
from tests.conftest import Backend

# `locking: redis` is in force with Redis and without effect without; `mysql+redis/database` has the cache alone.
CONFIGURATIONS = ("sqlite", "mysql", "mysql+redis", "mysql+redis/database")


def _backend(request: pytest.FixtureRequest, name: str) -> Backend:
    url = request.getfixturevalue("migrated_sqlite_url" if name == "sqlite" else "migrated_mysql_url")
    return Backend(name, url, request.getfixturevalue("redis_url") if "redis" in name else "")


@pytest.fixture(params=CONFIGURATIONS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """An empty world in every configuration; `@on("mysql", …)` for some."""
    name: str = request.param
    variables = {"FLIGHTCTL_LOCKING": "database"} if name.endswith("/database") else {}
    warnings.clear()
    made = World(_backend(request, name.partition("/")[0]), **variables)
    yield made
    made.close()


def on(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("world", names, indirect=True)


@pytest.fixture(scope="session")
def crew() -> Iterator[Crew]:
    """Twenty processes, idle until a test gives them something to do."""
    made = Crew(20)
    yield made
    made.close()
