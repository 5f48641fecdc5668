"""Completion's questions to MySQL: to the first server of ``database.url`` that answers, in its order and by its rules
(password, TLS), but within the time of a key press. Without SQLAlchemy, whose import alone takes longer than that.
"""

import select
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import pymysql

from flightctl.core.database_password import stored_password
from flightctl.core.database_tls import split_query, tls_context
from flightctl.core.settings import Settings

_PORT: Final = 3306
_CHARSET: Final = "utf8mb4"


class _Server(NamedTuple):
    host: str
    port: int


def fetch(settings: Settings, questions: Iterable[tuple[str, Sequence[Any]]], deadline: float) -> list[tuple[Any, ...]]:
    """The answers' rows. ``deadline`` in seconds is shared by the servers that are asked: one that does not answer
    leaves the next its part.

    Raises whatever the last server's trouble was, ConfigError, and ValueError for a URL that is none.
    """
    parts = urlsplit(str(settings["database.url"]))
    options = dict(parse_qsl(parts.query))
    arguments = _arguments(parts, options, settings)
    servers = [None] if "unix_socket" in options else _servers(parts)
    until = time.monotonic() + deadline
    trouble: Exception | None = None
    for number, server in enumerate(servers):
        left = until - time.monotonic()
        try:
            return _ask(server, arguments, questions, left / (len(servers) - number), left)
        except (OSError, pymysql.MySQLError) as error:
            trouble = error
    raise trouble or ValueError("no server")


def _arguments(parts: SplitResult, options: dict[str, str], settings: Settings) -> dict[str, Any]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    tls = tls_context(options, settings)
    rest, _ = split_query(options)
    return {
        **rest,
        "user": unquote(user),
        "password": unquote(password) or stored_password(settings),
        "database": unquote(parts.path[1:]),
        "charset": _CHARSET,
        **({"ssl_disabled": True} if tls is None else {"ssl": tls}),
    }


def _servers(parts: SplitResult) -> list[_Server | None]:
    found: list[_Server | None] = []
    for place in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{place.strip()}")
        found.append(_Server(one.hostname or "localhost", one.port or _PORT))
    return found


def _ask(
    server: _Server | None,
    arguments: dict[str, Any],
    questions: Iterable[tuple[str, Sequence[Any]]],
    greeting: float,
    left: float,
) -> list[tuple[Any, ...]]:
    """``greeting``: seconds for the server to speak, as it does first; ``left``: for each answer after that."""
    own: dict[str, Any] = {**arguments, "connect_timeout": max(left, 0.001), "read_timeout": max(left, 0.001)}
    if server is not None:
        own.update(server._asdict())
    connection: Any = pymysql.connect(**own, defer_connect=True)
    connection.connect(None if server is None else _open(server, max(greeting, 0.001)))
    try:
        rows: list[tuple[Any, ...]] = []
        with connection.cursor() as cursor:
            for sql, values in questions:
                cursor.execute(sql, values)
                rows += cursor.fetchall()
        return rows
    finally:
        connection.close()


def _open(server: _Server, seconds: float) -> socket.socket:
    opened = socket.create_connection(server, seconds)
    if not select.select([opened], [], [], seconds)[0]:
        opened.close()
        raise TimeoutError(f"{server.host} does not answer")
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened
