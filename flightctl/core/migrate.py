"""Migrations: run Alembic's revisions on either back end, one process at a time."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from flightctl.core.errors import DatabaseUnavailableError, LockAcquisitionFailedError
from flightctl.core.schema import HEAD_REVISION, airports

if TYPE_CHECKING:
    from flightctl.core.database import Database

GROUP: Final = "group_replication_group_name"
_LOCK_NAME: Final = "flightctl_db_upgrade"
_LOCK_SECONDS: Final = 60
_LOOK_AGAIN_SECONDS: Final = 0.3
_UNKNOWN_DATABASE: Final = 1049
_DONE_BY_ANOTHER: Final = frozenset({1050, 1060, 1061, 1062, 1091, 1213, 1684, 1826, 3822, 1007, 1022})
"""Tables, columns, keys or rows that are there (or gone) already, or are being changed; and a conflict over them."""


def upgrade(database: "Database") -> str:
    """Bring ``database`` to HEAD_REVISION; create the file or the MySQL database when it is missing."""
    if database.embedded:
        with _file_lock(Path(database.address.database)):
            _run_revisions(database)
    else:
        _create_missing_database(database)
        _run_revisions(database)
    return HEAD_REVISION


@contextmanager
def _file_lock(database_file: Path) -> Iterator[None]:
    """Processes that find a fresh file at once migrate it in turn; the kernel frees a dead holder's lock."""
    try:
        database_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = open(f"{database_file}.lock", "w", encoding="ascii")  # noqa: SIM115 - closed below
    except OSError as error:
        raise DatabaseUnavailableError(
            f"{database_file} cannot be made: {error.strerror}",
            hint="Set FLIGHTCTL_DATABASE_URL, or XDG_DATA_HOME to a folder you may write to.",
        ) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _create_missing_database(database: "Database") -> None:
    try:
        with database.engine.connect():
            return
    except OperationalError as error:
        if getattr(error.orig, "args", (None,))[0] != _UNKNOWN_DATABASE:
            raise
    server = database.without_database()
    with server.connect() as connection:
        quoted = connection.dialect.identifier_preparer.quote_identifier(database.address.database)
        connection.exec_driver_sql(f"CREATE DATABASE IF NOT EXISTS {quoted} CHARACTER SET utf8mb4")
    server.dispose()


def _run_revisions(database: "Database") -> None:
    with database.engine.connect() as connection:
        if database.embedded:
            # All revisions in one transaction: a process that dies in the middle leaves the file as it was.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            _bring_up(connection)
            connection.exec_driver_sql("COMMIT")
            return
        got = connection.execute(
            text("SELECT GET_LOCK(:name, :seconds)"), {"name": _LOCK_NAME, "seconds": _LOCK_SECONDS}
        ).scalar()
        if got != 1:
            raise LockAcquisitionFailedError("another `flightctl db upgrade` is running")
        try:
            _bring_up_beside_others(connection)
        finally:
            if not connection.invalidated:
                connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": _LOCK_NAME})


def _bring_up_beside_others(connection: Connection) -> None:
    """GET_LOCK is local to one server. Of upgrades on several servers of Galera the first statement that both run
    (its servers run CREATE, ALTER and the like in one order) ends all but one; the others wait for that one. Group
    Replication has no such order.
    """
    if _cluster_of(connection) == GROUP:
        _bring_up_in_turn(connection)
        return
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            _bring_up(connection)
            return
        except DBAPIError as error:
            number = error.orig.args[0] if error.orig is not None and error.orig.args else None
            if number not in _DONE_BY_ANOTHER or time.monotonic() > until or not _cluster_of(connection):
                raise
        time.sleep(_LOOK_AGAIN_SECONDS)


def _bring_up_in_turn(connection: Connection) -> None:
    from flightctl.core.migrate_turn import turn

    if _is_whole(connection):
        return
    with turn(connection, _LOCK_SECONDS):
        _bring_up(connection)


def _is_whole(connection: Connection) -> bool:
    try:
        return current_of(connection) == HEAD_REVISION and _has_airports(connection)
    except DBAPIError:  # the tables are being changed at this moment
        return False


def _cluster_of(connection: Connection) -> str | None:
    """The variable that names the kind of cluster which the server belongs to."""
    from flightctl.core.database_nodes import CLUSTER_VARIABLES, look

    facts = look(connection.connection.driver_connection)
    return next((name for name in CLUSTER_VARIABLES if facts.get(name, "OFF") not in {"OFF", ""}), None)


def _bring_up(connection: Connection) -> None:
    if current_of(connection) != HEAD_REVISION:
        _alembic_upgrade(connection)
    _load_airports(connection)


def current_of(connection: Connection) -> str | None:
    from alembic.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _alembic_upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    from flightctl.core.database import schema_mismatch

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError:  # the database names a revision that this version does not have
        raise schema_mismatch(current_of(connection), HEAD_REVISION) from None


def _load_airports(connection: Connection) -> None:
    """Fill ``airports`` from the shipped table, once."""
    from flightctl.core.network import all_airports

    if _has_airports(connection):
        return
    rows = [
        {
            "iata": airport.iata,
            "name": airport.name[:120],
            "city": airport.city[:80],
            "country": airport.country,
            "time_zone": airport.zone,
            "latitude": airport.latitude,
            "longitude": airport.longitude,
        }
        for airport in all_airports()
    ]
    connection.execute(insert(airports), rows)


def _has_airports(connection: Connection) -> bool:
    return bool(connection.execute(select(func.count()).select_from(airports)).scalar())
