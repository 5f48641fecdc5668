"""A private MySQL Group Replication, whose members all write at first."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pymysql

from tests.clusters import Members, wait_until
from tests.faults import LOOPBACK, free_port
from tests.servers import MariaDB, ServerMissing, find_mysql

RECOVERY = "USER = 'recovery', PASSWORD = 'secret'"
ONLINE, JOINING = "ONLINE", "RECOVERING"
_MEMBERS = "SELECT member_id, member_state, member_role FROM performance_schema.replication_group_members"


class GroupNode(MariaDB):
    """One member. The group talks over the servers' own ports, so that nothing listens beyond loopback."""

    name = "member of a group"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.group: list[str] = []  # options of the group, set once all members are known
        self.single_primary = False
        self.server_id = 0

    @staticmethod
    def find() -> str:
        return find_mysql()

    def admin(self) -> Any:
        return pymysql.connect(
            host=LOOPBACK,
            port=self.port,
            user="admin",
            password="secret",
            autocommit=True,
            connect_timeout=5,
            read_timeout=30,
        )

    def execute(self, sql: str, params: tuple[Any, ...] = (), database: str | None = None) -> list[tuple[Any, ...]]:
        with self.admin() as connection, connection.cursor() as cursor:
            if database:
                connection.select_db(database)
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def members(self) -> dict[str, tuple[str, str]]:
        """State and role of each member as this one sees them, by id; empty when it does not answer."""
        with contextlib.suppress(pymysql.MySQLError):
            return {str(member): (str(state), str(role)) for member, state, role in self.execute(_MEMBERS)}
        return {}

    @property
    def own(self) -> tuple[str, str]:
        """Its own state and role."""
        with contextlib.suppress(pymysql.MySQLError):
            [(member,)] = self.execute("SELECT @@server_uuid")
            return self.members().get(str(member), ("OFFLINE", ""))
        return "", ""

    @property
    def executed(self) -> str:
        return str(self.execute("SELECT @@global.gtid_executed")[0][0]).replace("\n", "")

    def join(self, *, bootstrap: bool = False) -> None:
        """Into the group that is there, or as its first member."""
        self.execute("STOP GROUP_REPLICATION")
        self.execute("SET GLOBAL offline_mode = OFF")  # a member that had to leave lets nobody in
        self.execute(f"SET GLOBAL group_replication_bootstrap_group = {'ON' if bootstrap else 'OFF'}")
        self.execute(f"START GROUP_REPLICATION {RECOVERY}")
        self.execute("SET GLOBAL group_replication_bootstrap_group = OFF")

    def _mode(self) -> Sequence[str]:
        single, everywhere = ("ON", "OFF") if self.single_primary else ("OFF", "ON")
        return [f"single-primary-mode={single}", f"enforce-update-everywhere-checks={everywhere}"]

    def _prepare(self) -> None:
        """The accounts are made while nothing is logged: a member must have no transaction that the others lack."""
        if (self.folder / "data").exists():
            return
        super()._prepare()

    def _initialize(self) -> Sequence[str]:
        with (self.folder / "users.sql").open("a") as script:
            script.write(f"CREATE USER recovery@'{LOOPBACK}' IDENTIFIED BY 'secret';\n")
            script.write(
                "GRANT REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, GROUP_REPLICATION_STREAM ON *.* "
                f"TO recovery@'{LOOPBACK}';\n"
            )
        return [*super()._initialize(), f"--init-file={self.folder / 'users.sql'}"]

    def _command(self) -> Sequence[str]:
        own = ("--init-file", "--performance-schema", "--sync-binlog", "--server-id", "--innodb-")
        options = [word for word in super()._command() if not word.startswith(own)]
        return [
            *options,
            f"--server-id={self.server_id}",
            f"--report-host={LOOPBACK}",
            f"--report-port={self.port}",
            "--performance-schema-instrument=%=OFF",
            "--innodb-buffer-pool-size=96M",
            "--innodb-redo-log-capacity=64M",
            # Enough for members that are killed; not one of them loses its power.
            "--innodb-flush-log-at-trx-commit=2",
            "--sync-binlog=0",
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            "--plugin-load-add=group_replication.so",
            *(f"--loose-group-replication-{option}" for option in (*self.group, *self._mode())),
        ]


