"""The engine, transactions that are retried whole, and the few differences between SQLite and MySQL.

Every use case hands ``Database.run`` a function of one transaction. It commits when the function returns and rolls
back when it raises; on a deadlock, a lock timeout or a lost connection the *whole* function runs again in a new
transaction (MySQL manual, "How to Minimize and Handle Deadlocks"), so it must have no effect outside its transaction.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import Connection, CursorResult, Engine, Executable
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from flightctl.core.counters import Counters
from flightctl.core.database_engine import make_engine, make_nodes
from flightctl.core.database_errors import Trouble, diagnose, duplicate_key, translate, violated_check
from flightctl.core.database_tries import Conflict, Tries
from flightctl.core.database_url import Address, configured_address
from flightctl.core.errors import ConfigError, FlightctlError, SchemaMismatchError
from flightctl.core.prepared import Step, insert_many, send
from flightctl.core.settings import Settings

if TYPE_CHECKING:
    from flightctl.core.database_nodes import NodeState

T = TypeVar("T")

_IN_TRANSACTION: Final = 1
"""SERVER_STATUS_IN_TRANS of the protocol's status flags."""
_MAY_BE_STALE: Final = frozenset({3, 6})
"""Exit statuses of errors that tell of a state, which a server that lags behind its cluster may not know yet."""

__all__ = ["Conflict", "Database", "Operation", "Transaction", "schema_mismatch"]


