"""Packed days: searches answer from them as from the rows, and never what was before a change of the schedule."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, literal, update

from flightctl.core import flights, loading, packed_days
from flightctl.core.database import Transaction
from flightctl.core.errors import LockAcquisitionFailedError, ValidationError
from flightctl.core.loading import Loaded, load
from flightctl.core.model.schedules import ImportRequest, SeedRequest
from flightctl.core.packed_days import keep_packed, pack_days
from flightctl.core.runtime import Runtime
from flightctl.core.schedule import database_now, raise_version
from flightctl.core.schedule_import import Import
from flightctl.core.schema import flights as flights_table
from flightctl.core.schema import packed_days as packed_days_table
from flightctl.core.schema import schedule_state
from flightctl.core.seeding import seed
from flightctl.core.sql_functions import utc_now
from tests.builders import DAY, LONG_AGO, World, at
from tests.integration.test_search import compare, network, questions
from tests.servers import mysql_connection

TWO_KINDS = pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)
ON_MYSQL = pytest.mark.parametrize("backend", ["mysql"], indirect=True)


def packed(world: World) -> list[str]:
    return [
        str(day) for (day,) in world.sql("SELECT utc_day FROM packed_days WHERE packed_at IS NOT NULL ORDER BY utc_day")
    ]


def pack(world: World, days: int = 1) -> Any:
    return pack_days(world.runtime, date=f"{DAY:%Y-%m-%d}", days=days)


def day(offset: int = 0) -> str:
    return f"{DAY + timedelta(days=offset):%Y-%m-%d}"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_against_the_oracle(world: World, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = network(world, number)
    pack_days(world.runtime, date=day(-1), days=3)
    without = world.another(FLIGHTCTL_REDIS_URL="")
    asked = questions(random.Random(number), 25)
    from_days = _counted(monkeypatch)
    assert compare(world, made, without, asked) > 50
    assert len(from_days) > 25
    assert all(from_days)
    compare(world, made, world.runtime, asked)
    compare(world, made, world.runtime, asked)  # where there is Redis: from there


def _counted(patch: pytest.MonkeyPatch) -> list[bool]:
    """Of every question with a flight to anywhere but the destination: whether it was answered from packed days."""
    told = []

    def counting(*args: Any, **more: Any) -> Loaded:
        loaded = load(*args, **more)
        if loaded.timetable.middle_count or len(loaded.timetable) > loaded.timetable.first_count:
            told.append(loaded.packed)
        return loaded

    patch.setattr(loading, "load", counting)
    return told


def test_what_is_packed_is_told(world: World) -> None:
    world.line()
    assert pack(world).flights == 3
    assert packed(world) == [day(offset) for offset in range(-1, 4)]
    trace = world.search("DEL", "MAA").trace
    assert (trace.packed, trace.rows_read, trace.flights) == (True, 3, 3)
    assert any("flights read from packed days" in line for line in trace.lines())


@TWO_KINDS
def test_filters_and_connection_times_hold_as_for_rows(world: World) -> None:
    network(world, 7)
    for bounds in ({}, {"FLIGHTCTL_SEARCH_MIN_CONNECTION": "0s", "FLIGHTCTL_SEARCH_MAX_CONNECTION": "48h"}):
        runtime = world.another(**bounds)
        pack_days(runtime, date=day(), days=1)
        from_days = world.search("DEL", "BOM", runtime=runtime, size=100)
        world.sql("UPDATE packed_days SET packed_at = '2020-01-01 00:00:00.000000'")
        from_rows = world.search("DEL", "BOM", runtime=runtime, size=100)
        assert (from_days.content, from_days.total_elements) == (from_rows.content, from_rows.total_elements)
        assert (from_days.trace.packed, from_rows.trace.packed) == (True, False)


# --- fresh -----------------------------------------------------------------------------------------------------------


def _cancel(world: World) -> None:
    flights.cancel(world.runtime, "F2", reason=None)


def _reprice(world: World) -> None:
    flights.update(world.runtime, "F2", price="7.00")


def _retime(world: World) -> None:
    local = (at(11) + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%dT%H:%M")
    lands = (at(13) + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%dT%H:%M")
    flights.update(world.runtime, "F2", departure=local, arrival=lands)


def _add(world: World) -> None:
    local = (at(10.5) + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%dT%H:%M")
    lands = (at(12) + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%dT%H:%M")
    flights.add(
        world.runtime, flight="XX1", source="BOM", destination="BLR", departure=local, arrival=lands, seats=9, price="5"
    )


CSV = (
    "carrier,flight_number,origin,destination,departure_local,arrival_local,arrival_day_offset,days_of_operation,valid_from,"
    "valid_to,aircraft_or_seats,price\n"
)


def _file(tmp_path: Path, rows: str) -> str:
    path = tmp_path / "schedule.csv"
    path.write_text(CSV + rows)
    return str(path)


CHANGES: dict[str, Callable[[World], None]] = {
    "cancelled": _cancel,
    "repriced": _reprice,
    "retimed": _retime,
    "added": _add,
}


@TWO_KINDS
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_unpacks_its_day_alone(world: World, change: Callable[[World], None]) -> None:
    world.line()
    world.flight("NEXT", "DEL", "BOM", at(6, day=1))
    pack(world)
    before = world.search("DEL", "BLR")
    assert before.trace.packed
    change(world)
    after = world.search("DEL", "BLR")
    assert shown(after) != shown(before)
    assert not after.trace.packed
    assert packed(world) == [day(offset) for offset in (-1, 1, 2, 3)]
    pack(world)
    again = world.search("DEL", "BLR")
    assert shown(again) == shown(after)
    assert again.trace.packed


def shown(result: Any) -> list[Any]:
    return [(i.flight_identifier, i.price, i.legs[0].departure_time, i.legs[-1].arrival_time) for i in result.content]


@TWO_KINDS
def test_a_flight_that_moves_over_midnight_unpacks_both_days(world: World) -> None:
    """Of its day at the origin there are two in UTC."""
    world.flight("F1", "DEL", "BOM", at(17))  # 22:30 in Delhi
    pack(world)
    local = f"{DAY:%Y-%m-%d}"
    flights.update(world.runtime, "F1", departure=f"{local}T02:00", arrival=f"{local}T04:00")  # 20:30 of the day before
    assert packed(world) == [day(offset) for offset in (1, 2, 3)]


@TWO_KINDS
def test_a_seed_unpacks_the_days_of_what_it_adds(world: World, tmp_path: Path) -> None:
    world.line()
    pack(world)
    row = f"ZZ,1,BOM,BLR,16:00,18:00,0,1234567,{day()},{day()},9,3.00\n"
    request = SeedRequest(file=_file(tmp_path, row), start=day(), days=1)
    assert seed(world.runtime, request).added == 1
    assert packed(world) == [day(offset) for offset in (-1, 1, 2, 3)]
    assert "ZZ1" in world.search("DEL", "BLR").content[0].flight_identifier
    pack(world)
    assert seed(world.runtime, request).added == 0
    assert packed(world) == [day(offset) for offset in range(-1, 4)]


@TWO_KINDS
def test_a_reset_unpacks_all(world: World) -> None:
    world.line()
    pack(world)
    seed(world.runtime, SeedRequest(dataset="demo", start="+1d", days=1, reset=True))
    assert packed(world) == []
    assert world.one("SELECT COUNT(*) FROM packed_airports") == 0


@TWO_KINDS
def test_an_import_unpacks_what_it_cancels_and_reinstates(world: World, tmp_path: Path) -> None:
    row = f"ZZ,1,DEL,BOM,10:00,12:00,0,1234567,{day()},{day()},9,3.00\n"
    other = f"ZZ,2,DEL,BOM,11:00,13:00,0,1234567,{day()},{day()},9,3.00\n"
    seed(world.runtime, SeedRequest(file=_file(tmp_path, row + other), start=day(), days=1))
    pack(world)
    assert world.search().total_elements == 2
    for rows, left in ((other, 1), (row + other, 2)):
        request = ImportRequest(file=_file(tmp_path, rows), start=day(), days=1, reinstate=True)
        Import(world.runtime, request).apply()
        assert world.search().total_elements == left
        assert day() not in packed(world)
        pack(world)


# --- bounds ----------------------------------------------------------------------------------------------------------


@TWO_KINDS
def test_other_peoples_sql_shows_an_hour_later_at_most(world: World) -> None:
    world.line()
    pack(world)
    world.sql("UPDATE flights SET status = 'CANCELLED' WHERE flight_id = 'F2'")
    assert "F2" in _found(world)
    hour_ago = [
        f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '-{seconds} seconds')"
        if world.backend.is_sqlite
        else f"UTC_TIMESTAMP(6) - INTERVAL {seconds} SECOND"
        for seconds in (3570, 3601)
    ]
    for moment, is_packed in zip(hour_ago, (True, False), strict=True):
        world.sql(f"UPDATE packed_days SET packed_at = {moment}")
        assert world.search("DEL", "BLR").trace.packed is is_packed


def _found(world: World) -> list[str]:
    """What the packed days lead to; without seats, as a cancelled flight is, a search would not show it."""
    bounds = {"min_connection": 3600 * 10**6, "max_connection": 6 * 3600 * 10**6}
    loaded = world.runtime.database.read(lambda tx: load(tx, "DEL", "BLR", DAY.date(), **bounds, packed=True))
    assert loaded.packed
    return loaded.timetable.ids


@TWO_KINDS
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE packed_airports SET arrivals = 'rubbish'",
        "UPDATE packed_airports SET departures = 'rubbish'",
        f"DELETE FROM packed_days WHERE utc_day = '{day()}'",
        f"DELETE FROM packed_days WHERE utc_day = '{day(1)}'",
    ],
)
def test_what_is_damaged_or_missing_is_read_from_the_rows(world: World, damage: str) -> None:
    """The last leg may be one of the next day."""
    world.line()
    world.flight("F4", "BLR", "MAA", at(16))
    world.flight("LONG", "BOM", "BLR", at(10), lasting=8)
    pack(world)
    before = world.search("DEL", "MAA")
    assert before.trace.packed
    world.sql(damage)
    after = world.search("DEL", "MAA")
    assert (shown(after), after.trace.packed) == (shown(before), False)


@TWO_KINDS
def test_what_has_not_changed_is_believed_longer_and_packing_by_hand_mends(world: World) -> None:
    world.line()
    while keep_packed(world.runtime, 3):
        pass
    world.sql(f"UPDATE packed_days SET packed_at = '{LONG_AGO}', claimed_at = '{LONG_AGO}'")
    world.sql("UPDATE packed_airports SET arrivals = 'mark' WHERE airport = 'BOM'")
    while keep_packed(world.runtime, 3):
        pass
    assert world.one("SELECT COUNT(*) FROM packed_days WHERE packed_at < '2021-01-01'") == 0
    assert world.one("SELECT COUNT(*) FROM packed_airports WHERE arrivals = 'mark'") == 1
    pack(world)
    assert world.one("SELECT COUNT(*) FROM packed_airports WHERE arrivals = 'mark'") == 0


@TWO_KINDS
def test_only_what_is_packed_of_a_flight_unpacks_its_day(world: World) -> None:
    world.line()
    pack(world)
    flights.update(world.runtime, "F2", seats=20)
    flights.update(world.runtime, "F2", price="1000.00")  # as it was
    world.booked("F2")
    assert packed(world) == [day(offset) for offset in range(-1, 4)]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("midnight", ["{} 00:00:00", "{}T00:00:00", "{}T23:30:00"])
def test_an_instant_of_other_peoples_making_is_of_its_day(world: World, midnight: str) -> None:
    """Text without a fraction sorts before the day's beginning, with a T after its end."""
    world.flight("F1", "DEL", "BOM", at(20, day=-1))
    world.flight("F2", "BOM", "BLR", at(1))
    times = midnight.format(day()), f"{day(2)} 00:00:00.000000"
    world.sql("UPDATE flights SET departure_time = %s, arrival_time = %s WHERE flight_id = 'F2'", *times)
    pack(world)
    assert world.one("SELECT COUNT(*) FROM packed_airports WHERE airport = 'BLR' AND utc_day = %s", day()) == 1


