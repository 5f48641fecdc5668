"""Where a database is: an SQLite file, or one server, or several that hold the same data."""

import os
import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from flightctl.core.database_password import stored_password
from flightctl.core.errors import ConfigError
from flightctl.core.settings import Settings, mask_url

_SEVERAL: Final = re.compile(
    r"(?s)(?P<scheme>[\w.+-]+://)(?P<login>.*@)?(?P<hosts>[^@/?]*,[^@/?]*)(?P<rest>(?:/[^@?]*)?(?:\?.*)?)"
)
"""A URL with more than one host, which SQLAlchemy's own URLs do not have."""

_SQLITE_IGNORED: Final = frozenset({"check_same_thread", "timeout"})
"""What people write into an SQLite URL; neither is left to them."""


@dataclass(frozen=True, slots=True)
class Address:
    """``nodes`` are the servers, in the order in which they are preferred; an SQLite file or a socket is one."""

    nodes: tuple[URL, ...]

    @property
    def url(self) -> URL:
        """The first server's."""
        return self.nodes[0]

    @property
    def embedded(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def several(self) -> bool:
        return len(self.nodes) > 1

    @property
    def database(self) -> str:
        return self.url.database or ""

    def named(self, database: str) -> "Address":
        """The same servers' database of that name; with an empty name, of none."""
        return Address(tuple(node.set(database=database) for node in self.nodes))

    def turned(self, by: int) -> "Address":
        """The same servers with another one first."""
        by %= len(self.nodes)
        return Address(self.nodes[by:] + self.nodes[:by])

    def render(self, *, hide_password: bool = True) -> str:
        """As it is written in ``database.url``."""
        if not self.several:
            return self.url.render_as_string(hide_password=hide_password)
        before = "@" if self.url.username else "//"
        text = self.url.set(host="~", port=-1).render_as_string(hide_password=hide_password)
        return text.replace(f"{before}~:-1", before + ",".join(host_of(node) for node in self.nodes), 1)


def configured_address(settings: Settings, key: str = "database.url") -> Address:
    """What ``database.url`` names, with the password that the other settings have for it.

    Raises ConfigError, which names ``key`` as the setting.
    """
    address = parse_address(settings["database.url"], key)
    if address.embedded or address.url.password is not None:
        return address
    password = stored_password(settings)
    return address if not password else Address(tuple(node.set(password=password) for node in address.nodes))


def host_of(node: URL) -> str:
    """``host:port`` as a URL has it."""
    host = f"[{node.host}]" if node.host and ":" in node.host else node.host or ""
    return host if node.port is None else f"{host}:{node.port}"


def parse_address(raw: str, key: str = "database.url") -> Address:
    """Raises ConfigError for anything but an SQLite, MySQL or MariaDB URL; those may have several hosts."""
    several = _SEVERAL.fullmatch(raw)
    if several is None or several["scheme"].startswith("sqlite"):
        return Address((_parse_one(raw, raw, key),))
    before, after = several["scheme"] + (several["login"] or ""), several["rest"]
    hosts = [host.strip() for host in several["hosts"].split(",")]
    return Address(tuple(_parse_one(f"{before}{host}{after}", raw, key) for host in hosts))


def _parse_one(one: str, raw: str, key: str) -> URL:
    try:
        url = make_url(one)
        backend = url.get_backend_name()
        incomplete = url.port is not None and not 0 < url.port < 65536
        incomplete |= backend != "sqlite" and not (url.database and (url.host or "unix_socket" in url.query))
        incomplete |= "@" in (url.host or "")  # the rest of a password, which no message may show
    except (ArgumentError, ValueError, NoSuchModuleError):
        backend, incomplete = "", False
    if backend not in {"sqlite", "mysql", "mariadb"} or incomplete:
        raise ConfigError(
            f"{key} {mask_url(raw)[:120]!r} is not a database URL flightctl knows",
            hint="Write mysql+pymysql://user:password@host:3306/name or sqlite:////path/to/file.db."
            " In a password @ is %40.",
        )
    if backend != "sqlite":
        return url.set(drivername="mysql+pymysql")
    if unknown := set(url.query) - _SQLITE_IGNORED:
        raise ConfigError(f"{key}: {min(unknown)[:40]!r} is not known", hint="An SQLite URL names its file alone.")
    file = url.database and os.path.expanduser(url.database)
    return url.set(drivername="sqlite+pysqlite", database=file, query={})
