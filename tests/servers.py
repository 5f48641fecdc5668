"""Private MariaDB (or MySQL) and Redis servers for tests, and copies of a migrated schema.

Every server lives in a folder of its own, listens on a free loopback port, reads no configuration of the machine and
dies with the test run. The ones that only break the network are in `tests.faults`.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import pymysql
import redis
import redis.cluster
import redis.sentinel

from tests.faults import LOOPBACK, free_port

Connection = pymysql.connections.Connection

START_TIMEOUT = 60.0  # seconds; a second or two is normal, a crash recovery on a slow disk takes longer
STOP_TIMEOUT = 30.0  # seconds until a server that does not stop is killed
POLL = 0.02  # seconds
_PR_SET_PDEATHSIG = 1
# Read once: the tests themselves run without any FLIGHTCTL_* variable.
MYSQL_HOME = os.environ.get("FLIGHTCTL_TEST_MYSQL_HOME", "")
PREFER_MYSQL = os.environ.get("FLIGHTCTL_TEST_SERVER", "") == "mysql"

_libc = ctypes.CDLL(None, use_errno=True)


class ServerMissing(Exception):
    """The program is not installed."""


def find_program(*names: str) -> str:
    """Path of the first of these that is installed; raises ServerMissing."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise ServerMissing(f"{' or '.join(names)} is not installed; tests/install-servers.sh does that")


