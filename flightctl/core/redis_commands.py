"""What is asked of Redis, and how: without redis-py, which takes long to import."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from flightctl.core.redis_url import Address

Words = tuple[str | bytes | int, ...]
"""A command and its arguments."""


class Command(NamedTuple):
    """``words`` as Redis takes them. ``key`` tells a cluster the node, or ``node`` does (see ``Wire.servers``)."""

    words: Words
    key: str | None = None
    node: Address | None = None


class Wire(Protocol):
    """A way to Redis. Threads may share it; each exchange has a connection of its own."""

    sharded: bool
    """Whether keys live on different servers, so that a script may touch one alone."""

    def ask(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        """The answers in order, a ResponseError where Redis refused; by ``deadline`` (monotonic), else TimeoutError.

        Raises what redis-py raises for a connection that fails.
        """

    def servers(self, deadline: float) -> Sequence[Address | None]:
        """One ``Command.node`` for each server that holds keys."""

    def close(self) -> None:
        """Close the connections that nobody is using; the next exchange makes new ones."""


def accepted(answers: list[Any], *, misses: bool = False) -> list[Any]:
    """The answers, unless one is an error. With ``misses`` a key of a wrong type counts as missing."""
    for position, answer in enumerate(answers):
        if isinstance(answer, Exception):
            if not (misses and str(answer).startswith("WRONGTYPE")):
                raise answer
            answers[position] = None
    return answers