@dataclass(slots=True)
class Operation:
    """One command's work through all its tries.

    ``id`` is stored with the events it writes; ``commit_unknown`` is set when a COMMIT got no answer, so that the next
    try can tell its own earlier success (an event with this id) from somebody else's.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    committing: bool = False
    """Whether this try has sent its COMMIT."""
    commit_unknown: bool = False
    up_to_date: bool = False
    """Whether reads must wait for what the cluster has committed elsewhere."""


class Transaction:
    """One try. Statements go through here; nothing else holds the connection."""

    def __init__(self, connection: Connection, operation: Operation) -> None:
        self._connection = connection
        self.operation = operation
        self.dialect = connection.dialect.name

    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        result = self._connection.execute(statement, parameters)
        assert isinstance(result, CursorResult)
        return result

    def fetch(self, steps: Sequence[Step]) -> list[list[Any]]:
        """Several statements, on a server in one round trip; the rows of each."""
        return send(self._connection, steps, transaction=False)

    def insert(self, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> None:
        """INSERT many rows of the same keys, on a server some thousands in one statement."""
        insert_many(self._connection, statement, rows)

    def change(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> int:
        """Rows that the guarded UPDATE, INSERT or DELETE matched."""
        return self.execute(statement, parameters).rowcount


class Database:
    """A MySQL or MariaDB server, or an SQLite file that is created and migrated on first use."""

    def __init__(self, settings: Settings, *, key: str = "database.url", writing: bool = True) -> None:
        """``key`` is the setting that errors name; without ``writing`` a read-only server will do."""
        self._settings = settings
        self._writing = writing
        self._address = configured_address(settings, key)
        self._engine: Engine | None = None
        self._checked = False
        self.counters = Counters()
        """``retries.conflict``, ``retries.lock_timeout`` and ``retries.connection``: transactions that ran again."""
        self._renewed = False
        self._file: tuple[int, int] | None = None

    @property
    def embedded(self) -> bool:
        return self._address.embedded

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = make_engine(self._address, self._settings, writing=self._writing)
        return self._engine

    def renew(self) -> None:
        """For another command of the same process: what changed while nothing was asked is found at its first
        question, before any work, and not by a statement that then counts as lost."""
        self._renewed = self._engine is not None

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def read(
        self, work: Callable[[Transaction], T], *, snapshot: bool = False, operation: Operation | None = None
    ) -> T:
        """Run ``work``, which only reads. With ``snapshot`` all its statements see the database at one moment;
        without, on a server, each sees what is committed when it runs.

        Raises as ``run`` does: OutcomeUnknownError when it was to tell what became of ``operation``'s lost COMMIT.
        """

        def attempt(connection: Connection, operation: Operation) -> T:
            for statement in _BEGIN_READING[self.embedded, snapshot]:
                connection.exec_driver_sql(statement)
            result = work(Transaction(connection, operation))
            if self.embedded or snapshot:
                connection.exec_driver_sql("COMMIT")
            return result

        return self._until_done(attempt, operation or Operation())

    def run(self, work: Callable[[Transaction], T], *, operation: Operation | None = None) -> T:
        """Run ``work`` in a transaction and commit.

        Raises what ``work`` raises (rolled back; of the driver's errors only IntegrityError for a duplicate key),
        LockAcquisitionFailedError after every retry, DatabaseUnavailableError when nothing was committed for want of a
        server, OutcomeUnknownError when a COMMIT got no answer and the server stayed away.
        """

        def attempt(connection: Connection, operation: Operation) -> T:
            # SQLite: a deferred transaction that reads and then writes fails with SQLITE_BUSY_SNAPSHOT.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if self.embedded else "START TRANSACTION")
            result = work(Transaction(connection, operation))
            operation.committing = True
            connection.exec_driver_sql("COMMIT")
            return result

        return self._until_done(attempt, operation or Operation())

    def send(self, steps: Sequence[Step], *, operation: Operation | None = None) -> list[list[Any]]:
        """Run ``steps`` as one transaction, on a server in one round trip; the rows of each.

        For changes whose every guard is the database's own: a statement that must not go on fails by a constraint.
        Raises as ``run`` does, and IntegrityError or OperationalError for a violated CHECK (``violated_check``).
        """

        def attempt(connection: Connection, operation: Operation) -> list[list[Any]]:
            operation.committing = True  # whatever is lost on the way, the COMMIT may have got through
            return send(connection, steps, transaction=True)

        return self._until_done(attempt, operation or Operation())

    def _until_done(self, attempt: Callable[[Connection, Operation], T], operation: Operation) -> T:
        tries = Tries(self._settings["database.retry_timeout"], self.counters)
        while True:
            operation.committing = False
            try:
                self._ensure_schema()
                with self._connection() as connection:
                    tries.connected = True
                    if operation.up_to_date or operation.commit_unknown:
                        _wait_for_cluster(connection)
                    return attempt(connection, operation)
            except Conflict as conflict:
                tries.pause_or_give_up(conflict, Trouble.CONFLICT, operation)
            except DBAPIError as error:
                trouble = diagnose(error)
                if operation.committing and trouble is Trouble.DISCONNECTED:
                    operation.commit_unknown = True
                if duplicate_key(error) is not None or (operation.committing and violated_check(error)):
                    raise
                tries.pause_or_give_up(error, trouble, operation)
            except FlightctlError as error:
                # What is not there, or in the wrong state, may be news that has not come to this server.
                if not self._address.several or operation.up_to_date or error.exit_status not in _MAY_BE_STALE:
                    raise
                operation.up_to_date = True

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A connection of the pool; whatever fails on it is rolled back before it goes back there."""
        with self.engine.connect() as connection:
            try:
                yield connection
            except Exception:
                _roll_back(connection)
                raise
            except BaseException:  # interrupted between a question and its answer: nobody may use it again
                connection.invalidate()
                raise

    def _ensure_schema(self) -> None:
        if self._checked and not self._renewed:
            return
        from flightctl.core.schema import HEAD_REVISION

        current = self._revision_again() if self._renewed else self._first_revision()
        if current != HEAD_REVISION and self.embedded and (current is None or current < HEAD_REVISION):
            self.upgrade()
        elif current != HEAD_REVISION:
            raise schema_mismatch(current, HEAD_REVISION)
        self._checked = True
        self._file = _identity(self._address.url) if self.embedded else None

    def _first_revision(self) -> str | None:
        """What a server told when the connection was made: nothing more is asked where that is the one expected."""
        if self.embedded:
            return self.current_revision()
        from flightctl.core.database_dialect import facts_of
        from flightctl.core.schema import HEAD_REVISION

        with self.engine.connect() as connection:
            told = facts_of(connection.connection.driver_connection).revision
        return told if told == HEAD_REVISION else self.current_revision()

    def _revision_again(self) -> str | None:
        """As a fresh process would see it: over no dead connection, and not in a file that was replaced by another."""
        self._renewed = False
        if not self.embedded or self._file == _identity(self._address.url):
            try:
                return self.current_revision()
            except DBAPIError:
                pass
        self.close()
        return self.current_revision()

    def current_revision(self) -> str | None:
        """The schema's revision in the database, None for an empty one."""
        if self.embedded and not self._address.database:
            raise ConfigError("database.url names no SQLite file", hint="Write sqlite:////path/to/file.db.")
        from sqlalchemy.exc import OperationalError, ProgrammingError

        with self.engine.connect() as connection:
            try:
                row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
            except (OperationalError, ProgrammingError) as error:
                if diagnose(error) is Trouble.SCHEMA:
                    return None
                raise
        return None if row is None else str(row[0])

    def revision(self) -> str | None:
        """``current_revision`` for people: raises DatabaseUnavailableError and its kin, not the driver's errors."""
        try:
            return self.current_revision()
        except DBAPIError as error:
            raise translate(error) from error

    def upgrade(self) -> str:
        """Migrate to the newest revision and return it. Any number of processes may call it at once."""
        from flightctl.core.migrate import upgrade

        try:
            return upgrade(self)
        except DBAPIError as error:
            raise translate(error) from error

    @property
    def address(self) -> Address:
        return self._address

    @property
    def label(self) -> str:
        """The URL without its password, for people."""
        return self._address.render()

    def without_database(self) -> Engine:
        """An engine for the same servers that opens no database."""
        return make_engine(self._address.named(""), self._settings)

    def examine_nodes(self) -> "list[NodeState]":
        """The state of each server, where there are several. Raises FlightctlError when they refuse the account."""
        if not self._address.several:
            return []
        arguments = self.engine.dialect.create_connect_args(self._address.url)[1]
        try:
            return make_nodes(self._address, self._settings).examine(arguments)
        except self.engine.dialect.loaded_dbapi.Error as error:
            raise translate(DBAPIError("", None, error)) from error


_BEGIN_READING: Final = {
    # (embedded, snapshot): SQLite's readers see one moment anyway.
    (True, False): ("BEGIN",),
    (True, True): ("BEGIN",),
    (False, False): (),
    (False, True): (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ),
}


def _roll_back(connection: Connection) -> None:
    if connection.invalidated or connection.closed:
        return
    try:
        driver = connection.connection.driver_connection
        if _in_transaction(driver):
            connection.exec_driver_sql("ROLLBACK")
    except DBAPIError as error:
        connection.invalidate(error)


def _wait_for_cluster(connection: Connection) -> None:
    """For the life of the connection: so that what a server tells is never older than what its cluster knew."""
    if connection.dialect.name == "sqlite" or connection.info.get("up_to_date"):
        return
    from flightctl.core.database_nodes import wait_for_cluster

    driver: Any = connection.connection.driver_connection
    try:
        wait_for_cluster(driver)
    except connection.dialect.loaded_dbapi.Error as error:
        connection.invalidate(error)
        raise DBAPIError("", None, error, connection_invalidated=True) from error
    connection.info["up_to_date"] = True


def _in_transaction(driver: Any) -> bool:
    """SQLite refuses a ROLLBACK without a transaction, and a server takes a round trip for it: half of what a sold-out
    flight costs its buyers. PyMySQL keeps the word of the server's last success; what it does not know is a yes."""
    if hasattr(driver, "in_transaction"):
        return bool(driver.in_transaction)
    return bool(getattr(driver, "server_status", _IN_TRANSACTION) & _IN_TRANSACTION)


def schema_mismatch(current: str | None, expected: str) -> SchemaMismatchError:
    """The error for a database whose schema is ``current`` where this flightctl needs ``expected``."""
    details = {"current": current, "expected": expected}
    if current is None:
        return SchemaMismatchError("the database has no flightctl schema yet", details=details)
    if current < expected:
        return SchemaMismatchError(
            f"the database's schema {current} is older than this flightctl's {expected}", details=details
        )
    return SchemaMismatchError(
        f"the database's schema {current} is newer than this flightctl's {expected}",
        hint="Install the flightctl whose `flightctl db upgrade` made it; schemas do not go back.",
        details=details,
    )


def _identity(url: URL) -> tuple[int, int] | None:
    """Which file stands there now, whatever stood there before."""
    try:
        found = os.stat(url.database or "")
    except OSError:
        return None
    return found.st_dev, found.st_ino
