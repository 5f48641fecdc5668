"""SQLAlchemy engines: one file, one server, or the first usable of several servers."""

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext

from flightctl.core.database_errors import SEVERAL, server_unfit
from flightctl.core.database_tls import split_query, tls_context
from flightctl.core.database_url import Address
from flightctl.core.errors import DatabaseUnavailableError
from flightctl.core.prepared import ONE_BY_ONE
from flightctl.core.settings import Settings

if TYPE_CHECKING:
    from flightctl.core.database_nodes import Nodes

SQLITE_BUSY_SECONDS: Final = 10
DEFAULT_PORT: Final = 3306
RETURN_SECONDS: Final = 300
"""With several servers a connection is made anew after this: to the preferred one, when it is back."""


_LONGEST_TEXT: Final = 16 * 2**20
"""Bytes of a GROUP_CONCAT: as many as a packet holds with the servers' defaults."""


def make_engine(address: Address, settings: Settings, *, writing: bool = True) -> Engine:
    """Nothing is connected yet."""
    return _sqlite_engine(address.url) if address.embedded else _mysql_engine(address, settings, writing)


def _sqlite_engine(url: URL) -> Engine:
    from pathlib import Path

    if url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
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


def _mysql_engine(address: Address, settings: Settings, writing: bool) -> Engine:
    from pymysql.constants import CLIENT

    from flightctl.core.database_dialect import DRIVER, facts_of

    url = address.url
    lock_timeout = max(1, round(settings["database.lock_timeout"]))
    modes = "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
    rest, _ = split_query(url.query)
    tls = tls_context(url.query, settings)
    answer_timeout = settings["database.answer_timeout"]
    engine = create_engine(
        url.set(drivername=DRIVER, query={"charset": "utf8mb4", **rest}),
        execution_options={SEVERAL: address.several},
        paramstyle="format",  # by position, as SQLite's: what prepare() binds
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        pool_reset_on_return=None,  # Database rolls back what it began
        pool_pre_ping=False,  # a lost connection is found, and the transaction run again, by Database
        pool_size=8,
        pool_recycle=RETURN_SECONDS if address.several else -1,
        connect_args={
            "autocommit": True,
            # In place of what SQLAlchemy would ask for: an UPDATE counts the rows it matched, as SQLite's does.
            "client_flag": CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS,
            # Else PyMySQL reads every certificate authority of the system at each connect: 40 ms, also for a server
            # that has no TLS to offer.
            **({"ssl_disabled": True} if tls is None else {"ssl": tls}),
            "connect_timeout": max(1, round(settings["database.connect_timeout"])),
            "read_timeout": answer_timeout,
            "write_timeout": answer_timeout,
            # READ COMMITTED takes no gap locks: holders of one booking do not block inserts next to it. MariaDB's rowid
            # filters would lock whatever a second index finds, e.g. all open holds for those of one booking.
            "init_command": f"SET SESSION time_zone='+00:00', innodb_lock_wait_timeout={lock_timeout}, "
            "/*M!100400 optimizer_switch='rowid_filter=off', */ "
            f"sql_mode='{modes}', group_concat_max_len={_LONGEST_TEXT};"
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        },
    )

    @event.listens_for(engine, "connect")
    def _note_galera(connection: Any, record: Any) -> None:
        record.info[ONE_BY_ONE] = facts_of(connection).galera

    @event.listens_for(engine, "handle_error")
    def _leave_unfit_server(context: ExceptionContext) -> None:
        if server_unfit(context.original_exception, several=address.several):
            context.is_disconnect = True

    if address.several:
        nodes = make_nodes(address, settings, writing=writing)

        @event.listens_for(engine, "do_connect")
        def _first_usable(_dialect: Any, _record: Any, _positional: Any, arguments: dict[str, Any]) -> Any:
            return nodes.connect(arguments)

        @event.listens_for(engine, "invalidate")
        def _ask_it_last(connection: Any, _record: Any, _error: Any) -> None:
            nodes.failed(connection)

    return engine


def make_nodes(address: Address, settings: Settings, *, writing: bool = True) -> "Nodes":
    """The servers of one database, to be connected to."""
    from flightctl.core.database_nodes import Nodes

    hosts = [(str(node.host), node.port or DEFAULT_PORT) for node in address.nodes]
    return Nodes(hosts, settings["database.connect_timeout"], writing=writing)