class GroupReplication(Members[GroupNode]):
    """Members on one machine; `url` is for the same account as `MariaDB`'s."""

    wait = "SET SESSION group_replication_consistency = 'BEFORE'"

    def __init__(self, folder: Path, size: int = 3) -> None:
        self.folder = folder
        self.nodes = [GroupNode(folder / f"node{number}") for number in range(1, size + 1)]
        self._name = str(uuid.uuid4())
        if not _has_plugin(self.nodes[0].program):
            raise ServerMissing(f"{self.nodes[0].program} has no plugin group_replication")

    def start(self) -> Self:
        first, *others = self.nodes
        first.folder.mkdir(parents=True)
        first._prepare()
        seeds = ",".join(f"{LOOPBACK}:{node.port}" for node in self.nodes)
        for node in others:  # all stand at the same point, and have a name of their own
            shutil.copytree(first.folder, node.folder)
            (node.folder / "data" / "auto.cnf").unlink(missing_ok=True)
        for number, node in enumerate(self.nodes, 1):
            node.server_id = number
            node.group = [
                f"group-name={self._name}",
                "start-on-boot=OFF",
                "communication-stack=MYSQL",
                f"local-address={LOOPBACK}:{node.port}",
                f"group-seeds={seeds}",
                f"ip-allowlist={LOOPBACK}/8",
                "recovery-get-public-key=ON",
            ]
        for node in self.nodes:
            node.start()
        self.heal()
        return self

    def heal(self) -> None:
        """What an operator does: all members run, and are in one group again."""
        for node in self.nodes:
            if node.running:
                node.resume()
        for node in self.nodes:
            node.start()
        wait_until(self._decided, what="members agree on who is there")
        if not any(node.own[0] == ONLINE for node in self.nodes):
            self._most_advanced().join(bootstrap=True)
        for node in self.nodes:
            if node.own[0] not in {ONLINE, JOINING}:
                node.join()
        self.settle()

    def settle(self) -> None:
        """Wait until every member has joined and caught up."""
        wait_until(self.whole, what="all members joined")

    def whole(self) -> bool:
        seen = [node.members() for node in self.nodes]
        return all(len(one) == len(self.nodes) and {state for state, _ in one.values()} == {ONLINE} for one in seen)

    def primary(self) -> GroupNode | None:
        """The only one that writes; None in an election."""
        return next((node for node in self.nodes if node.running and node.own == (ONLINE, "PRIMARY")), None)

    def switch_to_single_primary(self, node: GroupNode) -> None:
        """That member becomes the primary."""
        [(member,)] = node.execute("SELECT @@server_uuid")
        node.execute("SELECT group_replication_switch_to_single_primary_mode(%s)", (member,))
        self._remember_mode(single=True)

    def switch_to_multi_primary(self) -> None:
        self.nodes[0].execute("SELECT group_replication_switch_to_multi_primary_mode()")
        self._remember_mode(single=False)

    def _remember_mode(self, *, single: bool) -> None:
        """For members that are started again: one of another mode may not join."""
        for node in self.nodes:
            node.single_primary = single

    def hand_over(self, node: GroupNode) -> None:
        """That member becomes the primary."""
        [(member,)] = node.execute("SELECT @@server_uuid")
        node.execute("SELECT group_replication_set_as_primary(%s)", (member,))

    def _decided(self) -> bool:
        """Nobody waits for a member that is silent."""
        return all(state != "UNREACHABLE" for node in self.nodes for state, _ in node.members().values())

    def _most_advanced(self) -> GroupNode:
        best, *others = self.nodes
        for node in others:
            [(within,)] = node.execute("SELECT GTID_SUBSET(%s, %s)", (node.executed, best.executed))
            best = best if within else node
        return best


def _has_plugin(program: str) -> bool:
    done = subprocess.run(
        [program, "--no-defaults", "--verbose", "--help"], capture_output=True, text=True, check=False
    )
    folder = next((line.split()[1] for line in done.stdout.splitlines() if line.startswith("plugin-dir ")), "")
    return (Path(folder) / "group_replication.so").exists()
