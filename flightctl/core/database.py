"""The engine, transactions that are retried whole, and the few differences between SQLite and MySQL.

Every use case hands ``Database.run`` a function of one transaction. It commits when the function returns and rolls
back when it raises; on a deadlock, a lock timeout or a lost connection the *whole* function runs again in a new
transaction (MySQL manual, "How to Minimize and Handle Deadlocks"), so it must have no effect outside its transaction.
"""

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, CursorResult, Engine, Executable, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from flightctl.core.counters import Counters
from flightctl.core.database_errors import Trouble, diagnose, duplicate_key, translate, violated_check
from flightctl.core.errors import (
    ConfigError,
    DatabaseUnavailableError,
    LockAcquisitionFailedError,
    OutcomeUnknownError,
    SchemaMismatchError,
)
from flightctl.core.prepared import Step, insert_many, send
from flightctl.core.settings import Settings, mask_url

T = TypeVar("T")

SQLITE_BUSY_SECONDS: Final = 10
CONFLICT_ATTEMPTS: Final = 12
"""Tries of one transaction before its conflicts are reported: at 16 writers on one row the longest seen was 4."""
LOCK_TIMEOUT_ATTEMPTS: Final = 2
"""A lock timeout has already waited for database.lock_timeout; one more wait is all that an agent bears."""
_IN_TRANSACTION: Final = 1
"""SERVER_STATUS_IN_TRANS of the protocol's status flags."""
_BACKOFF_START, _BACKOFF_LIMIT = 0.004, 0.25


