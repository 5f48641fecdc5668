"""Fixtures: servers that start when the first test asks for them, fresh databases, and the program as a subprocess."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.servers import (
    ExternalMySQL,
    ExternalRedis,
    MariaDB,
    Redis,
    RedisCluster,
    RedisSentinel,
    SchemaCopy,
    ServerMissing,
    mysql_connection,
)

if TYPE_CHECKING:
    from flightctl.core.settings import Settings

# Read once: the tests themselves run without any FLIGHTCTL_* variable.
EXTERNAL_MYSQL = os.environ.get("FLIGHTCTL_TEST_DATABASE_URL", "")
EXTERNAL_REDIS = os.environ.get("FLIGHTCTL_TEST_REDIS_URL", "")
SOAK = os.environ.get("FLIGHTCTL_SOAK") == "1"

# A run in the background or under nohup ignores these, and every program under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

ServerT = TypeVar("ServerT", MariaDB, Redis, RedisCluster, RedisSentinel)

BACKENDS = ("sqlite", "mysql", "mysql+redis")
# All that a command inherits from whoever runs the tests.
INHERITED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "USER", "LOGNAME", "TMPDIR")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the storms out unless `make soak` or an explicit -m asks for them."""
    if SOAK or config.option.markexpr:
        return
    storms = [item for item in items if item.get_closest_marker("soak")]
    if storms:
        config.hook.pytest_deselected(items=storms)
        items[:] = [item for item in items if not item.get_closest_marker("soak")]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the developer's settings nor the developer's embedded database are seen or touched."""
    for name in [name for name in os.environ if name.startswith("FLIGHTCTL_")]:
        monkeypatch.delenv(name)
    for name, folder in _home(tmp_path).items():
        monkeypatch.setenv(name, folder)


def _home(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    return {
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_STATE_HOME": str(home / ".local" / "state"),
        "XDG_CACHE_HOME": str(home / ".cache"),
    }


# --- servers ---------------------------------------------------------------------------------------------------------


def _private(start: Callable[[], ServerT]) -> Iterator[ServerT]:
    try:
        server = start()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    try:
        yield server.start()
    finally:
        server.discard()


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB | ExternalMySQL]:
    """The database server all tests share; do not stop it, take `private_mariadb` for that."""
    if EXTERNAL_MYSQL:
        yield ExternalMySQL(EXTERNAL_MYSQL)
    else:
        yield from _private(lambda: MariaDB(tmp_path_factory.mktemp("mariadb")))


@pytest.fixture
def private_mariadb(tmp_path: Path) -> Iterator[MariaDB]:
    """A database server of the test's own, to be killed, frozen and restarted."""
    yield from _private(lambda: MariaDB(tmp_path / "mariadb"))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis | ExternalRedis]:
    """The Redis all tests share; do not stop it, take `private_redis` for that."""
    if EXTERNAL_REDIS:
        yield ExternalRedis(EXTERNAL_REDIS)
    else:
        yield from _private(lambda: Redis(tmp_path_factory.mktemp("redis")))


@pytest.fixture
def private_redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis of the test's own, to be killed, frozen and restarted."""
    yield from _private(lambda: Redis(tmp_path / "redis"))


# --- databases -------------------------------------------------------------------------------------------------------


def _upgrade(url: str) -> None:
    from flightctl.core.database import Database
    from flightctl.core.settings import load_settings

    database = Database(load_settings(environ={"FLIGHTCTL_DATABASE_URL": url}))
    try:
        database.upgrade()
    finally:
        database.close()


def _database_name() -> str:
    return f"flightctl_test_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def mysql_url(mariadb: MariaDB | ExternalMySQL) -> Iterator[str]:
    """URL of an empty database, dropped afterwards."""
    name = _database_name()
    mariadb.create_database(name)
    yield mariadb.url(name)
    mariadb.drop_database(name)


@pytest.fixture(scope="session")
def migrated_schema(mariadb: MariaDB | ExternalMySQL) -> Iterator[SchemaCopy]:
    """The migrations, run once per session; every test gets a copy of what they made."""
    name = _database_name()
    mariadb.create_database(name)
    try:
        _upgrade(mariadb.url(name))
        yield SchemaCopy(mariadb.admin, name)
    finally:
        mariadb.drop_database(name)


@pytest.fixture
def migrated_mysql_url(migrated_schema: SchemaCopy, mysql_url: str) -> str:
    """URL of a database with the schema and nothing but what the migrations put in."""
    migrated_schema.make(mysql_url.partition("?")[0].rpartition("/")[2])
    return mysql_url


@pytest.fixture
def redis_url(redis_server: Redis | ExternalRedis) -> str:
    """URL of an empty Redis database."""
    with redis_server.client() as client:
        client.flushdb()
    return redis_server.url


