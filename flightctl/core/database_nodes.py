"""One database on several servers (Galera, Group Replication): a connection goes to the first that can be used."""

import select
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import pymysql
from pymysql.constants import CLIENT
from pymysql.err import MySQLError, OperationalError

from flightctl.core.database_errors import OFFLINE, distrust

MIN_TIMEOUT: Final = 0.5
"""Seconds that a server gets to answer, however many there are to ask."""
REST_SECONDS: Final = 5.0
"""For so long a server that failed is asked last."""
_RECOVERABLE: Final = frozenset({2002, 2003, 2005, 2006, 2013, 1040, 1047, 1053, 1129, 1203, 1226}) | OFFLINE
"""Errors of connecting that another server may not have; a wrong password is wrong on all of them."""
_UNREACHABLE: Final = 2003
_DENIED: Final = 1142
_REASONS: Final = {
    1040: "has too many connections",
    1047: "is not ready",
    **dict.fromkeys(OFFLINE, "is offline (its group has put it out)"),
}
_LOOK: Final = (
    "SHOW VARIABLES WHERE Variable_name IN ('wsrep_on', 'read_only', 'super_read_only', 'wsrep_reject_queries', "
    "'group_replication_group_name');"
    "SHOW STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_cluster_status', 'wsrep_local_state_comment')"
)
_MEMBERS: Final = (
    "SELECT MAX(IF(member_id = @@server_uuid, member_state, NULL)), COUNT(IF(member_state = 'UNREACHABLE', 1, NULL)), "
    "COUNT(*), COUNT(IF(member_role = 'PRIMARY' AND member_state = 'ONLINE' AND member_id <> @@server_uuid, 1, NULL)) "
    "FROM performance_schema.replication_group_members"
)
_SILENT, _READ_ONLY = "does not answer", "is read-only"
_SYNCED, _DONOR, _ONLINE = "Synced", "Donor/Desynced", "ONLINE"
_WAIT_FOR_CLUSTER: Final = {
    # Mask 7: before reads (1), updates and deletes (2), inserts (4).
    "wsrep_on": "SET SESSION wsrep_sync_wait = 7",
    "group_replication_group_name": "SET SESSION group_replication_consistency = 'BEFORE'",
}
CLUSTER_VARIABLES: Final = tuple(_WAIT_FOR_CLUSTER)
"""Set on the members of a cluster; elsewhere missing, empty or OFF."""


class NoServerUsableError(OperationalError):
    """``reasons`` tells of each server, in order, why not; ``electing`` that one of them will be able to soon."""

    def __init__(self, reasons: Mapping[str, str], *, electing: bool = False) -> None:
        self.reasons = dict(reasons)
        self.electing = electing
        told = ", ".join(f"{name} {reason}" for name, reason in self.reasons.items())
        super().__init__(_UNREACHABLE, f"no server of the database can be used: {told}")


@dataclass(frozen=True, slots=True)
class NodeState:
    """``trouble`` is why a server cannot be used, empty when it can; ``spare`` that it should be used last;
    ``unseen`` that this account may not see whether it has quorum; ``primary_elsewhere``, of a member of a group, that
    another one writes, as far as it knows; None of any other server."""

    name: str
    trouble: str = ""
    spare: bool = False
    unseen: bool = False
    primary_elsewhere: bool | None = None