class Conflict(Exception):  # noqa: N818 - not an error: the transaction runs again
    """A guarded UPDATE lost to another transaction that the lock should have kept out (locks are local to a node)."""


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

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = parse_url(settings["database.url"])
        self._engine: Engine | None = None
        self._checked = False
        self.counters = Counters()
        """``retries.conflict``, ``retries.lock_timeout`` and ``retries.connection``: transactions that ran again."""
        self._renewed = False
        self._file: tuple[int, int] | None = None

    @property
    def embedded(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = _sqlite_engine(self._url) if self.embedded else _mysql_engine(self._url, self._settings)
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
        tries = _Tries(self._settings["database.retry_timeout"], self.counters)
        while True:
            operation.committing = False
            try:
                self._ensure_schema()
                with self._connection() as connection:
                    tries.connected = True
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

        current = self._revision_again() if self._renewed else self.current_revision()
        if current != HEAD_REVISION and self.embedded and (current is None or current < HEAD_REVISION):
            self.upgrade()
        elif current != HEAD_REVISION:
            raise schema_mismatch(current, HEAD_REVISION)
        self._checked = True
        self._file = _identity(self._url) if self.embedded else None

    def _revision_again(self) -> str | None:
        """As a fresh process would see it: over no dead connection, and not in a file that was replaced by another."""
        self._renewed = False
        if not self.embedded or self._file == _identity(self._url):
            try:
                return self.current_revision()
            except DBAPIError:
                pass
        self.close()
        return self.current_revision()

    def current_revision(self) -> str | None:
        """The schema's revision in the database, None for an empty one."""
        if self.embedded and not self._url.database:
            raise ConfigError("database.url names no SQLite file", hint="Write sqlite:////path/to/file.db.")
        from sqlalchemy.exc import OperationalError, ProgrammingError

        with self.engine.connect() as connection:
            try:
                row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
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
    def url(self) -> URL:
        return self._url

    @property
    def label(self) -> str:
        """The URL without its password, for people."""
        return mask_url(self._url.render_as_string(hide_password=True))


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


def _in_transaction(driver: Any) -> bool:
    """SQLite refuses a ROLLBACK without a transaction, and a server takes a round trip for it: half of what a sold-out
    flight costs its buyers. PyMySQL keeps the word of the server's last success; what it does not know is a yes."""
    if hasattr(driver, "in_transaction"):
        return bool(driver.in_transaction)
    return bool(getattr(driver, "server_status", _IN_TRANSACTION) & _IN_TRANSACTION)


class _Tries:
    """Counts the failures of one transaction and decides between another try and an error."""

    def __init__(self, retry_seconds: float, counters: Counters) -> None:
        self._retry_seconds = retry_seconds
        self._counters = counters
        self._conflicts = self._timeouts = self._losses = 0
        self._lost_at: float | None = None
        self.connected = False

    def pause_or_give_up(self, error: DBAPIError | Conflict, trouble: Trouble, operation: Operation) -> None:
        if trouble is Trouble.CONFLICT:
            self._conflicts += 1
            if self._conflicts < CONFLICT_ATTEMPTS:
                self._counters.add("retries.conflict")
                time.sleep(_jitter(self._conflicts))
                return
        elif trouble is Trouble.LOCK_TIMEOUT:
            self._timeouts += 1
            if self._timeouts < LOCK_TIMEOUT_ATTEMPTS:
                self._counters.add("retries.lock_timeout")
                return
        elif trouble in {Trouble.DISCONNECTED, Trouble.UNREACHABLE} and self.connected:
            # A server that never answered fails at once; one that went away in mid-work is looked for again.
            now = time.monotonic()
            self._lost_at = self._lost_at or now
            self._losses += 1
            if now - self._lost_at < self._retry_seconds:
                self._counters.add("retries.connection")
                time.sleep(_jitter(self._losses + 3))
                return
        if operation.commit_unknown:
            raise OutcomeUnknownError(
                "the database went away while it was committing, so it is not known whether this happened"
            ) from error
        if trouble in {Trouble.CONFLICT, Trouble.LOCK_TIMEOUT} or isinstance(error, Conflict):
            raise LockAcquisitionFailedError("the rows it needs stayed locked by others") from error
        raise translate(error) from error


def _jitter(attempt: int) -> float:
    limit = min(_BACKOFF_LIMIT, _BACKOFF_START * 2**attempt)
    return random.uniform(limit / 4, limit)  # noqa: S311 - spreads retries, guards nothing


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


def parse_url(raw: str) -> URL:
    """Raises ConfigError for anything but an SQLite, MySQL or MariaDB URL."""
    try:
        url = make_url(raw)
        backend = url.get_backend_name()
        incomplete = url.port is not None and not 0 < url.port < 65536
        incomplete |= backend != "sqlite" and not (url.database and (url.host or "unix_socket" in url.query))
    except (ArgumentError, ValueError, NoSuchModuleError):
        backend, incomplete = "", False
    if backend not in {"sqlite", "mysql", "mariadb"} or incomplete:
        raise ConfigError(
            f"database.url {mask_url(raw)[:120]!r} is not a database URL flightctl knows",
            hint="Write mysql+pymysql://user:password@host:3306/name or sqlite:////path/to/file.db.",
        )
    if backend == "sqlite":
        return url.set(drivername="sqlite+pysqlite")
    return url.set(drivername="mysql+pymysql")


def _identity(url: URL) -> tuple[int, int] | None:
    """Which file stands there now, whatever stood there before."""
    try:
        found = os.stat(url.database or "")
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sqlite_engine(url: URL) -> Engine:
    from pathlib import Path

    if url.database and url.database != ":memory:":
        try:
            Path(url.database).expanduser().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise DatabaseUnavailableError(
                f"the folder of {url.database} cannot be made: {error.strerror}",
                hint="Set FLIGHTCTL_DATABASE_URL, or XDG_DATA_HOME to a folder you may write to.",
            ) from error
    # AUTOCOMMIT: transactions are begun and ended by statements here, so that nothing else sends any.
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        connect_args={"timeout": SQLITE_BUSY_SECONDS},
    )

    @event.listens_for(engine, "connect")
    def _configure(dbapi_connection: Any, _record: Any) -> None:
        cursor = dbapi_connection.cursor()
        # busy_timeout first: turning WAL on needs a lock that another newcomer may hold.
        cursor.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_SECONDS * 1000}")
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def _mysql_engine(url: URL, settings: Settings) -> Engine:
    from pymysql.constants import CLIENT

    lock_timeout = max(1, round(settings["database.lock_timeout"]))
    modes = "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
    query = {"charset": "utf8mb4", **url.query}
    return create_engine(
        url.set(query=query),
        paramstyle="format",  # by position, as SQLite's: what prepare() binds
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        pool_reset_on_return=None,  # Database rolls back what it began
        pool_pre_ping=False,  # a lost connection is found, and the transaction run again, by Database
        pool_size=8,
        connect_args={
            "autocommit": True,
            "client_flag": CLIENT.MULTI_STATEMENTS,
            # Else PyMySQL reads every certificate authority of the system at each connect: 40 ms, also for a server
            # that has no TLS to offer.
            "ssl_disabled": not any(name.startswith("ssl") for name in url.query),
            "connect_timeout": max(1, round(settings["database.connect_timeout"])),
            "read_timeout": 60,
            "write_timeout": 60,
            # READ COMMITTED takes no gap locks: holders of one booking do not block inserts next to it.
            "init_command": f"SET SESSION time_zone='+00:00', innodb_lock_wait_timeout={lock_timeout}, "
            f"sql_mode='{modes}';SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        },
    )
