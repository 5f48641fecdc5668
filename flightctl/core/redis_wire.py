"""Commands to Redis and their answers, within a deadline, whichever servers Redis is made of.

What travels is redis-py's; how long it may take, how often it is tried and where it goes is decided here. redis-py's
own clients are built to get through in the end, and cost a process 0.15 to 0.2 ms a call on two cores where its bare
connections cost 0.07 (EVALSHA, Redis 7 on loopback); `RedisCluster` besides retries, sleeps and asks every node without
a bound in time.

Every command sent from here may be sent twice without harm, because a connection that was kept may turn out dead.
"""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from redis.connection import AbstractConnection, Connection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from flightctl.core.redis_commands import Command, Wire, Words
from flightctl.core.redis_url import Address, Kind, Login, Target

DISCOVERY_TIMEOUT: Final = 0.1
"""Seconds for one sentinel, or one node asked for the map of the cluster: there are others to ask."""


Link = Any
"""A connection of redis-py, whose own types leave much open."""


class _TlsConnection(Connection):
    """redis-py's own would trust the system's certificates beside a private CA, and read them at every connect."""

    def __init__(self, *, context: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self._context = context

    def _connect(self) -> Any:
        sock = super()._connect()  # type: ignore[no-untyped-call]
        try:
            return self._context.wrap_socket(sock, server_hostname=self.host)
        except OSError:
            sock.close()
            raise


class Dialer:
    """Makes connections to the servers of one target. ``timeout``: seconds for a connect, and for an answer."""

    def __init__(self, target: Target, timeout: float) -> None:
        self.timeout = timeout
        self._login = target.login
        self._database = target.database
        self._unix = target.unix
        self._context = target.tls.context() if target.tls else None

    def dial(self, address: Address, timeout: float, *, login: Login | None = None) -> Link:
        """A connection, not yet connected. With a ``login`` of their own: to sentinels, which have no databases."""
        from inspect import signature

        from redis.backoff import NoBackoff
        from redis.retry import Retry

        # The names that clients introduce themselves with cost two commands a connection.
        modern = "driver_info" in signature(AbstractConnection.__init__).parameters
        unnamed: dict[str, Any] = {"driver_info": None} if modern else {"lib_name": None, "lib_version": None}
        who = login or self._login
        common: dict[str, Any] = {
            "db": 0 if login else self._database,
            "username": who.username,
            "password": who.password,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            **unnamed,
        }
        if self._unix:
            local: Any = UnixDomainSocketConnection  # to its types an abstract class
            return local(path=address[0], **common)
        host, port = address
        if self._context is None:
            return Connection(host=host, port=port, **common)
        return _TlsConnection(host=host, port=port, context=self._context, **common)


def send(connection: Link, commands: Sequence[Words]) -> None:
    connection.send_packed_command(connection.pack_commands(commands))


def receive(connection: Link, count: int) -> list[Any]:
    answers = []
    for _ in range(count):
        try:
            answers.append(connection.read_response())
        except ResponseError as error:
            answers.append(error)
    return answers


def time_left(deadline: float) -> float:
    """Seconds; raises TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise RedisTimeout("no time is left for Redis")
    return left


class Pool:
    """Connections to one server, kept between exchanges."""

    def __init__(self, dialer: Dialer, find: Callable[[float], Address]) -> None:
        """``find`` tells, by a deadline, where the server is now."""
        self._dialer = dialer
        self._find = find
        self._idle: list[Link] = []

    def take(self, deadline: float) -> tuple[Link, bool]:
        """A connection, and whether it was kept from earlier: the server may be gone since."""
        with suppress(IndexError):
            return self._idle.pop(), True
        return self.fresh(deadline), False

    def fresh(self, deadline: float) -> Link:
        address = self._find(deadline)
        # Half of what is left to connect in, half for the answer.
        return self._dialer.dial(address, min(self._dialer.timeout, time_left(deadline) / 2))

    def give(self, connection: Link) -> None:
        """Keep it, unless it was made in a hurry and would time out too soon for other work."""
        if connection.socket_timeout == self._dialer.timeout:
            self._idle.append(connection)
        else:
            connection.disconnect()

    def close(self) -> None:
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().disconnect()


class SingleWire:
    """One server at a time: always the same, or the one that the sentinels call master."""

    sharded = False

    def __init__(self, dialer: Dialer, find: Callable[[float], Address]) -> None:
        self._pool = Pool(dialer, find)

    def ask(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        words = [command.words for command in commands]
        connection, kept = self._pool.take(deadline)
        try:
            answers = _exchange(connection, words)
        except RedisConnectionError:
            if not kept:
                raise
            answers = []
        # A server that went away, or that a failover has made a replica: its successor is asked, once.
        if kept and (not answers or any(isinstance(answer, ReadOnlyError) for answer in answers)):
            connection.disconnect()
            self._pool.close()
            connection = self._pool.fresh(deadline)
            answers = _exchange(connection, words)
        self._pool.give(connection)
        return answers

    def servers(self, deadline: float) -> Sequence[Address | None]:
        return (None,)

    def close(self) -> None:
        self._pool.close()


def _exchange(connection: Link, words: Sequence[Words]) -> list[Any]:
    try:
        send(connection, words)
        return receive(connection, len(words))
    except BaseException:  # an answer may still be on its way: nobody else may read it
        connection.disconnect()
        raise


class Sentinels:
    """Asks sentinels for the address of a service's master; one that answered is asked first the next time."""

    def __init__(self, dialer: Dialer, target: Target) -> None:
        self._dialer = dialer
        self._login = target.sentinel_login
        self._service = target.service
        self._addresses = random.sample(target.addresses, len(target.addresses))

    def master(self, deadline: float) -> Address:
        """Raises ConnectionError when no sentinel knows, TimeoutError when there is no time to ask the next."""
        problem: Exception = RedisConnectionError("no sentinel answers")
        for address in list(self._addresses):
            timeout = min(DISCOVERY_TIMEOUT, time_left(deadline) / 4)
            connection = self._dialer.dial(address, timeout, login=self._login)
            try:
                [answer] = _exchange(connection, [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)])
            except (RedisConnectionError, RedisTimeout) as error:
                problem = error
                continue
            finally:
                connection.disconnect()
            if isinstance(answer, list) and len(answer) == 2:
                self._addresses.remove(address)
                self._addresses.insert(0, address)
                return answer[0].decode(), int(answer[1])
            if isinstance(answer, Exception):
                problem = answer
            else:
                problem = RedisConnectionError(f"the sentinels know no service {self._service}")
        raise problem


def make_wire(target: Target, timeout: float) -> Wire:
    """Raises ConfigError for certificates that cannot be used."""
    dialer = Dialer(target, timeout)
    if target.kind is Kind.CLUSTER:
        from flightctl.core.redis_cluster import ClusterWire

        return ClusterWire(dialer, target.addresses)
    if target.kind is Kind.SENTINEL:
        return SingleWire(dialer, Sentinels(dialer, target).master)
    return SingleWire(dialer, lambda _deadline: target.addresses[0])