class Nodes:
    """The servers, ``(host, port)`` in order of preference; what each did lately is remembered."""

    def __init__(self, hosts: Sequence[tuple[str, int]], timeout: float, *, writing: bool = True) -> None:
        """``timeout`` in seconds is shared by all that must be asked; without ``writing`` read-only ones will do."""
        self._hosts = list(hosts)
        self._timeout = max(MIN_TIMEOUT, timeout / len(self._hosts))
        self._writing = writing
        self._failed: dict[tuple[str, int], float] = {}

    def connect(self, arguments: Mapping[str, Any]) -> Any:
        """A connection to the first usable server.

        Raises NoServerUsableError, and what is wrong on every server alike (the password, the database).
        """
        reasons: dict[str, str] = {}
        spare: Any = None
        states = []
        for host in self._order():
            connection, state = self._try(host, arguments)
            if state.trouble:
                self._failed[host] = time.monotonic()
                reasons[state.name] = state.trouble
                states.append(state)
                _close(connection)
            elif state.spare:
                _close(spare)
                spare = connection
            else:
                self._failed.pop(host, None)
                _close(spare)
                return connection
        if spare is not None:
            return spare
        raise NoServerUsableError(reasons, electing=_electing(states))

    def failed(self, connection: Any) -> None:
        """The server of this connection could not go on: ask it last for a while."""
        self._failed[connection.host, connection.port] = time.monotonic()

    def examine(self, arguments: Mapping[str, Any]) -> list[NodeState]:
        """What becomes of asking each server, in order."""
        states = []
        for host in self._hosts:
            connection, state = self._try(host, arguments)
            _close(connection)
            states.append(state)
        return states

    def _try(self, host: tuple[str, int], arguments: Mapping[str, Any]) -> tuple[Any, NodeState]:
        name = f"{host[0]}:{host[1]}"
        connection: Any = None
        try:
            connection = self._open(host, arguments)
            return connection, self._state(connection, name)
        except MySQLError as error:
            _close(connection)
            if error.args[0] not in _RECOVERABLE:
                raise
            untrusted = distrust(error)
            reason = f"fails at TLS: {untrusted}" if untrusted else _REASONS.get(error.args[0], _SILENT)
            return None, NodeState(name, reason)

    def _order(self) -> list[tuple[str, int]]:
        """Servers that failed just now come last: a frozen one costs a timeout each time it is asked."""
        rests = time.monotonic() - REST_SECONDS
        return sorted(self._hosts, key=lambda host: self._failed.get(host, 0.0) > rests)

    def _open(self, host: tuple[str, int], arguments: Mapping[str, Any]) -> Any:
        """The server speaks first; one that accepts a connection and then says nothing is frozen."""
        flags = arguments.get("client_flag", 0) | CLIENT.MULTI_STATEMENTS
        own: dict[str, Any] = {**arguments, "host": host[0], "port": host[1], "client_flag": flags}
        connection = pymysql.connect(**own, defer_connect=True)
        try:
            plain = socket.create_connection(host, self._timeout)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if not select.select([plain], [], [], self._timeout)[0]:
                plain.close()
                raise TimeoutError
        except OSError as error:
            raise OperationalError(_UNREACHABLE, "does not answer") from error
        connection.connect(plain)
        return connection

    def _state(self, connection: Any, name: str) -> NodeState:
        facts = look(connection)
        state = NodeState(name)
        if facts.get("group_replication_group_name"):
            state = _member_state(connection, name)
        elif facts.get("wsrep_on") == "ON":
            state = _galera_state(facts, name)
        if not state.trouble and self._writing and "ON" in {facts.get("read_only"), facts.get("super_read_only")}:
            return replace(state, trouble=_READ_ONLY)
        return state


def _electing(states: Sequence[NodeState]) -> bool:
    """Whether a primary will be there soon: the members that answer have a majority, and know of none that writes, or
    the one they know of may be among those that do not answer. It takes them some seconds to notice that."""
    members = [state for state in states if state.trouble == _READ_ONLY and state.primary_elsewhere is not None]
    silent = any(state.trouble == _SILENT for state in states)
    return bool(members) and (silent or not all(state.primary_elsewhere for state in members))


def look(connection: Any) -> dict[str, str]:
    """The server's variables and status that tell what it is and whether it is ready."""
    facts: dict[str, str] = {}
    with connection.cursor() as cursor:
        cursor.execute(_LOOK)
        more = True
        while more:
            facts.update((str(name).lower(), str(value)) for name, value in cursor.fetchall())
            more = cursor.nextset()
    return facts


def wait_for_cluster(connection: Any) -> None:
    """Let all that this session reads from now on include what its cluster has committed before; on a server alone
    that is so anyway."""
    facts = look(connection)
    for variable, statement in _WAIT_FOR_CLUSTER.items():
        if facts.get(variable, "OFF") not in {"OFF", ""}:
            with connection.cursor() as cursor:
                cursor.execute(statement)


def _galera_state(facts: Mapping[str, str], name: str) -> NodeState:
    status, state = facts.get("wsrep_cluster_status", ""), facts.get("wsrep_local_state_comment", "")
    if status != "Primary":
        return NodeState(name, "has no quorum")
    if facts.get("wsrep_reject_queries", "NONE") != "NONE":
        return NodeState(name, "rejects queries")
    if facts.get("wsrep_ready") != "ON" or state not in {_SYNCED, _DONOR}:
        return NodeState(name, f"is not ready ({state or 'unknown'})")
    return NodeState(name, spare=state == _DONOR)


def _member_state(connection: Any, name: str) -> NodeState:
    """Of a member of Group Replication. One that is cut off from the majority calls itself ONLINE, and lets every
    COMMIT wait until the others are back."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(_MEMBERS)
            member, silent, size, other_primaries = cursor.fetchone()
    except MySQLError as error:
        if error.args[0] == _DENIED:
            return NodeState(name, unseen=True)
        raise
    if member != _ONLINE:
        return NodeState(name, f"is not ready ({member or 'OFFLINE'})")
    if 2 * silent >= size:
        return NodeState(name, "has no quorum")
    return NodeState(name, primary_elsewhere=bool(other_primaries))


def _close(connection: Any) -> None:
    with suppress(MySQLError):
        if connection is not None:
            connection.close()
