"""A private Galera cluster of MariaDB servers."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import pymysql

from tests.faults import LOOPBACK, free_port
from tests.servers import MariaDB, ServerMissing

PROVIDERS = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so", "/usr/lib/libgalera_smm.so")
SCRIPTS = Path(__file__).parent / "galera"  # has the method of `--wsrep-sst-method`
JOIN_TIMEOUT = 60.0  # seconds
# A member that is silent for two seconds is suspected, after five it is out.
TIMING = (
    "evs.keepalive_period=PT0.5S;evs.inactive_check_period=PT0.5S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT5S"
)


def wait_until(true: Callable[[], bool], seconds: float = JOIN_TIMEOUT, what: str = "") -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


class GaleraNode(MariaDB):
    """One member. It catches up by the writes it missed, never by a copy of everything, so that root may run it."""

    name = "Galera node"

    def __init__(self, folder: Path, provider: str) -> None:
        super().__init__(folder)
        self.provider = provider
        self.port, self.group_port, self.catch_up_port = free_port(), free_port(), free_port()
        self.members = ""  # set once all are known
        self.bootstrap = False
        self.new = True  # nobody has an account yet

    def status(self, name: str) -> str:
        """Empty when it does not answer."""
        with contextlib.suppress(pymysql.MySQLError), self.admin() as connection, connection.cursor() as cursor:
            cursor.execute(f"SHOW STATUS LIKE '{name}'")
            return str((cursor.fetchone() or ("", ""))[1])
        return ""

    @property
    def synced(self) -> bool:
        return self.status("wsrep_local_state_comment") == "Synced"

    def admin(self) -> Any:
        return pymysql.connect(
            host=LOOPBACK,
            port=self.port,
            user="admin",
            password="secret",
            autocommit=True,
            connect_timeout=5,
            read_timeout=10,
        )

    def execute(self, sql: str, params: tuple[Any, ...] = (), database: str | None = None) -> list[tuple[Any, ...]]:
        with self.admin() as connection, connection.cursor() as cursor:
            if database:
                connection.select_db(database)
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def _command(self) -> Sequence[str]:
        options = [word for word in super()._command() if self.new or not word.startswith("--init-file")]
        command = ["/usr/bin/env", f"PATH={SCRIPTS}:{os.environ.get('PATH', os.defpath)}", *options, *self._member()]
        return [*command, "--wsrep-new-cluster"] if self.bootstrap else [*command, *self._position(command)]

    def _member(self) -> list[str]:
        return [
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=32M",
            "--innodb-autoinc-lock-mode=2",
            "--innodb-flush-log-at-trx-commit=0",
            "--skip-log-bin",
            "--wsrep-on=ON",
            f"--wsrep-provider={self.provider}",
            "--wsrep-cluster-name=flightctl",
            f"--wsrep-cluster-address=gcomm://{self.members}",
            f"--wsrep-node-address={LOOPBACK}:{self.group_port}",
            f"--wsrep-node-incoming-address={LOOPBACK}:{self.port}",
            "--wsrep-sst-method=writes",
            f"--wsrep-sst-receive-address={LOOPBACK}:{self.catch_up_port}",
            "--wsrep-slave-threads=2",
            f"--wsrep-provider-options=gmcast.listen_addr=tcp://{LOOPBACK}:{self.group_port};"
            f"ist.recv_addr={LOOPBACK}:{self.catch_up_port};gcache.size=64M;pc.recovery=FALSE;{TIMING}",
        ]

    def _position(self, command: list[str]) -> list[str]:
        """After a crash the tables know where they stand, the provider's own note does not."""
        note = self.folder / "data" / "grastate.dat"
        if not note.exists() or "seqno:   -1" not in note.read_text():
            return []
        said = subprocess.run(
            [*command, "--wsrep-recover"], cwd=self.folder, capture_output=True, text=True, check=False
        )
        found = re.search(r"Recovered position:\s*(\S+)", said.stderr + said.stdout)
        return [f"--wsrep-start-position={found[1]}"] if found else []

    def _answers(self) -> bool:
        return self.synced


N = TypeVar("N", bound=MariaDB)


class Members(Generic[N]):
    """What clusters of any kind have in common."""

    wait = ""
    """A statement after which a member's reads see what was committed anywhere."""
    folder: Path
    nodes: list[N]

    def url(self, database: str, first: int = 0) -> str:
        """Of all members, beginning with that one."""
        turned = self.nodes[first:] + self.nodes[:first]
        hosts = ",".join(f"{LOOPBACK}:{node.port}" for node in turned)
        return f"mysql+pymysql://{MariaDB.user}:{MariaDB.password}@{hosts}/{database}"

    def caught_up(self, database: str) -> list[Callable[..., list[tuple[Any, ...]]]]:
        """Of each member, a way to run one statement on it that sees all that was committed anywhere."""

        def executor(node: N) -> Callable[..., list[tuple[Any, ...]]]:
            def execute(sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
                with node.admin() as connection, connection.cursor() as cursor:
                    connection.select_db(database)
                    cursor.execute(self.wait)
                    cursor.execute(sql, params) if params else cursor.execute(sql)
                    return list(cursor.fetchall())

            return execute

        return [executor(node) for node in self.nodes]

    def discard(self) -> None:
        for node in self.nodes:
            node.discard()
        shutil.rmtree(self.folder, ignore_errors=True)


class Galera(Members[GaleraNode]):
    """Members that all accept writes; the account of `url` has no global right, like `MariaDB`'s."""

    wait = "SET SESSION wsrep_sync_wait = 7"

    def __init__(self, folder: Path, size: int = 3) -> None:
        provider = next((path for path in PROVIDERS if Path(path).exists()), None)
        if provider is None:
            raise ServerMissing("Galera is not installed; tests/install-servers.sh does that")
        self.folder = folder
        self.nodes = [GaleraNode(folder / f"node{number}", provider) for number in range(1, size + 1)]

    def start(self) -> Self:
        """Makes the accounts on the first, copies it to the others, and starts them as a cluster."""
        first, *others = self.nodes
        for node in self.nodes:
            node.members = ",".join(f"{LOOPBACK}:{node.group_port}" for node in self.nodes)
        first.bootstrap = True
        first.start()
        first.stop()
        for node in others:  # all stand at the same point
            shutil.copytree(first.folder, node.folder)
        for node in self.nodes:
            node.new = False
        for node in self.nodes:
            node.start()
        first.bootstrap = False
        self.settle()
        return self

    def settle(self) -> None:
        """Wait until every member has joined and caught up."""
        wait_until(self.whole, what="all members joined")

    def whole(self) -> bool:
        size = str(len(self.nodes))
        return all(node.synced and node.status("wsrep_cluster_size") == size for node in self.nodes)

    def heal(self) -> None:
        """Whatever a test has done to them, all members run again."""
        for node in self.nodes:
            if node.running:
                node.resume()
        for node in self.nodes:
            node.start()
        self.settle()
