"""Statements of the hot paths: compiled once, and several sent in one round trip.

SQLAlchemy Core stays the one place where SQL is written; what is saved is its work per execution and, on MySQL, the
round trips: a booking's statements travel as one multi-statement query that ends in COMMIT, so that the flight's row
stays locked for the server's own work and no network's. (Measured against one round trip a statement with Core's
ordinary execution, 16 processes: `flightctl bench book`; the README has the ratio.) SQLite gets them one by one.
"""

from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Executable
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Select

from flightctl.core.database_errors import SEVERAL, server_unfit

Parameters = Mapping[str, Any]

# MariaDB, "BEGIN END" outside stored programs. BEGIN is the block's there, so a transaction needs its long name.
_BLOCK_HEAD: Final = (
    "BEGIN NOT ATOMIC DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END; START TRANSACTION"
)
ONE_BY_ONE: Final = "flightctl_one_by_one"
"""Key of ``Connection.info``: changes are sent one statement at a time. A Galera member may roll a transaction back
between two statements of one round trip without a word; what follows would then run, and commit, without it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of a batch; ``parameters`` is one mapping, or several for an INSERT of several rows."""

    statement: Executable
    parameters: Parameters | Sequence[Parameters]


class Prepared:
    """A Core statement for one dialect: SQL text, how to bind, and how to read its rows.

    An expanding parameter (``IN``) takes a list; an empty one is found nowhere.
    """

    def __init__(self, statement: Executable, keys: tuple[str, ...], dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=list(keys))  # type: ignore[attr-defined]
        self._sql: str = str(compiled)
        self._mark = "?" if dialect.paramstyle == "qmark" else "%s"
        self._defaults = compiled.construct_params(_check=False)
        names = compiled.positiontup or ()
        self._binds = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in names
        ]
        self._lists = {name: f"__[POSTCOMPILE_{name}]" for name in names if compiled.binds[name].expanding}
        self.make: Any = None
        if isinstance(statement, Select):
            columns = list(statement.selected_columns)
            self.make = namedtuple("Row", [column.key or f"c{i}" for i, column in enumerate(columns)])  # type: ignore[misc]
            self._readers = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]

    def sql(self, parameters: Parameters) -> str:
        """The text, with a placeholder for each value of ``arguments``."""
        text = self._sql
        for name, place in self._lists.items():
            text = text.replace(place, ", ".join([self._mark] * len(parameters[name])) or "NULL")
        return text

    def arguments(self, parameters: Parameters) -> tuple[Any, ...]:
        """Positional driver values."""
        values: list[Any] = []
        for name, process in self._binds:
            value = parameters[name] if name in parameters else self._defaults[name]
            if name in self._lists:
                values += value if process is None else map(process, value)
            else:
                values.append(value if process is None else process(value))
        return tuple(values)

    def rows(self, raw: Sequence[Sequence[Any]]) -> list[Any]:
        """The driver's rows as named tuples of Python values."""
        return [
            self.make._make(
                value if read is None else read(value) for value, read in zip(row, self._readers, strict=True)
            )
            for row in raw
        ]


_CACHE: Final[dict[tuple[Executable, tuple[str, ...], str], Prepared]] = {}


def prepare(statement: Executable, parameters: Parameters, dialect: Dialect) -> Prepared:
    keys = tuple(parameters)
    prepared = _CACHE.get((statement, keys, dialect.name))
    if prepared is None:
        prepared = _CACHE[statement, keys, dialect.name] = Prepared(statement, keys, dialect)
    return prepared


def insert_many(connection: Connection, statement: Executable, rows: Sequence[Parameters]) -> None:
    """The driver's own executemany, which PyMySQL sends as INSERTs of many rows. Core's way to it costs twice the
    driver's work for each row (`flightctl bench seed`)."""
    prepared = prepare(statement, rows[0], connection.dialect)
    connection.exec_driver_sql(prepared.sql(rows[0]), [prepared.arguments(row) for row in rows])


