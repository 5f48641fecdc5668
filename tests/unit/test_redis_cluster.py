"""The map of a Redis Cluster."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from flightctl.core.redis_cluster import SlotMap

ASKED = ("asked", 1)


def test_a_map_knows_the_node_of_every_slot() -> None:
    slots = SlotMap.parse(
        [[8192, 16383, [b"two", 2, b"id"], [b"replica", 9, b"id"]], [0, 8191, [b"one", 1, b"id", []]]], ASKED
    )
    assert slots == SlotMap((8191, 16383), (("one", 1), ("two", 2)))
    assert slots.node("{b}c") == slots.node("b") == ("one", 1)  # slot 3300
    assert slots.node("a") == ("two", 2)  # slot 15495


@pytest.mark.parametrize("name", [None, b"", b"?"])
def test_a_node_without_a_name_is_the_one_that_was_asked(name: bytes | None) -> None:
    assert SlotMap.parse([[0, 16383, [name, 7]]], ASKED).masters == (("asked", 7),)


@pytest.mark.parametrize("answer", [[], [[0, 16382, [b"h", 1]]], [[0, 5, [b"h", 1]], [7, 16383, [b"h", 1]]]])
def test_a_cluster_that_lacks_slots_is_down(answer: list[Any]) -> None:
    with pytest.raises(RedisConnectionError):
        SlotMap.parse(answer, ASKED)
