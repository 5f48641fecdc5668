"""One database per server for all of these tests, emptied in between, and the invariants checked after every one."""

import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import CONNECTIONS, DATABASES, TABLES, World
from tests.conftest import BACKENDS, Backend
from tests.servers import SchemaCopy, mysql_connection


@pytest.fixture(scope="session")
def emptied_mysql(mariadb: Any, migrated_schema: SchemaCopy) -> Iterator[tuple[str, Any]]:
    """A migrated database that outlives the test, and a connection to empty it: a new one takes half a second."""
    name = f"flightctl_test_{uuid.uuid4().hex[:12]}"
    mariadb.create_database(name)
    migrated_schema.make(name)
    connection = mysql_connection(mariadb.url(name))
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION foreign_key_checks = 0, innodb_lock_wait_timeout = 5")
    yield mariadb.url(name), connection
    connection.close()
    mariadb.drop_database(name)


@pytest.fixture(scope="session")
def emptied_sqlite(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    copy = tmp_path_factory.mktemp("emptied") / "flightctl.db"
    shutil.copyfile(migrated_sqlite, copy)
    connection = sqlite3.connect(copy, timeout=10, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    yield f"sqlite:///{copy}", connection
    connection.close()


@pytest.fixture(scope="session", autouse=True)
def shared_databases() -> Iterator[None]:
    yield
    for kept in (DATABASES, CONNECTIONS):
        for store in kept.values():
            store.close()
        kept.clear()


def _empty(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("BEGIN")
    for table in TABLES:
        cursor.execute(f"DELETE FROM {table}")
    cursor.execute("UPDATE schedule_state SET version = 0")
    cursor.execute("COMMIT")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """As the fixture of the same name for all tests, but quicker."""
    name: str = request.param
    redis_url = request.getfixturevalue("redis_url") if name.endswith("+redis") else ""
    url, connection = request.getfixturevalue("emptied_sqlite" if name == "sqlite" else "emptied_mysql")
    _empty(connection)
    return Backend(name, url, redis_url)


@pytest.fixture
def world(backend: Backend) -> Iterator[World]:
    """A back end without flights, with everything a test needs to ask of it."""
    made = World(backend)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def invariants(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test did: the seats, the money and the stories are right when it ends."""
    if "world" not in request.fixturenames:
        yield
        return
    made: World = request.getfixturevalue("world")
    yield
    if not made.unchecked:
        assert made.faults() == []