@pytest.mark.parametrize("backend", ["mysql+redis"], indirect=True)
def test_routes_in_redis_expire_with_the_packed_days_they_are_made_of(world: World) -> None:
    world.line()
    pack(world)
    world.sql(f"UPDATE packed_days SET packed_at = packed_at - INTERVAL 50 MINUTE WHERE utc_day = '{day()}'")
    world.search("DEL", "BLR")
    assert 590 <= world.redis.ttl(f"routes:DEL:BLR:{day()}") <= 600  # type: ignore[operator]


@TWO_KINDS
def test_days_are_kept_packed(world: World) -> None:
    world.line()
    today = world.runtime.database.read(database_now).date()
    world.sql(f"INSERT INTO packed_days VALUES ('2020-01-01', '', '{LONG_AGO}', 0, '', '{LONG_AGO}')")
    done = set()
    while (one := keep_packed(world.runtime, 2)) is not None:
        assert one.day not in done
        done.add(one.day)
    assert done == {today + timedelta(days=offset) for offset in range(-1, 5)}
    assert packed(world) == sorted(str(one) for one in done)
    flights.cancel(world.runtime, "F2", reason=None)
    again = keep_packed(world.runtime, 2)
    assert again is not None
    assert (again.day, again.flights) == (DAY.date(), 2)
    world.sql(f"UPDATE packed_days SET packed_at = '{LONG_AGO}', claimed_at = '{LONG_AGO}' WHERE utc_day = '{today}'")
    again = keep_packed(world.runtime, 2)
    assert again is not None
    assert again.day == today


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("bad", [{"days": 0}, {"days": 367}, {"date": "x"}, {"date": "9998-12-31"}], ids=str)
def test_bad_days(world: World, bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        pack_days(world.runtime, **{"date": "today", "days": 1, **bad})


# --- races -----------------------------------------------------------------------------------------------------------


def _elsewhere(world: World) -> Runtime:
    """With connections of its own."""
    return world.another(FLIGHTCTL_DATABASE_URL=world.backend.database_url)


def _read_and(change: Callable[[], Any], *, every_time: bool = False) -> Callable[..., Any]:
    """``packed_days._read``, with a change after the reading of DAY."""
    read, left = packed_days._read, [1]

    def changed(which: date, claim: str, tx: Any) -> Any:
        found = read(which, claim, tx)
        if which == DAY.date() and (left or every_time):
            left.clear()
            change()
        return found

    return changed


def _cancel_elsewhere(world: World) -> None:
    flights.cancel(_elsewhere(world), "F2", reason=None)


@TWO_KINDS
def test_a_change_between_reading_and_writing_is_not_packed_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: the claim, which the change takes away."""
    world.line()
    monkeypatch.setattr(packed_days, "_read", _read_and(lambda: _cancel_elsewhere(world)))
    pack(world)
    assert "F2" not in _found(world)
    assert len(packed(world)) == 5


@TWO_KINDS
def test_control_without_the_claim_what_was_before_is_packed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def store(found: Any, claim: str, alike: bool, tx: Any) -> bool:
        if tx.execute(packed_days._DAY, {"day": found.day}).first() is None:
            tx.execute(packed_days._ADD_CLAIM, {"day": found.day, "mine": claim})
        return original(found, claim, alike, tx)

    original = packed_days._store
    monkeypatch.setattr(packed_days, "_store", store)
    world.line()
    monkeypatch.setattr(packed_days, "_read", _read_and(lambda: _cancel_elsewhere(world)))
    pack(world)
    assert "F2" in _found(world), "control: it would be believed for an hour"


@TWO_KINDS
def test_a_day_that_keeps_changing_is_not_packed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.line()
    prices = iter(range(1, 100))

    def reprice() -> None:
        flights.update(_elsewhere(world), "F3", price=str(next(prices)))

    monkeypatch.setattr(packed_days, "_read", _read_and(reprice, every_time=True))
    with pytest.raises(LockAcquisitionFailedError, match="keep changing"):
        pack(world)
    assert day() not in packed(world)
    assert packed_days._pack(world.runtime, DAY.date()) is None


@TWO_KINDS
def test_changes_of_other_days_do_not_matter(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.line()
    world.flight("OTHER", "DEL", "BOM", at(6, day=9))
    prices = iter(range(1, 100))

    def reprice() -> None:
        flights.update(_elsewhere(world), "OTHER", price=str(next(prices)))

    monkeypatch.setattr(packed_days, "_read", _read_and(reprice, every_time=True))
    pack(world)
    assert next(prices) == 2
    assert day() in packed(world)


@TWO_KINDS
def test_a_day_that_somebody_packs_is_left_to_him(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.line()
    others: list[Any] = []

    def look() -> None:
        others.append(packed_days._pack(_elsewhere(world), DAY.date()))
        others.append(day() in [str(one) for one in _cared_for(world)])

    monkeypatch.setattr(packed_days, "_read", _read_and(look))
    assert packed_days._pack(world.runtime, DAY.date()) is not None
    assert others == [None, True]
    assert packed(world) == [day()]


def _cared_for(world: World) -> set[date]:
    return _elsewhere(world).database.read(packed_days._look)[1]


@TWO_KINDS
def test_what_a_dead_one_has_claimed_is_taken_over(world: World) -> None:
    world.line()
    world.runtime.database.run(partial(packed_days._claim, DAY.date(), "dead"))
    assert packed_days._pack(world.runtime, DAY.date()) is None
    age = threading.Timer(0.5, lambda: Later(world.backend).sql("UPDATE packed_days SET claimed_at = %s", LONG_AGO))
    age.start()
    pack(world)  # by hand it is waited for
    age.join()
    assert day() in packed(world)


class Later(World):
    """For another thread: with a connection of its own."""

    @property
    def _connection(self) -> Any:
        made = self.backend._sqlite() if self.backend.is_sqlite else mysql_connection(self.backend.database_url)
        return made


@TWO_KINDS
def test_a_claim_of_others_is_not_taken_for_ones_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: packed_days._KEEP names the claim. Read; changed, and so unclaimed; claimed by somebody else; kept?"""
    world.line()
    monkeypatch.setattr(packed_days, "_read", _read_and(lambda: _cancel_and_claim(world)))
    assert packed_days._pack(world.runtime, DAY.date()) is None
    assert packed(world) == []
    found = world.runtime.database.read(partial(packed_days._read, DAY.date(), "other"))
    assert found is not None
    assert found.flights == 2
    assert world.runtime.database.run(partial(packed_days._store, found, "other", False))
    assert packed(world) == [day()]


@TWO_KINDS
def test_control_a_claim_without_a_name_keeps_what_was_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    nameless = update(packed_days_table).where(packed_days._OF_DAY, literal("") != bindparam("mine"))
    kept = nameless.values(
        longest=bindparam("flying"), digest=bindparam("made"), packed_at=packed_days_table.c.claimed_at
    )
    monkeypatch.setattr(packed_days, "_KEEP", kept)
    world.line()
    monkeypatch.setattr(packed_days, "_read", _read_and(lambda: _cancel_and_claim(world)))
    found = packed_days._pack(world.runtime, DAY.date())
    assert found is not None
    assert found.flights == 3
    assert packed(world) == [day()]


def _cancel_and_claim(world: World) -> None:
    _cancel_elsewhere(world)
    _elsewhere(world).database.run(partial(packed_days._claim, DAY.date(), "other"))


def _in_flight(world: World) -> tuple[threading.Thread, threading.Event]:
    """A cancel of F2 that has taken packed days away, and commits half a second later."""
    runtime, begun = _elsewhere(world), threading.Event()

    def work(tx: Any) -> None:
        raise_version(tx, ["F2"])
        tx.change(update(flights_table).where(flights_table.c.flight_id == "F2").values(status="CANCELLED"))
        begun.set()
        time.sleep(0.5)

    return threading.Thread(target=lambda: runtime.database.run(work)), begun


@ON_MYSQL
def test_a_day_is_read_behind_the_changes_that_are_on_their_way(world: World) -> None:
    """Guard: packed_days._claim writes the row of schedule_state."""
    world.line()
    assert "F2" not in _packed_beside_a_change(world)


@ON_MYSQL
def test_control_a_claim_that_waits_for_nobody_is_not_seen_by_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = update(schedule_state).where(schedule_state.c.id < 0).values(updated_at=utc_now())
    monkeypatch.setattr(packed_days, "_BEHIND_CHANGES", nothing)
    world.line()
    assert "F2" in _packed_beside_a_change(world)


def _packed_beside_a_change(world: World) -> list[str]:
    change, begun = _in_flight(world)
    change.start()
    assert begun.wait(10)
    pack(world)
    change.join(10)
    world.stale.add("F2")
    return _found(world)


@ON_MYSQL
def test_a_change_that_comes_while_a_day_is_written_waits_and_unpacks_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.line()
    other = _elsewhere(world)
    other.database.read(database_now)
    ended: list[float] = []
    threads: list[threading.Thread] = []

    def cancel() -> None:
        flights.cancel(other, "F2", reason=None)
        ended.append(time.monotonic())

    def insert(tx: Any, statement: Any, rows: Any) -> None:
        original(tx, statement, rows)
        if rows[0].get("utc_day") == DAY.date() and not threads:
            threads.append(threading.Thread(target=cancel))
            threads[0].start()
            time.sleep(0.5)
            assert not ended, "the change did not wait"

    original = Transaction.insert
    monkeypatch.setattr(Transaction, "insert", insert)
    pack(world)
    threads[0].join(10)
    assert ended
    assert day() not in packed(world)
