"""Importing and exporting schedules: the diff is right, and no booking is lost by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flightctl.core.errors import ValidationError
from flightctl.core.flights import cancel, update
from flightctl.core.model.schedules import (
    DifferenceKind,
    ExportRequest,
    ImportOutcome,
    ImportRequest,
    ImportResult,
    SeedRequest,
)
from flightctl.core.schedule_export import export
from flightctl.core.schedule_import import Import
from flightctl.core.seeding import seed
from tests.builders import DAY, World, unchanged
from tests.conftest import Backend, Cli
from tests.ssim import leg, ssim

HEADER = (
    "carrier,flight_number,origin,destination,departure_local,arrival_local,arrival_day_offset,"
    "days_of_operation,valid_from,valid_to,aircraft_or_seats,price\n"
)
FIRST = f"{DAY:%Y-%m-%d}"
STAMP = f"{DAY:%Y%m%d}"
FLIGHT = f"AI101-{STAMP}"
OTHER = f"AI102-{STAMP}"
Load = Callable[..., Import]


def row(number: str = "101", origin: str = "DEL", destination: str = "BOM", **other: str) -> str:
    v = {"departure": "10:00", "arrival": "12:00", "offset": "0", "seats": "7", "price": "10", "to": FIRST} | other
    return (
        f"AI,{number},{origin},{destination},{v['departure']},{v['arrival']},{v['offset']},1234567,{FIRST},{v['to']},"
        f"{v['seats']},{v['price']}"
    )


@pytest.fixture
def load(world: World, tmp_path: Path) -> Load:
    def read(*rows: str, text: str | None = None, **options: Any) -> Import:
        path = tmp_path / "schedule.csv"
        path.write_text(HEADER + "".join(f"{one}\n" for one in rows) if text is None else text)
        return Import(world.runtime, ImportRequest(str(path), **options))

    return read


@pytest.fixture
def another(migrated_sqlite_url: str) -> Iterator[World]:
    """A database of its own, empty."""
    made = World(Backend("sqlite", migrated_sqlite_url, ""))
    yield made
    made.close()


def told(result: ImportResult) -> list[tuple[str, str, str]]:
    return [(one.kind.value, one.flight_id, one.outcome.value) for one in result.differences]


def test_new_changed_and_gone(world: World, load: Load) -> None:
    first = load(row(), row("102", "BOM", "DEL"), row("103")).apply()
    assert (first.flights, first.new, first.unchanged) == (3, 3, 0)
    assert {outcome for _, _, outcome in told(first)} == {"added"}
    work = load(row(departure="10:30", arrival="12:40", seats="9", price="12.50"), row("102", "BOM", "DEL"), row("104"))
    preview = unchanged(world, work.preview)
    assert told(preview) == [
        ("changed", FLIGHT, "update"),
        ("new", f"AI104-{STAMP}", "add"),
        ("gone", f"AI103-{STAMP}", "cancel"),
    ]
    assert [(one.name, one.old[-5:], one.new[-5:]) for one in preview.differences[0].changes] == [
        ("departureTime", "10:00", "10:30"),
        ("arrivalTime", "12:00", "12:40"),
        ("totalSeats", "7", "9"),
        ("price", "10.00", "12.50"),
    ]
    result = work.apply()
    assert [outcome for _, _, outcome in told(result)] == ["updated", "added", "cancelled"]
    assert (result.unchanged, result.new, result.applied, result.left) == (1, 1, True, ())
    rows = world.sql("SELECT flight_id, status, total_seats, available_seats FROM flights ORDER BY flight_id")
    assert [tuple(one) for one in rows] == [
        (FLIGHT, "ACTIVE", 9, 9),
        (OTHER, "ACTIVE", 7, 7),
        (f"AI103-{STAMP}", "CANCELLED", 7, 7),
        (f"AI104-{STAMP}", "ACTIVE", 7, 7),
    ]
    again = unchanged(
        world,
        load(
            row(departure="10:30", arrival="12:40", seats="9", price="12.50"), row("102", "BOM", "DEL"), row("104")
        ).preview,
    )
    assert (again.unchanged, again.to_do, again.differences) == (3, 0, ())


def test_a_gone_flight_with_bookings_is_left_unless_told(world: World, load: Load) -> None:
    load(row(), row("102")).apply()
    paid, held = world.confirmed(OTHER, 2), world.booked(OTHER, 3)
    work = load(row())
    (gone,) = work.preview().differences
    assert (gone.kind, gone.outcome, gone.bookings, gone.booked_seats) == (
        DifferenceKind.GONE, ImportOutcome.LEAVE, 2, 5,
    )  # fmt: skip
    result = unchanged(world, work.apply)
    assert told(result) == [("gone", OTHER, "left")]
    assert "5 seats are sold or held" in (result.left[0].reason or "")
    assert unchanged(world, load(row(), keep_gone=True).apply).differences == ()
    result = load(row(), cancel_booked=True).apply()
    assert told(result) == [("gone", OTHER, "cancelled")]
    assert (world.status(paid), world.status(held)) == ("CANCELLED", "CANCELLED")
    assert world.paid(paid) == ["REFUND_DUE"]


def test_what_a_change_leaves_to_be_done_is_told(
    world: World, load: Load, monkeypatch: pytest.MonkeyPatch, cli: Cli, tmp_path: Path
) -> None:
    """Bookings of a cancelled flight that could not be ended now, and connections that new times broke."""
    from flightctl.core import flight_cancellation
    from flightctl.core.errors import LockAcquisitionFailedError

    connecting = row("103", "BOM", "BLR", departure="13:30", arrival="15:00")
    load(row(), row("102"), connecting).apply()
    stuck, broken = world.confirmed(OTHER), world.confirmed(f"CF_DEL_BLR_{FLIGHT}_AI103-{STAMP}")

    def locked(*_: Any, **__: Any) -> None:
        raise LockAcquisitionFailedError("somebody keeps its row")

    with monkeypatch.context() as patch:
        patch.setattr(flight_cancellation, "cancel_for_flight", locked)
        result = load(row(arrival="13:00"), connecting, cancel_booked=True).apply()
    assert sorted(told(result)) == [("changed", FLIGHT, "updated"), ("gone", OTHER, "cancelled")]
    reasons = {one.flight_id: one.reason or "" for one in result.unfinished}
    assert reasons[OTHER] == f"bookings left to the sweep: {stuck}: somebody keeps its row"
    assert reasons[FLIGHT] == f"connections that it broke wait to be moved: {broken}"
    assert result.left == ()
    world.sweep()
    assert (world.status(stuck), world.status(broken)) == ("CANCELLED", "CONFIRMED")

    (tmp_path / "again.csv").write_text(f"{HEADER}{row(arrival='13:10')}\n{connecting}\n")
    done = cli("schedule", "import", tmp_path / "again.csv", "--yes", env=world.backend.env)
    assert f"{FLIGHT}: connections that it broke wait to be moved: {broken}" in done.stderr


def test_a_booking_between_preview_and_import_saves_its_flight(world: World, load: Load) -> None:
    load(row(), row("102")).apply()
    work = load(row())
    assert told(work.preview()) == [("gone", OTHER, "cancel")]
    booking = world.confirmed(OTHER)
    assert told(unchanged(world, work.apply)) == [("gone", OTHER, "left")]
    assert world.status(booking) == "CONFIRMED"
    work = load(row(seats="3"))  # and one that takes the seats which the file takes away
    world.booked(FLIGHT, 5)
    result = work.apply()
    assert ("changed", FLIGHT, "left") in told(result)
    assert "5 seats sold or held" in next(one.reason or "" for one in result.left if one.flight_id == FLIGHT)


def test_fewer_seats_than_sold_are_refused_with_the_numbers(world: World, load: Load) -> None:
    load(row(), row("102")).apply()
    world.confirmed(FLIGHT, 4)
    work = load(row(seats="3", departure="11:00", arrival="13:00"), row("102", seats="3"))
    result = work.apply()
    assert told(result) == [("changed", FLIGHT, "left"), ("changed", OTHER, "updated")]
    assert result.left[0].reason == "4 seats are sold or held; it cannot shrink to 3"
    assert world.available(FLIGHT, OTHER) == [3, 3]
    assert told(load(row(seats="4"), row("102", seats="3")).apply()) == [("changed", FLIGHT, "updated")]
    assert world.available(FLIGHT) == [0]


def test_a_sold_flight_takes_new_times(world: World, load: Load) -> None:
    load(row()).apply()
    booking = world.confirmed(FLIGHT, 2)
    result = load(row(departure="18:00", arrival="20:00")).apply()
    assert (told(result), result.differences[0].booked_seats) == ([("changed", FLIGHT, "updated")], 2)
    assert world.status(booking) == "CONFIRMED"


def test_another_destination_is_another_flight(world: World, load: Load) -> None:
    load(row()).apply()
    result = unchanged(world, load(row(destination="GOI")).apply)
    assert told(result) == [("changed", FLIGHT, "left")]
    assert "GOI" in (result.left[0].reason or "")


def test_flights_outside_the_file_are_none_of_its_business(world: World, load: Load) -> None:
    """Other airlines and other dates."""
    world.flight("UK1", carrier="UK", number="1")
    load(row(to=f"{DAY + timedelta(days=3):%Y-%m-%d}")).apply()
    result = load(row("105")).preview()
    assert told(result) == [("new", f"AI105-{STAMP}", "add"), ("gone", FLIGHT, "cancel")]


def test_what_has_departed_stays(world: World, load: Load) -> None:
    yesterday = f"{DAY - timedelta(days=3):%Y-%m-%d}"
    departed = "AI,{},DEL,BOM,{},12:00,0,1234567,{},{},7,10"
    load(*(departed.format(number, "10:00", yesterday, yesterday) for number in (101, 102))).apply()
    result = unchanged(world, load(departed.format(101, "09:00", yesterday, yesterday)).apply)
    assert (result.flights, result.unchanged, result.differences) == (1, 1, ())


def test_nothing_is_gone_that_a_bad_row_may_be_about(world: World, load: Load) -> None:
    load(row(), row("102"), row("103")).apply()
    result = load(row(), row("102", seats="0")).preview()
    assert told(result) == [("gone", OTHER, "leave"), ("gone", f"AI103-{STAMP}", "cancel")]
    assert result.left[0].reason == "line 3, which was rejected, may be about it"
    result = load(row(), "AI,1").preview()
    assert {outcome for _, _, outcome in told(result)} == {"leave"}


def test_cancelled_flights_stay_cancelled_unless_told(world: World, load: Load) -> None:
    load(row(), row("102")).apply()
    booking = world.confirmed(OTHER)
    cancel(world.runtime, OTHER, reason="fog")
    result = unchanged(world, load(row(), row("102")).apply)
    assert (result.differences, result.cancelled) == ((), 1)
    result = load(row(), row("102", price="20"), reinstate=True).apply()
    assert told(result) == [("changed", OTHER, "reinstated")]
    assert world.status(booking) == "CANCELLED"
    assert world.available(OTHER) == [7]
    assert world.booked(OTHER)
    assert world.one("SELECT price FROM flights WHERE flight_id = %s", OTHER) == world.money("20")


def test_a_flight_that_flies_again_with_its_old_times_is_not_told_to_be_as_it_was(
    world: World, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody booked all of it between the two steps."""
    from flightctl.core import schedule_import

    load(row()).apply()
    cancel(world.runtime, FLIGHT, reason=None)
    work = load(row(seats="3"), reinstate=True)
    original = schedule_import.flight_cases.update

    def after_a_sale(*args: Any, **more: Any) -> Any:
        world.booked(FLIGHT, 5)
        return original(*args, **more)

    monkeypatch.setattr(schedule_import.flight_cases, "update", after_a_sale)
    [left] = work.apply().left
    assert (left.reason or "").startswith("it flies again, but as it was: ")
    assert "5 seats sold or held" in (left.reason or "")
    assert world.one("SELECT status FROM flights WHERE flight_id = %s", FLIGHT) == "ACTIVE"


