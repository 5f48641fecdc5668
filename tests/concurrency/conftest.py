"""Fixtures of the races: a small world on each back end, and a crew of processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.concurrency.crew import Crew
from tests.concurrency.support import World, warnings
from tests.conftest import Backend, _database_name
from tests.servers import ExternalMySQL, MariaDB, SchemaCopy

# `locking: redis` is in force with Redis and without effect without; `mysql+redis/database` has the cache alone.
CONFIGURATIONS = ("sqlite", "mysql", "mysql+redis", "mysql+redis/database")


@pytest.fixture(scope="session")
def common_mysql_url(mariadb: MariaDB | ExternalMySQL, migrated_schema: SchemaCopy) -> Iterator[str]:
    """A database that most of these tests share, one after the other: they begin by emptying its tables."""
    name = _database_name()
    mariadb.create_database(name)
    migrated_schema.make(name)
    yield mariadb.url(name)
    mariadb.drop_database(name)


def _backend(request: pytest.FixtureRequest, name: str, own: bool) -> Backend:
    if name == "sqlite":
        url = request.getfixturevalue("migrated_sqlite_url")
    else:
        url = request.getfixturevalue("migrated_mysql_url" if own else "common_mysql_url")
    return Backend(name, url, request.getfixturevalue("redis_url") if "redis" in name else "")


@pytest.fixture(params=CONFIGURATIONS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """An empty world in every configuration; `@on("mysql", …)` for some."""
    name, _, own = str(request.param).partition(" ")
    name, _, locking = name.partition("/")
    variables = {"FLIGHTCTL_LOCKING": locking} if locking else {}
    warnings.clear()
    made = World(_backend(request, name, bool(own)), **variables)
    yield made
    made.close()


def on(*names: str, own: bool = False) -> pytest.MarkDecorator:
    """Those configurations only; with ``own`` in a database that no other test uses, for those that change tables."""
    return pytest.mark.parametrize("world", [f"{name} own" if own else name for name in names], indirect=True)


@pytest.fixture(scope="session")
def crew() -> Iterator[Crew]:
    """Twenty processes, idle until a test gives them something to do."""
    made = Crew(20)
    yield made
    made.close()