@pytest.fixture
def redis_prefix() -> str:
    """A value for `redis.prefix` that no other test uses."""
    return f"t{uuid.uuid4().hex[:8]}:"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'flightctl.db'}"


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, for copies."""
    folder = tmp_path_factory.mktemp("sqlite")
    _upgrade(f"sqlite:///{folder / 'work.db'}")
    whole = folder / "whole.db"  # without the write-ahead log, whoever may still hold the original open
    with sqlite3.connect(folder / "work.db") as work, sqlite3.connect(whole) as copy:
        work.backup(copy)
    work.close()
    copy.close()
    return whole


@pytest.fixture
def migrated_sqlite_url(migrated_sqlite: Path, sqlite_url: str) -> str:
    """URL of an embedded file with the schema and nothing but what the migrations put in."""
    shutil.copyfile(migrated_sqlite, sqlite_url.removeprefix("sqlite:///"))
    return sqlite_url


@dataclass(frozen=True)
class Backend:
    """One of the configurations the program supports, migrated and empty."""

    name: str  # one of BACKENDS
    database_url: str
    redis_url: str  # "" without Redis

    @property
    def env(self) -> dict[str, str]:
        return {"FLIGHTCTL_DATABASE_URL": self.database_url, "FLIGHTCTL_REDIS_URL": self.redis_url}

    def settings(self, **variables: str) -> Settings:
        """Settings for in-process tests; `variables` as in the environment, e.g. ``FLIGHTCTL_LOCKING="none"``."""
        from flightctl.core.settings import load_settings

        return load_settings(environ=self.env | variables)

    @property
    def is_sqlite(self) -> bool:
        return self.name == "sqlite"

    def execute(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Runs one statement behind the program's back, committed at once; `%s` are the placeholders everywhere.

        With params a literal per cent sign is written `%%`, without them as it is.
        """
        connection = self._sqlite() if self.is_sqlite else mysql_connection(self.database_url)
        try:
            cursor = connection.cursor()
            if not params:
                cursor.execute(sql)
            elif self.is_sqlite:
                cursor.execute(sql.replace("%s", "?").replace("%%", "%"), tuple(params))
            else:
                cursor.execute(sql, tuple(params))
            return list(cursor.fetchall())
        finally:
            connection.close()

    def value(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """The single value a query gives."""
        [(value,)] = self.execute(sql, params)
        return value

    def _sqlite(self) -> sqlite3.Connection:
        path = self.database_url.removeprefix("sqlite:///")
        connection = sqlite3.connect(path, timeout=10, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Runs the test once for every back end; `@pytest.mark.parametrize("backend", ["mysql"], indirect=True)` for some."""
    name: str = request.param
    url = request.getfixturevalue("migrated_sqlite_url" if name == "sqlite" else "migrated_mysql_url")
    return Backend(name, url, request.getfixturevalue("redis_url") if name.endswith("+redis") else "")


# --- the program -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What a finished command left behind."""

    args: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        return json.loads(self.stdout)

    @cached_property
    def error(self) -> dict[str, Any]:
        """The `error` object in the last line of stderr (with `-o json`)."""
        error: dict[str, Any] = json.loads(self.stderr.strip().splitlines()[-1])["error"]
        return error

    def __str__(self) -> str:
        return f"flightctl {' '.join(self.args)}\nexit {self.code}\nstdout: {self.stdout}\nstderr: {self.stderr}"


class Cli:
    """Runs `flightctl` as a user would: a process of its own with a home of its own and a bare environment."""

    def __init__(self, tmp_path: Path) -> None:
        self.env = {name: os.environ[name] for name in INHERITED if name in os.environ}
        self.env |= {"LANG": "C.UTF-8", **_home(tmp_path)}
        self._cwd = tmp_path / "cwd"
        self._cwd.mkdir()
        Path(self.env["HOME"]).mkdir(exist_ok=True)
        self._started: list[subprocess.Popen[str]] = []

    def __call__(
        self,
        *args: str | Path,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
        check: int | None = 0,
        timeout: float = 60.0,
    ) -> Result:
        """Runs a command to its end and expects that exit code (any, with `check=None`) and never a traceback."""
        process = self.start(*args, env=env, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE)
        return self.finish(process, input=input, check=check, timeout=timeout)

    def start(
        self, *args: str | Path, env: Mapping[str, str] | None = None, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        """Starts a command and leaves it running, until `finish` or the end of the test."""
        return self._launch(["-m", "flightctl", *map(str, args)], env, stdin)

    def start_code(self, code: str, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """The same for a program that patches flightctl before it runs it."""
        return self._launch(["-c", code, *args], env, subprocess.DEVNULL)

    def _launch(self, args: list[str], env: Mapping[str, str] | None, stdin: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *args],
            cwd=self._cwd,
            env=self.env | dict(env or {}),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self._started.append(process)
        return process

    def finish(
        self,
        process: subprocess.Popen[str],
        *,
        input: str | None = None,
        check: int | None = 0,
        timeout: float = 60.0,
    ) -> Result:
        """Waits for the end of a command from `start`, with the same expectations as a plain call."""
        assert isinstance(process.args, list)
        args = tuple(str(arg) for arg in process.args[3:])
        try:
            stdout, stderr = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            pytest.fail(f"not finished after {timeout:g} s: {Result(args, -9, stdout, stderr)}")
        result = Result(args, process.returncode, stdout, stderr)
        assert "Traceback" not in stderr, f"a traceback from {result}"
        assert check is None or result.code == check, f"expected exit {check} from {result}"
        return result

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """Runs the program: ``cli("search", "DEL", "BLR", "-o", "json", env=backend.env).json()``."""
    runner = Cli(tmp_path)
    yield runner
    runner.close()