def find_mysql() -> str:
    """Path of a MySQL server, which MariaDB's may shadow under the same name; raises ServerMissing.

    It is that of the tree named by FLIGHTCTL_TEST_MYSQL_HOME, the one that `make mysql` has unpacked, or the system's.
    """
    named = MYSQL_HOME or str(Path(__file__).parents[1] / "build" / "mysql")
    places = [f"{named}/bin", f"{named}/sbin", f"{named}/usr/sbin"]
    if not MYSQL_HOME:
        places += [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/sbin", "/usr/local/sbin"]
    for program in (found for place in places if (found := shutil.which("mysqld", path=place))):
        if "mariadb" not in _version(program).lower():
            return program
    where = f"in {MYSQL_HOME}" if MYSQL_HOME else "here; `make mysql` unpacks one beside the system"
    raise ServerMissing(f"there is no MySQL server {where}")


def _version(program: str) -> str:
    done = subprocess.run([program, "--no-defaults", "--version"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerMissing(f"{program} does not run: {done.stderr.strip()}")
    return done.stdout


def _die_with_parent() -> None:
    """In the child: be killed when the thread that started it ends, even if that was by kill -9."""
    with contextlib.suppress(Exception):
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class _Server:
    """A process with a folder and a port. Start it from a thread that outlives it (see `_die_with_parent`)."""

    name = "server"

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.port = 0
        self.log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.kill)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    def start(self) -> Self:
        """Starts and waits until it answers. The port stays the same for the life of the object."""
        if self.running:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        self._prepare()
        fixed = self.port
        for attempt in range(5):
            self.port = fixed or free_port()
            if self._launch():
                return self
            if fixed:
                time.sleep(0.2 * attempt)
        raise RuntimeError(f"{self.name} does not start:\n{_tail(self.log)}")

    def stop(self) -> None:
        """Ends it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def pause(self) -> None:
        """Freezes it: the kernel still accepts connections, nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def discard(self) -> None:
        """Ends it and deletes its files."""
        self.kill()
        atexit.unregister(self.kill)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _prepare(self) -> None:
        """Whatever must exist before the first start."""

    def _command(self) -> Sequence[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _launch(self) -> bool:
        """One attempt: True when it answers, False when it ended by itself (the port may have been taken)."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for pytest
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one prctl, looked up beforehand
            )
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return False
            if self._answers():
                return True
            time.sleep(POLL)
        self.kill()
        raise RuntimeError(f"{self.name} did not answer within {START_TIMEOUT:.0f} s:\n{_tail(self.log)}")

    def _end(self, with_signal: signal.Signals) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(with_signal)
        process.send_signal(signal.SIGCONT)  # a frozen process sees SIGTERM only when it goes on
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class MariaDB(_Server):
    """A private MariaDB, or MySQL where that is what is installed.

    Like a production server it is durable (synced binary log, log flushed at commit) and strict, and the user in `url`
    has every right on every database but no global one, so that a migration in need of SUPER fails here, too.
    """

    name = "MariaDB"
    user, password = "flightctl", "secret"

    def __init__(self, folder: Path, *options: str) -> None:
        """`options` are further arguments of the server, e.g. ``--innodb-lock-wait-timeout=2``."""
        super().__init__(folder)
        self.options = options
        self.program = self.find()

    @staticmethod
    def find() -> str:
        """Path of the server's program."""
        return find_mysql() if PREFER_MYSQL else find_program("mariadbd", "mysqld")

    def url(self, database: str) -> str:
        return f"mysql+pymysql://{self.user}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def admin(self) -> Connection[Any]:
        """A raw connection with every privilege, autocommit on."""
        return pymysql.connect(
            host=LOOPBACK, port=self.port, user="admin", password="secret", autocommit=True, connect_timeout=5
        )

    def create_database(self, name: str) -> None:
        _create_database(self.admin, name)

    def drop_database(self, name: str) -> None:
        _drop_database(self.admin, name)

    def _prepare(self) -> None:
        (self.folder / "tmp").mkdir(exist_ok=True)
        with (self.folder / "users.sql").open("w") as script:  # run at every start; one statement a line
            for user, on in ("admin", "*.*"), (self.user, "`%`.*"):
                script.write(f"CREATE USER IF NOT EXISTS '{user}'@'{LOOPBACK}' IDENTIFIED BY '{self.password}';\n")
                script.write(f"GRANT ALL PRIVILEGES ON {on} TO '{user}'@'{LOOPBACK}' WITH GRANT OPTION;\n")
        if (self.folder / "data").exists():
            return
        command = self._initialize()
        log = self.folder / "install.log"
        with log.open("wb") as output:
            done = subprocess.run(
                [*command, *self._as_root()],
                check=False,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        if done.returncode:
            shutil.rmtree(self.folder / "data", ignore_errors=True)
            raise RuntimeError(f"{command[0]} failed:\n{_tail(log)}")

    def _initialize(self) -> Sequence[str]:
        """What makes the server's own tables."""
        if not self._is_mariadb():
            return [self.program, "--no-defaults", "--initialize-insecure", f"--datadir={self.folder / 'data'}"]
        # A relative path: it cannot stand blanks.
        command = [find_program("mariadb-install-db", "mysql_install_db"), "--no-defaults", "--datadir=./data"]
        return [*command, "--auth-root-authentication-method=normal", "--skip-test-db"]

    def _command(self) -> Sequence[str]:
        own = ["--binlog-format=ROW"] if self._is_mariadb() else ["--mysqlx=OFF", "--secure-file-priv=NULL"]
        return [
            self.program,
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--tmpdir={self.folder / 'tmp'}",
            f"--init-file={self.folder / 'users.sql'}",
            "--socket=s.sock",  # relative to the data: its path must be under 108 bytes
            "--pid-file=server.pid",
            f"--bind-address={LOOPBACK}",
            f"--port={self.port}",
            "--skip-name-resolve",
            "--max-connections=300",
            "--innodb-buffer-pool-size=256M",
            "--innodb-flush-log-at-trx-commit=1",
            "--performance-schema=OFF",
            "--log-bin=binlog",
            "--sync-binlog=1",
            "--server-id=1",
            "--character-set-server=utf8mb4",
            *own,
            *self._as_root(),
            *self.options,
        ]

    def _answers(self) -> bool:
        try:
            self.admin().close()
        except pymysql.MySQLError:
            return False
        return True

    def _is_mariadb(self) -> bool:
        return "mariadb" in _version(self.program).lower()

    @staticmethod
    def _as_root() -> list[str]:
        # It refuses to run as root unless told to; changing to another user would lose PR_SET_PDEATHSIG.
        return ["--user=root"] if os.geteuid() == 0 else []


class ExternalMySQL:
    """A server somebody else runs, given by the URL of a user who may create databases; looks like `MariaDB`."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)

    def url(self, database: str) -> str:
        return urlunsplit(self._parts._replace(path=f"/{quote(database)}"))

    def admin(self) -> Connection[Any]:
        return mysql_connection(urlunsplit(self._parts._replace(path="")))

    def create_database(self, name: str) -> None:
        _create_database(self.admin, name)

    def drop_database(self, name: str) -> None:
        _drop_database(self.admin, name)


class Redis(_Server):
    """A private Redis that keeps nothing on disk."""

    name = "Redis"

    def __init__(self, folder: Path, *options: str) -> None:
        """`options` are further arguments of the server, e.g. ``"--maxmemory", "2mb"``."""
        super().__init__(folder)
        self.options = options
        self.program = find_program("redis-server")

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=5)

    def _command(self) -> Sequence[str]:
        settings = ["--port", str(self.port), "--bind", LOOPBACK, "--save", "", "--appendonly", "no", "--dir", "."]
        return [self.program, *settings, *self.options]

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class _ClusterNode(Redis):
    name = "a node of Redis Cluster"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "--cluster-enabled", "yes", "--repl-diskless-sync-delay", "0")
        self.bus = free_port()

    def _command(self) -> Sequence[str]:
        # The time after which a node is taken for dead: a failover follows within about as long again.
        return [*super()._command(), "--cluster-port", str(self.bus), "--cluster-node-timeout", "1000"]

    def cluster(self, *words: str | int) -> Any:
        with self.client() as client:
            return client.execute_command("CLUSTER", *words)


class _WholeCluster(redis.RedisCluster):
    """redis-py's KEYS asks one node."""

    def keys(self, pattern: str = "*", **_: Any) -> Any:
        return super().keys(pattern, target_nodes="primaries")


class RedisCluster:
    """Three masters, each with a replica, on one machine; `nodes` are the masters first."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [_ClusterNode(folder / f"n{number}") for number in range(6)]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'{LOOPBACK}:{node.port}' for node in self.nodes)}/"

    def start(self) -> Self:
        masters, replicas = self.nodes[:3], self.nodes[3:]
        for number, node in enumerate(self.nodes):
            node.start()
            node.cluster("SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(masters):
            node.cluster("ADDSLOTSRANGE", number * 16384 // 3, (number + 1) * 16384 // 3 - 1)
        for node in self.nodes[1:]:
            node.cluster("MEET", LOOPBACK, self.nodes[0].port, self.nodes[0].bus)
        _wait(lambda: all(b"cluster_known_nodes:6" in node.cluster("INFO") for node in self.nodes), "the nodes to meet")
        for master, replica in zip(masters, replicas, strict=True):
            replica.cluster("REPLICATE", master.cluster("MYID").decode())
        self.wait()
        return self

    def wait(self) -> None:
        """Until every slot has a master, and every node that runs knows it and is in sync."""
        _wait(lambda: all(self._whole(node) for node in self.nodes if node.running), "the cluster to be whole")

    def master_of(self, key: str) -> _ClusterNode:
        """The node that has the key now."""
        with self.client() as client:
            port = client.get_node_from_key(key).port
        return next(node for node in self.nodes if node.port == port)

    def client(self) -> redis.RedisCluster:
        return redis_client(self.url)

    def discard(self) -> None:
        for node in self.nodes:
            node.discard()

    @staticmethod
    def _whole(node: _ClusterNode) -> bool:
        with node.client() as client:
            linked = client.info("replication").get("master_link_status", "up") == "up"
        return linked and b"cluster_state:ok" in node.cluster("INFO")


class _Sentinel(Redis):
    name = "Redis Sentinel"

    def __init__(self, folder: Path, master: Redis) -> None:
        super().__init__(folder)
        self._master = master

    def _prepare(self) -> None:
        # It keeps what it learns in its configuration file.
        lines = [
            f"sentinel monitor {RedisSentinel.service} {LOOPBACK} {self._master.port} 2",
            f"sentinel down-after-milliseconds {RedisSentinel.service} 700",
            f"sentinel failover-timeout {RedisSentinel.service} 3000",
        ]
        (self.folder / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def _command(self) -> Sequence[str]:
        return [self.program, "sentinel.conf", "--sentinel", "--port", str(self.port), "--bind", LOOPBACK]


class RedisSentinel:
    """A master and a replica, watched by three sentinels."""

    service = "flight"

    def __init__(self, folder: Path) -> None:
        self.master = Redis(folder / "master")
        self.replica = Redis(folder / "replica", "--repl-diskless-sync-delay", "0")
        self.sentinels = [_Sentinel(folder / f"sentinel{number}", self.master) for number in range(3)]

    @property
    def url(self) -> str:
        hosts = ",".join(f"{LOOPBACK}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.service}"

    def start(self) -> Self:
        self.master.start()
        self.replica.options += ("--replicaof", f"{LOOPBACK} {self.master.port}")
        for server in (self.replica, *self.sentinels):
            server.start()
        _wait(lambda: all(self._whole(sentinel) for sentinel in self.sentinels), "the sentinels to find each other")
        return self

    def wait_for_failover(self) -> None:
        """Until the sentinels agree that the replica is the master."""
        _wait(lambda: all(self._leads(sentinel, self.replica) for sentinel in self.sentinels), "the failover")

    def discard(self) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.discard()

    def _leads(self, sentinel: Redis, server: Redis) -> bool:
        with sentinel.client() as client:
            named = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        with server.client() as client:
            return bool(named) and int(named[1]) == server.port and client.info("replication")["role"] == "master"

    def _whole(self, sentinel: Redis) -> bool:
        with sentinel.client() as client:
            state = client.info("sentinel")["master0"]
            return bool(state["status"] == "ok" and state["slaves"] == 1 and state["sentinels"] == 3)


def redis_client(url: str) -> Any:
    """redis-py's own client for any URL that flightctl takes."""
    parts = urlsplit(url)
    kind = parts.scheme.partition("+")[2]
    if not kind:
        return redis.Redis.from_url(url, socket_timeout=5)
    hosts = [(host, int(port)) for host, _, port in (each.rpartition(":") for each in parts.netloc.split(","))]
    if kind == "cluster":
        nodes = [redis.cluster.ClusterNode(host, port) for host, port in hosts]
        return _WholeCluster(startup_nodes=nodes, socket_timeout=5)
    return redis.sentinel.Sentinel(hosts, socket_timeout=5).master_for(parts.path.strip("/"))


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        with contextlib.suppress(redis.RedisError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(POLL)


class ExternalRedis:
    """A Redis somebody else runs; the database number in its URL is emptied before every test."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=5)


class SchemaCopy:
    """The tables, triggers and rows of one MySQL database, to be made again in empty ones, quicker than by migrating.

    Made from SHOW CREATE, because CREATE TABLE … LIKE loses foreign keys. Rows are copied inside the server.
    """

    def __init__(self, admin: Callable[[], Connection[Any]], template: str) -> None:
        self._admin = admin
        with _cursor(admin, template) as cursor:
            cursor.execute("SHOW FULL TABLES")
            kinds = dict(cursor.fetchall())
            odd = sorted(name for name, kind in kinds.items() if kind != "BASE TABLE")
            if odd:
                raise NotImplementedError(f"only tables can be copied, these are not: {odd}")
            self._tables = [self._definition(cursor, f"SHOW CREATE TABLE `{name}`", 1) for name in kinds]
            self._rows = [sql for name in kinds if (sql := self._copy_rows(cursor, template, name))]
            cursor.execute("SHOW TRIGGERS")
            triggers = [row[0] for row in cursor.fetchall()]
            self._triggers = [self._definition(cursor, f"SHOW CREATE TRIGGER `{name}`", 2) for name in triggers]

    def make(self, database: str) -> None:
        """Fills an empty database."""
        with _cursor(self._admin, database) as cursor:
            cursor.execute("SET SESSION foreign_key_checks = 0, unique_checks = 0")
            for statement in (*self._tables, *self._rows, *self._triggers):
                cursor.execute(statement)

    @staticmethod
    def _definition(cursor: Any, show: str, column: int) -> str:
        cursor.execute(show)
        return str(cursor.fetchone()[column])

    @staticmethod
    def _copy_rows(cursor: Any, template: str, table: str) -> str:
        """The statement that copies a table's rows, without generated columns; empty when there are none."""
        cursor.execute(f"SELECT EXISTS (SELECT 1 FROM `{table}`)")
        if not cursor.fetchone()[0]:
            return ""
        cursor.execute(f"SHOW COLUMNS FROM `{table}`")
        # MySQL marks a column with an expression as default DEFAULT_GENERATED: that one is an ordinary column.
        kept = [row[0] for row in cursor.fetchall() if not {"VIRTUAL", "STORED"} & set(row[5].upper().split())]
        names = ", ".join(f"`{name}`" for name in kept)
        return f"INSERT INTO `{table}` ({names}) SELECT {names} FROM `{template}`.`{table}`"


def mysql_connection(url: str) -> Connection[Any]:
    """A raw PyMySQL connection to a ``mysql+pymysql://`` URL, autocommit on, its session at UTC."""
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname or LOOPBACK,
        port=parts.port or 3306,
        user=unquote(parts.username or "root"),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.lstrip("/")) or None,
        charset="utf8mb4",
        autocommit=True,
        connect_timeout=10,
        init_command="SET time_zone = '+00:00'",
    )


@contextlib.contextmanager
def _cursor(admin: Callable[[], Connection[Any]], database: str = "") -> Iterator[Any]:
    connection = admin()
    try:
        if database:
            connection.select_db(database)
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def _create_database(admin: Callable[[], Connection[Any]], name: str) -> None:
    with _cursor(admin) as cursor:
        cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")


def _drop_database(admin: Callable[[], Connection[Any]], name: str) -> None:
    """Drops it even when a test has left transactions open in it."""
    with _cursor(admin) as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s AND id <> CONNECTION_ID()", (name,))
        for (connection_id,) in cursor.fetchall():
            with contextlib.suppress(pymysql.MySQLError):  # gone by itself
                cursor.execute(f"KILL {connection_id}")
        cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")


def _tail(log: Path, lines: int = 40) -> str:
    if not log.exists():
        return f"({log} does not exist)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
