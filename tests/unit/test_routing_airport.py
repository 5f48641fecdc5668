"""One airport's flights as bytes: back as they were, damage told, and what connects as brute force finds it."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightctl.core.routing import Row
from flightctl.core.routing_airport import DESTINATION, SOURCE, End, pack, unpack

HUB = "HUB"
OTHERS = ["AAA", "BBB", "CCC"]
EVER = (-(2**62), 2**62)
INSTANTS = st.integers(-(2**40), 2**50)
FLIGHTS = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=8),
        st.sampled_from(OTHERS),
        INSTANTS,
        st.integers(1, 2**40),
        st.integers(0, 2**40),
    ),
    max_size=30,
)


def rows_of(flights: Sequence[tuple[str, str, int, int, int]], other: End) -> list[Row]:
    return [
        (name, *((HUB, airport) if other == DESTINATION else (airport, HUB)), departs, departs + lasts, price)
        for name, airport, departs, lasts, price in flights
    ]


@given(FLIGHTS, st.sampled_from([SOURCE, DESTINATION]))
def test_there_and_back(flights: list[tuple[str, str, int, int, int]], other: End) -> None:
    rows = rows_of(flights, other)
    day = unpack(HUB, other, pack(rows, other))
    assert sorted(row for airport in day.slices for row in day.rows(airport, *EVER)) == sorted(rows)
    for airport in day.slices:
        assert list(day.departing(airport, *EVER)) == sorted(row[3] for row in rows if airport in row[1:3])


@given(FLIGHTS, st.sampled_from([SOURCE, DESTINATION]), INSTANTS, INSTANTS)
def test_a_window_includes_its_ends(
    flights: list[tuple[str, str, int, int, int]], other: End, one: int, two: int
) -> None:
    rows = rows_of(flights, other)
    earliest, latest = sorted([rows[0][3] if rows else one, two])
    day = unpack(HUB, other, pack(rows, other))
    found = sorted(row for airport in day.slices for row in day.rows(airport, earliest, latest))
    assert found == sorted(row for row in rows if earliest <= row[3] <= latest)


@pytest.mark.parametrize("other", [SOURCE, DESTINATION])
@pytest.mark.parametrize("seed", range(20))
def test_what_connects(other: End, seed: int) -> None:
    """Small numbers, so that many meet the bounds exactly."""
    dice = random.Random(seed)
    flights = [
        (f"F{n}", dice.choice(OTHERS), dice.randrange(60), dice.randrange(1, 9), 1) for n in range(dice.choice([1, 40]))
    ]
    rows = rows_of(flights, other)
    places = [HUB, *dice.sample(OTHERS, 2)]
    arrivals = {place: sorted(dice.choices(range(60), k=dice.choice([1, 3]))) for place in places}
    departures = {place: sorted(dice.choices(range(70), k=dice.choice([1, 3]))) for place in places}
    expected = [
        row
        for row in rows
        if any(2 <= row[3] - at <= 6 for at in arrivals.get(row[1], ()))
        and any(2 <= at - row[4] <= 6 for at in departures.get(row[2], ()))
    ]
    found = unpack(HUB, other, pack(rows, other)).connecting(arrivals, departures, 2, 6)
    assert sorted(found) == sorted(expected)


def test_damage_is_a_value_error() -> None:
    flights = [("F1", "AAA", 5, 2, 100), ("F2", "AAA", 6, 2, 100), ("F3", "BBB", 1, 2, 100)]
    data = pack(rows_of(flights, DESTINATION), DESTINATION)
    body = zlib.decompress(data)
    dice = random.Random(3)
    for end in range(len(data)):
        with pytest.raises(ValueError, match="packed airport"):
            unpack(HUB, DESTINATION, data[:end])
    for rubbish in (b"", b"x", dice.randbytes(50), *(zlib.compress(body[:end]) for end in range(len(body) - 8))):
        with pytest.raises(ValueError, match=r"."):
            unpack(HUB, DESTINATION, rubbish)
    for at in range(12):  # numbers that claim more, or less, than there is
        with pytest.raises(ValueError, match=r"."):
            unpack(HUB, DESTINATION, zlib.compress(body[:at] + bytes([body[at] ^ 0x41]) + body[at + 1 :]))


@pytest.mark.parametrize(
    "bad",
    [("A\n1", "AAA", 5, 2, 1), ("", "AAA", 5, 2, 1), ("F1", "A\nA", 5, 2, 1), ("F1", "AAA", 2**63, 2, 1)],
    ids=str,
)
def test_what_cannot_be_kept_is_refused(bad: tuple[str, str, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"flight"):
        pack(rows_of([bad], DESTINATION), DESTINATION)