def test_a_cancellation_that_has_not_ended_is_not_undone(world: World, load: Load) -> None:
    load(row()).apply()
    world.confirmed(FLIGHT)
    world.cancel_by_half(FLIGHT)
    result = unchanged(world, load(row(), reinstate=True).apply)
    assert told(result) == [("changed", FLIGHT, "left")]
    world.sweep()


def test_what_a_file_does_not_say_is_no_difference(world: World, load: Load) -> None:
    load(row()).apply()
    record = leg(
        "101", carrier="AI", dates=f"{DAY:%d%b%y}{DAY:%d%b%y}".upper(), dep="1000", arr="1200", type="ZZZ", config=""
    )
    assert unchanged(world, load(text=ssim([record], carrier="AI")).preview).differences == ()
    assert unchanged(world, load(row(seats="", price="")).preview).differences == ()


def test_searches_and_counts_follow(world: World, load: Load) -> None:
    load(row(), row("102")).apply()
    assert {one.flight_identifier for one in world.search().content} == {FLIGHT, OTHER}
    load(row(seats="5")).apply()
    assert [(one.flight_identifier, one.available_seats) for one in world.search().content] == [(FLIGHT, 5)]


def test_the_range(world: World, load: Load) -> None:
    week = f"{DAY + timedelta(days=6):%Y-%m-%d}"
    work = load(row(to=week)).preview()
    assert (work.first_day, work.last_day, work.flights) == (DAY.date(), DAY.date() + timedelta(days=6), 7)
    assert load(row(to=week), days=3).preview().flights == 3
    assert load(row(to=week), start=week).preview().flights == 1
    past = "AI,101,DEL,BOM,10:00,12:00,0,1234567,2005-06-01,2005-06-07,7,10"
    assert load(past).preview().flights == 7
    assert load(past, start="today").preview().flights == 0
    both = "AI,101,DEL,BOM,10:00,12:00,0,1234567,,,7,10"
    assert load(both).preview().flights == 30
    for days in (0, 367):
        with pytest.raises(ValidationError, match="--days"):
            load(both, days=days)