def send(connection: Connection, steps: Sequence[Step], *, transaction: bool) -> list[list[Any]]:
    """Execute the steps in order; the rows of each (none for what is no SELECT).

    With ``transaction`` they begin and commit one: on MySQL all in one round trip, which stops at the first error and
    has then committed nothing. Raises DBAPIError; the caller rolls back.
    """
    if connection.dialect.name == "sqlite":
        return _one_by_one(connection, steps, "BEGIN IMMEDIATE" if transaction else None)
    if connection.info.get(ONE_BY_ONE) and not all(isinstance(step.statement, Select) for step in steps):
        return _one_by_one(connection, steps, "START TRANSACTION" if transaction else None)
    return _all_at_once(connection, steps, transaction)


def _one_by_one(connection: Connection, steps: Sequence[Step], begin: str | None) -> list[list[Any]]:
    if begin:
        connection.exec_driver_sql(begin)
    results = []
    for step in steps:
        rows: list[Any] = []
        for parameters in _each(step):
            prepared = prepare(step.statement, parameters, connection.dialect)
            result = connection.exec_driver_sql(prepared.sql(parameters), prepared.arguments(parameters))
            if prepared.make is not None:
                rows += prepared.rows(result.fetchall())
        results.append(rows)
    if begin:
        connection.exec_driver_sql("COMMIT")
    return results


def _each(step: Step) -> Sequence[Parameters]:
    return [step.parameters] if isinstance(step.parameters, Mapping) else step.parameters


class _Batch:
    """Statements that are sent together: their text with placeholders, its arguments, and who reads each result."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.texts: list[str] = []
        self.arguments: list[Any] = []
        self.readers: list[Prepared | None] = []

    def surround(self, first: str, last: str) -> None:
        """Statements without rows before and after all others."""
        self.texts = [first, *self.texts, last]
        self.readers = [None, *self.readers, None]

    def add(self, step: Step) -> None:
        """An INSERT of several rows becomes one statement."""
        each = _each(step)
        prepared = prepare(step.statement, each[0], self._dialect)
        text = prepared.sql(each[0])
        if len(each) > 1:
            head, values, group = text.partition(" VALUES ")
            text = head + values + ", ".join([group] * len(each))
        for parameters in each:
            self.arguments += prepared.arguments(parameters)
        self.texts.append(text)
        self.readers.append(prepared if prepared.make is not None else None)


def _all_at_once(connection: Connection, steps: Sequence[Step], transaction: bool) -> list[list[Any]]:
    batch = _Batch(connection.dialect)
    for step in steps:
        batch.add(step)
    if not transaction:
        return _execute(connection, ";".join(batch.texts), batch)
    if getattr(connection.dialect, "is_mariadb", False):
        return _execute_block(connection, batch)
    batch.surround("START TRANSACTION", "COMMIT")
    return _execute(connection, ";".join(batch.texts), batch)[1:-1]


def _execute_block(connection: Connection, batch: _Batch) -> list[list[Any]]:
    """As one compound statement: rows come as before, but of all else there is one answer instead of one a statement,
    and an error rolls back where it happens, so that a refused buyer frees the rows without another round trip.
    (A booking's client spends 0.75 of the time on it, 16 of them make 1.2 times as many a second.)
    """
    text = ";".join([_BLOCK_HEAD, *batch.texts, "COMMIT", "END"])
    positions = [position for position, reader in enumerate(batch.readers) if reader is not None]
    count = len(batch.readers)
    batch.readers = [batch.readers[position] for position in positions] + [None]
    results: list[list[Any]] = [[] for _ in range(count)]
    for position, rows in zip(positions, _execute(connection, text, batch)[:-1], strict=True):
        results[position] = rows
    return results


def _execute(connection: Connection, text: str, batch: _Batch) -> list[list[Any]]:
    """Through the driver's own cursor: SQLAlchemy's results end with the first statement. Its errors are kept."""
    results: list[list[Any]] = []
    driver: Any = connection.connection.driver_connection
    driver_error: Any = connection.dialect.loaded_dbapi.Error
    try:
        cursor = driver.cursor()
        cursor.execute(text, batch.arguments)
        for position, prepared in enumerate(batch.readers):
            if position and not cursor.nextset():
                raise AssertionError("the server answered fewer statements than were sent")
            results.append([] if prepared is None else prepared.rows(cursor.fetchall()))
        cursor.close()
    except driver_error as error:
        several = connection.get_execution_options().get(SEVERAL, False)
        lost = connection.dialect.is_disconnect(error, None, None) or server_unfit(error, several=several)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            "a batch", None, error, driver_error, connection_invalidated=lost, dialect=connection.dialect
        ) from error
    return results
