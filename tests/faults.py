"""Network faults on purpose: a TCP proxy that misbehaves on command, and a Redis server that answers rubbish."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO, Self
from urllib.parse import urlsplit, urlunsplit

LOOPBACK = "127.0.0.1"
# Below the kernel's ephemeral ports (32768 and up): a client that tries a closed ephemeral port may be given that very
# port as its source and then connects to itself, so that "server down" looks like "server hangs".
PORTS = range(20000, 32000)
ANSWER_TIMEOUT = 10.0  # seconds that CUT_BEFORE_ANSWER waits for the answer it is going to swallow


def free_port() -> int:
    """A loopback port nobody listens on at this moment; the caller retries when somebody was quicker."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((LOOPBACK, port))
                return port
    raise OSError(f"no free port in {PORTS}")


def _hang_up(sock: socket.socket) -> None:
    """Ends a connection at once, with a reset, and wakes the thread that reads from it."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


class _Listener:
    """A threaded TCP server on a free loopback port; what it does with a connection is up to `_serve`."""

    def __init__(self) -> None:
        self.port = 0
        self._listener: socket.socket | None = None
        self._stopping = threading.Event()

    def start(self) -> Self:
        self._stopping.clear()
        self._open()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self._close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def _open(self) -> None:
        """Listens on the port it had before, or on a free one the first time."""
        if self._listener is not None:
            return
        for attempt in range(20):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((LOOPBACK, self.port or free_port()))
                listener.listen(128)
            except OSError:
                listener.close()
                if attempt == 19:
                    raise
                self._stopping.wait(0.05)
                continue
            self.port = listener.getsockname()[1]
            self._listener = listener
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            return

    def _close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept()
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()


class Action(Enum):
    """What the proxy does with bytes that a client has sent."""

    FORWARD = "forward"
    CUT_BEFORE_FORWARD = "cut before forward"  # the server never sees them
    CUT_BEFORE_ANSWER = "cut before answer"  # the server has acted and answered, the client never learns
    SWALLOW = "swallow"  # the server never sees them, the client waits for ever


COMMIT = b"\x03COMMIT"  # the statement as MySQL's protocol sends it; "SET AUTOCOMMIT = 0" does not contain it


def commits(sql: bytes | str) -> bool:
    """Whether the text ends in a COMMIT, alone, behind other statements, or as the last of a compound statement."""
    return sql.endswith((b"COMMIT", b"COMMIT;END") if isinstance(sql, bytes) else ("COMMIT", "COMMIT;END"))


ClientBytesHook = Callable[[bytes], Action]


def once(needle: bytes, action: Action, *, skip: int = 0) -> ClientBytesHook:
    """A hook that answers `action` for the first bytes containing `needle` (after `skip` of them), FORWARD otherwise.

    ``once(COMMIT, Action.CUT_BEFORE_ANSWER)`` loses the connection between a commit and its acknowledgement.
    """
    lock = threading.Lock()
    left = [skip, 1]

    def hook(data: bytes) -> Action:
        with lock:
            if needle not in data or not left[1]:
                return Action.FORWARD
            if left[0]:
                left[0] -= 1
                return Action.FORWARD
            left[1] = 0
            return action

    return hook


class _Link:
    """One client's connection through the proxy; `server` is None when nobody shall ever answer."""

    def __init__(self, client: socket.socket, server: socket.socket | None) -> None:
        self.client = client
        self.server = server
        self.swallow_answers = False
        self.answered = threading.Event()
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()
        _hang_up(self.client)
        if self.server is not None:
            _hang_up(self.server)