def test_no_good_row(load: Load) -> None:
    with pytest.raises(ValidationError, match="no row") as caught:
        load(row("0"))
    assert caught.value.details == {"skipped": 1}


@pytest.mark.parametrize("ssim_format", [False, True], ids=["csv", "ssim"])
def test_what_is_exported_imports_without_a_difference(
    world: World, load: Load, ssim_format: bool, another: World
) -> None:
    seed(world.runtime, SeedRequest(start=FIRST, days=20))
    changed, gone = (name for (name,) in world.sql("SELECT flight_id FROM flights ORDER BY flight_id LIMIT 2"))
    update(world.runtime, changed, price="1.50", seats=3)
    cancel(world.runtime, gone, reason=None)
    world.confirmed(changed, 2)
    exported = export(world.runtime, ExportRequest(ssim=ssim_format))
    flights = world.one("SELECT COUNT(*) FROM flights WHERE status = 'ACTIVE'")
    assert (exported.flights, exported.left_out) == (flights, ())
    assert len(exported.rows) < flights / 3
    result = unchanged(world, load(text=exported.text).preview)
    assert (result.flights, result.unchanged, result.differences, result.rejected) == (flights, flights, (), ())
    # And into an empty database: the same flights.
    assert Import(another.runtime, ImportRequest(result.file)).apply().new == flights
    assert export(another.runtime, ExportRequest(ssim=ssim_format)).text == exported.text


