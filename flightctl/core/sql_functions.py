"""Functions that each back end writes in its own way."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Integer, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import InternalTraversal

from flightctl.core.sql_types import CENTS, UtcDateTime


class utc_now(ColumnElement[datetime]):  # noqa: N801 - it reads as the SQL function that it is
    """The database's clock plus ``seconds``: the one clock that decides expiry."""

    # What tells one from another, for SQLAlchemy's cache: without it no statement with a clock is compiled only once.
    _traverse_internals: Any = [("seconds", InternalTraversal.dp_plain_obj)]  # noqa: RUF012 - as in SQLAlchemy
    inherit_cache = True
    type = UtcDateTime()

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = float(seconds)


@compiles(utc_now, "mysql", "mariadb")
def _utc_now_mysql(element: utc_now, _compiler: Any, **_: Any) -> str:
    if not element.seconds:
        return "UTC_TIMESTAMP(6)"
    return f"(UTC_TIMESTAMP(6) + INTERVAL {round(element.seconds * 1_000_000)} MICROSECOND)"


@compiles(utc_now, "sqlite")
def _utc_now_sqlite(element: utc_now, _compiler: Any, **_: Any) -> str:
    # SQLite's clock has milliseconds; the zeros keep its text comparable with what DateTime stores.
    if not element.seconds:
        return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '{element.seconds:+.3f} seconds')"


class rows_changed(ColumnElement[int]):  # noqa: N801 - it reads as the SQL function that it is
    """Rows that the connection's statement before this one changed."""

    _traverse_internals: Any = []  # noqa: RUF012 - as in SQLAlchemy
    inherit_cache = True
    type = Integer()


@compiles(rows_changed, "mysql", "mariadb")
def _rows_changed_mysql(_element: rows_changed, _compiler: Any, **_: Any) -> str:
    return "ROW_COUNT()"


@compiles(rows_changed, "sqlite")
def _rows_changed_sqlite(_element: rows_changed, _compiler: Any, **_: Any) -> str:
    return "changes()"


class instant(FunctionElement[datetime]):  # noqa: N801 - it reads as the SQL function that it is
    """An instant in the form in which parameters are compared with it.

    On SQLite other people's SQL may have written it without a fraction, or with one of milliseconds.
    """

    name = "instant"
    inherit_cache = True
    type = UtcDateTime()


@compiles(instant, "mysql", "mariadb")
def _instant_mysql(element: instant, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(instant, "sqlite")
def _instant_sqlite(element: instant, compiler: Any, **options: Any) -> str:
    text = compiler.process(element.clauses, **options)
    return f"(replace(substr({text}, 1, 19), 'T', ' ') || '.' || substr(substr({text}, 21, 6) || '000000', 1, 6))"


class microseconds(FunctionElement[int]):  # noqa: N801 - it reads as the SQL function that it is
    """An instant as whole microseconds since 1970-01-01 UTC."""

    name = "microseconds"
    inherit_cache = True
    type = BigInteger()


@compiles(microseconds, "mysql", "mariadb")
def _microseconds_mysql(element: microseconds, compiler: Any, **options: Any) -> str:
    # A typed literal: plain text is read as an instant anew for each row, a seventh of what a reading of flights takes.
    epoch = "TIMESTAMP'1970-01-01 00:00:00'"
    return f"TIMESTAMPDIFF(MICROSECOND, {epoch}, {compiler.process(element.clauses, **options)})"


@compiles(microseconds, "sqlite")
def _microseconds_sqlite(element: microseconds, compiler: Any, **options: Any) -> str:
    instant = compiler.process(element.clauses, **options)
    return f"(strftime('%s', substr({instant}, 1, 19)) * 1000000 + CAST(substr({instant}, 21, 6) AS INTEGER))"


class hundredths(FunctionElement[int]):  # noqa: N801 - it reads as the SQL function that it is
    """An amount of money in whole hundredths."""

    name = "hundredths"
    inherit_cache = True
    type = BigInteger()


@compiles(hundredths, "mysql", "mariadb")
def _hundredths_mysql(element: hundredths, compiler: Any, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} * {CENTS} AS SIGNED)"


@compiles(hundredths, "sqlite")
def _hundredths_sqlite(element: hundredths, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


class gathered(FunctionElement[str]):  # noqa: N801 - it reads as the SQL function that it is
    """The texts of several columns of all rows of a group, each in a line of its own."""

    name = "gathered"
    inherit_cache = True
    type = String()


@compiles(gathered, "mysql", "mariadb")
def _gathered_mysql(element: gathered, compiler: Any, **options: Any) -> str:
    columns = compiler.process(element.clauses, **options)
    return f"GROUP_CONCAT(CONCAT_WS(CHAR(10 USING utf8mb4), {columns}) SEPARATOR '\n')"


@compiles(gathered, "sqlite")
def _gathered_sqlite(element: gathered, compiler: Any, **options: Any) -> str:
    columns = " || char(10) || ".join(compiler.process(column, **options) for column in element.clauses)
    return f"group_concat({columns}, char(10))"
