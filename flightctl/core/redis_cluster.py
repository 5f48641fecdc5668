"""Redis Cluster: which node has a key, and what to do when that has changed.

The map of slots is asked of any node and used until a node says MOVED or is gone; then it is asked for again, once in
an exchange. A cluster that is in the middle of a failover is as good as down until its map is whole again.
"""

import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeout

from flightctl.core.redis_commands import Command
from flightctl.core.redis_url import Address
from flightctl.core.redis_wire import DISCOVERY_TIMEOUT, Dialer, Link, Pool, receive, send, time_left

_SLOTS: Final = 16384


@dataclass(frozen=True, slots=True)
class SlotMap:
    """``ends[i]`` is the last slot of a range, ``masters[i]`` the node that has it; in order, without gaps."""

    ends: tuple[int, ...]
    masters: tuple[Address, ...]

    def node(self, key: str) -> Address:
        return self.masters[bisect_left(self.ends, key_slot(key.encode()))]

    @classmethod
    def parse(cls, answer: Any, asked: Address) -> "SlotMap":
        """From CLUSTER SLOTS; a node that does not know its own name is the one that was asked.

        Raises ConnectionError for a cluster that lacks slots, and ValueError, TypeError or IndexError for rubbish.
        """
        ends, masters, following = [], [], 0
        for first, last, master, *_ in sorted(answer, key=lambda part: int(part[0])):
            if first != following:
                break
            host = master[0].decode() if master[0] else ""
            ends.append(last)
            masters.append((host if host not in {"", "?"} else asked[0], int(master[1])))
            following = last + 1
        if following != _SLOTS:
            raise RedisConnectionError("the cluster lacks some of its slots")
        return cls(tuple(ends), tuple(masters))


@dataclass(slots=True)
class _Batch:
    """What one node is asked in one exchange: ``positions`` of the commands among all."""

    node: Address
    positions: list[int]
    connection: Link | None = None


class ClusterWire:
    """Sends each command to the master that has its key: to all nodes at once, then reads from each."""

    sharded = True

    def __init__(self, dialer: Dialer, seeds: Sequence[Address]) -> None:
        self._dialer = dialer
        self._seeds = tuple(seeds)
        self._map: SlotMap | None = None
        self._pools: dict[Address, Pool] = {}

    def ask(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        answers: list[Any] = [None] * len(commands)
        open_ = list(range(len(commands)))
        for final in (False, True):
            slots = self._learnt(deadline)
            open_ = self._round(slots, commands, open_, answers, deadline, final=final)
            if not open_:
                break
            self._map = None
        return answers

    def servers(self, deadline: float) -> Sequence[Address | None]:
        return tuple(dict.fromkeys(self._learnt(deadline).masters))

    def close(self) -> None:
        self._map = None
        for pool in list(self._pools.values()):
            pool.close()

    # --- one round: every node once

    def _round(
        self,
        slots: SlotMap,
        commands: Sequence[Command],
        positions: Iterable[int],
        answers: list[Any],
        deadline: float,
        *,
        final: bool,
    ) -> list[int]:
        """Fill in ``answers``; the positions that need a newer map. In the final round there are none."""
        again: list[int] = []
        batches = self._batches(slots, commands, positions)
        try:
            for batch in batches:
                try:
                    batch.connection, _ = self._pool(batch.node).take(deadline)
                    send(batch.connection, [commands[position].words for position in batch.positions])
                except RedisConnectionError:
                    again += self._gone(batch, final=final)
            for batch in batches:
                if batch.connection is None:
                    continue
                try:
                    received = receive(batch.connection, len(batch.positions))
                except RedisConnectionError:
                    again += self._gone(batch, final=final)
                    continue
                self._pool(batch.node).give(batch.connection)
                batch.connection = None
                for position, answer in zip(batch.positions, received, strict=True):
                    if isinstance(answer, MovedError):
                        answers[position] = answer
                        again += [] if final else [position]
                    elif isinstance(answer, AskError):
                        answers[position] = self._asking(answer, commands[position], deadline)
                    else:
                        answers[position] = answer
        finally:  # only after an error is any left: its answer may still be on the way, and nobody else may read it
            for batch in batches:
                if batch.connection is not None:
                    batch.connection.disconnect()
        return again

    def _gone(self, batch: _Batch, *, final: bool) -> list[int]:
        """To be called while a ConnectionError is handled: the positions to ask a newer map about."""
        self._pool(batch.node).close()
        if final:
            raise  # noqa: PLE0704 - the error in hand
        if batch.connection is not None:
            batch.connection.disconnect()
            batch.connection = None
        return batch.positions

    def _batches(self, slots: SlotMap, commands: Sequence[Command], positions: Iterable[int]) -> list[_Batch]:
        by_node: defaultdict[Address, list[int]] = defaultdict(list)
        anywhere: list[int] = []
        for position in positions:
            command = commands[position]
            if command.node is not None:
                by_node[command.node].append(position)
            elif command.key is not None:
                by_node[slots.node(command.key)].append(position)
            else:
                anywhere.append(position)
        if anywhere:
            by_node[next(iter(by_node), None) or random.choice(slots.masters)] += anywhere  # noqa: S311 - spreads load
        return [_Batch(node, found) for node, found in by_node.items()]

    def _asking(self, hint: AskError, command: Command, deadline: float) -> Any:
        """A slot on the move: its new node answers this once."""
        pool = self._pool((hint.host, hint.port))
        connection = pool.fresh(deadline)
        try:
            send(connection, [("ASKING",), command.words])
            answer = receive(connection, 2)[1]
        except BaseException:
            connection.disconnect()
            raise
        pool.give(connection)
        return answer

    def _pool(self, node: Address) -> Pool:
        return self._pools.setdefault(node, Pool(self._dialer, lambda _deadline: node))

    # --- the map

    def _learnt(self, deadline: float) -> SlotMap:
        slots = self._map
        if slots is None:
            slots = self._map = self._learn(deadline)
        return slots

    def _learn(self, deadline: float) -> SlotMap:
        """Ask one node after the other, those known to be masters lately first: the seeds may be long gone."""
        problem: Exception = RedisConnectionError("no node of the cluster answers")
        for node in dict.fromkeys([*random.sample(list(self._pools), len(self._pools)), *self._seeds]):
            timeout = min(DISCOVERY_TIMEOUT, time_left(deadline) / 4)
            connection = self._dialer.dial(node, timeout)
            try:
                send(connection, [("CLUSTER", "SLOTS")])
                [answer] = receive(connection, 1)
                if isinstance(answer, ResponseError):
                    raise answer
                return SlotMap.parse(answer, node)
            except (RedisConnectionError, RedisTimeout) as error:
                problem = error
            finally:
                connection.disconnect()
        raise problem