class TcpProxy(_Listener):
    """Stands between a client and a server on loopback and breaks things on command.

    The mode may change at any time and holds for open connections as well: `pass_through` (at first), `refuse`,
    `blackhole`, `delay`, `hold_back`. `cut` ends the open connections and leaves the mode as it is.
    """

    def __init__(self, target_host: str, target_port: int) -> None:
        super().__init__()
        self.target = (target_host, target_port)
        self.on_client_bytes: ClientBytesHook | None = None
        self.accepted = 0  # connections since the start
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self._black = False
        self._delay = 0.0
        self._flow = threading.Event()
        self._flow.set()

    def url(self, url: str) -> str:
        """The same URL, through this proxy."""
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}{at}{LOOPBACK}:{self.port}"))

    def stop(self) -> None:
        super().stop()
        self._flow.set()
        self.cut()

    def pass_through(self) -> None:
        """Everything works; what was held back flows. Connections opened in a black hole stay dead."""
        self._mode()

    def refuse(self) -> None:
        """New connections are refused; open ones live on until `cut`."""
        self._mode(listen=False)

    def down(self) -> None:
        """As if the server had died: open connections end, new ones are refused."""
        self._mode(listen=False)
        self.cut()

    def blackhole(self) -> None:
        """Connections are accepted and bytes are taken, but nothing is ever answered."""
        self._mode(black=True)

    def delay(self, seconds: float) -> None:
        """Every piece of an answer comes that much later."""
        self._mode(delay=seconds)

    def hold_back(self) -> None:
        """Requests reach the server, its answers are kept until `pass_through`."""
        self._mode(flow=False)

    def cut(self) -> None:
        """Ends every open connection now, with a reset."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.close()

    def _mode(self, *, listen: bool = True, black: bool = False, delay: float = 0.0, flow: bool = True) -> None:
        self._black, self._delay = black, delay
        if flow:
            self._flow.set()
        else:
            self._flow.clear()
        if listen:
            self._open()
        else:
            self._close()

    def _serve(self, client: socket.socket) -> None:
        self.accepted += 1
        server: socket.socket | None = None
        if not self._black:
            try:
                server = socket.create_connection(self.target, timeout=10)
            except OSError:
                _hang_up(client)
                return
            server.settimeout(None)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(client, server)
        with self._lock:
            self._links.add(link)
        if self._stopping.is_set():
            link.close()
        if server is not None:
            threading.Thread(target=self._pump, args=(link, self._answers, server), daemon=True).start()
        self._pump(link, self._requests, client)

    def _pump(self, link: _Link, direction: Callable[[_Link, bytes], None], source: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                direction(link, data)
        link.close()
        with self._lock:
            self._links.discard(link)

    def _requests(self, link: _Link, data: bytes) -> None:
        if self._black or link.server is None:
            return
        action = self.on_client_bytes(data) if self.on_client_bytes else Action.FORWARD
        if action is Action.SWALLOW:
            return
        if action is Action.CUT_BEFORE_FORWARD:
            raise ConnectionAbortedError
        link.swallow_answers = action is Action.CUT_BEFORE_ANSWER
        link.server.sendall(data)
        if link.swallow_answers:
            link.answered.wait(ANSWER_TIMEOUT)
            raise ConnectionAbortedError

    def _answers(self, link: _Link, data: bytes) -> None:
        if link.swallow_answers:
            link.answered.set()
            return
        if self._delay:
            link.closed.wait(self._delay)
        while not self._flow.wait(0.05):
            if link.closed.is_set():
                raise ConnectionAbortedError
        if not self._black:
            link.client.sendall(data)


@dataclass(frozen=True)
class Slow:
    """An answer that comes after so many seconds."""

    seconds: float
    answer: bytes = b"+OK\r\n"


HANG = Slow(86400.0)  # no answer in any test's lifetime

# Bytes as they go over the wire; a function of the command (None ends the connection); or an answer that takes its time.
Answer = bytes | Slow | Callable[[list[bytes]], bytes | None]


def error(message: str) -> bytes:
    """A RESP error, e.g. ``error("READONLY You can't write against a read only replica.")``."""
    return f"-{message}\r\n".encode()


def integer(value: int) -> bytes:
    return f":{value}\r\n".encode()


def bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)


def array(values: Iterable[bytes | None]) -> bytes:
    items = [bulk(value) for value in values]
    return b"*%d\r\n%s" % (len(items), b"".join(items))


def random_bytes(_: list[bytes]) -> bytes:
    """No RESP at all."""
    return os.urandom(64) + b"\r\n"


def hang_up(_: list[bytes]) -> None:
    """Ends the connection instead of an answer."""


READONLY = error("READONLY You can't write against a read only replica.")
OUT_OF_MEMORY = error("OOM command not allowed when used memory > 'maxmemory'.")
LOADING = error("LOADING Redis is loading the dataset in memory")
NO_AUTH = error("NOAUTH Authentication required.")
WRONG_TYPE = error("WRONGTYPE Operation against a key holding the wrong kind of value")

_HANDSHAKE = frozenset({b"HELLO", b"CLIENT", b"AUTH", b"SELECT"})


class RubbishRedis(_Listener):
    """A server that speaks RESP and answers as scripted: every command with `answer`, some with another of their own.

    The handshake of a client (HELLO, CLIENT, AUTH, SELECT) succeeds, so that the rubbish comes where it hurts;
    `handshake=False` answers that with rubbish as well. `commands` tells what has been asked.
    """

    def __init__(self, answer: Answer, *, per_command: dict[str, Answer] | None = None, handshake: bool = True) -> None:
        super().__init__()
        self.answer = answer
        self.per_command = {name.upper(): own for name, own in (per_command or {}).items()}
        self.handshake = handshake
        self.commands: list[list[bytes]] = []
        self._clients: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def stop(self) -> None:
        super().stop()
        for client in self._clients:
            _hang_up(client)
        self._clients.clear()

    def _serve(self, client: socket.socket) -> None:
        self._clients.append(client)
        nil = b"$-1\r\n"
        with contextlib.suppress(OSError, ValueError), client.makefile("rb") as stream:
            while command := _read_command(stream):
                self.commands.append(command)
                answer = self._answer_to(command)
                if answer is None:
                    break
                if command[0].upper() == b"HELLO" and command[1:2] == [b"3"]:
                    nil = b"_\r\n"  # the third version of the protocol has no other
                client.sendall(answer.replace(b"$-1\r\n", nil))
        _hang_up(client)

    def _answer_to(self, command: list[bytes]) -> bytes | None:
        name = command[0].upper()
        if self.handshake and name in _HANDSHAKE:
            return _hello(command) if name == b"HELLO" else b"+OK\r\n"
        answer = self.per_command.get(name.decode("latin-1"), self.answer)
        if isinstance(answer, Slow):
            return None if self._stopping.wait(answer.seconds) else answer.answer
        return answer if isinstance(answer, bytes) else answer(command)


def _read_command(stream: BinaryIO) -> list[bytes]:
    """The next command, empty at the end of the stream."""
    line = stream.readline().rstrip(b"\r\n")
    if not line.startswith(b"*"):
        return line.split()
    command = []
    for _ in range(int(line[1:])):
        length = int(stream.readline().rstrip(b"\r\n")[1:])
        command.append(stream.read(length))
        stream.read(2)
    return command


def _hello(command: list[bytes]) -> bytes:
    protocol = int(command[1]) if len(command) > 1 else 2
    fields = (b"server", bulk(b"redis")), (b"version", bulk(b"7.0.0")), (b"proto", integer(protocol))
    head = b"%%%d\r\n" % len(fields) if protocol == 3 else b"*%d\r\n" % (2 * len(fields))
    return head + b"".join(bulk(name) + value for name, value in fields)