def test_export_of_a_part(world: World, load: Load) -> None:
    load(row(to=f"{DAY + timedelta(days=6):%Y-%m-%d}")).apply()
    world.flight("UK1", carrier="UK", number="1")
    world.flight("F1")
    everything = export(world.runtime, ExportRequest())
    assert (everything.flights, [name for name, _ in everything.left_out]) == (9, ["F1"])
    assert [one.carrier for one in everything.rows] == ["AI", "UK"]
    assert export(world.runtime, ExportRequest(carrier="ai")).flights == 7
    assert export(world.runtime, ExportRequest(first=FIRST, days=2, carrier="AI")).flights == 2
    for wrong in (ExportRequest(days=0), ExportRequest(first="x"), ExportRequest(carrier="?")):
        with pytest.raises(ValidationError):
            export(world.runtime, wrong)


def test_an_interrupted_import_is_finished_by_another(world: World, load: Load) -> None:
    load(row(), row("102"), row("103")).apply()
    booking = world.confirmed(FLIGHT, 2)
    wanted = (row(departure="11:00", arrival="13:00"), row("104"), row("105"))

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(*wanted).apply(interrupt)
    rest = load(*wanted)
    assert 0 < rest.preview().to_do < 5  # some of it was done
    assert rest.apply().left == ()
    assert unchanged(world, load(*wanted).preview).to_do == 0
    assert (world.status(booking), world.available(FLIGHT)) == ("CONFIRMED", [5])
