"""`db archive`: what flew goes, with its whole story; nothing is lost, whatever happens in between."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest

from flightctl.core import archive as module
from flightctl.core import archive_return, disruption
from flightctl.core.archive import archive
from flightctl.core.audit import audit
from flightctl.core.errors import BookingNotFoundError, InvalidStateError, ValidationError
from flightctl.core.model.operations import ArchiveResult
from flightctl.core.payments import process
from tests.builders import LONG_AGO, TWO_LEGS, World, at, unchanged
from tests.checker import exact, violations

TABLES = (
    "flights",
    "bookings",
    "booking_flights",
    "seat_reservations",
    "payments",
    "refunds",
    "booking_events",
    "mock_gateway_ledger",
)


def _season(world: World) -> dict[str, str]:
    """Bookings that ended in every way on three flights that have flown, and one that still flies."""
    world.line(seats=30)
    world.flight("NEW", "BLR", "MAA", at(15))
    booked = {
        "confirmed": world.confirmed(TWO_LEGS, 2),
        "expired": world.expired(TWO_LEGS),
        "released": world.booked("F1"),
        "refunded": world.confirmed("F1"),
        "due": world.confirmed("F2"),
        "flies on": world.confirmed("CF_BOM_MAA_F2_NEW"),
    }
    world.release(booked["released"])
    world.release(booked["refunded"])
    process(world.runtime, everything=True)
    world.sql("UPDATE payments SET source = 'AGENT' WHERE booking_id = %s", booked["due"])
    world.sql(
        "DELETE FROM mock_gateway_ledger WHERE request_id IN (SELECT payment_id FROM payments WHERE source = 'AGENT')"
    )
    world.release(booked["due"])
    for flight in "F1", "F2", "F3":
        world.sql(
            "UPDATE flights SET departure_time = %s, arrival_time = '2020-01-01 02:00:00.000000',"
            " departure_date = '2020-01-01' WHERE flight_id = %s",
            LONG_AGO,
            flight,
        )
    return booked


def _run(world: World, **more: Any) -> ArchiveResult:
    return archive(world.runtime, before="2020-02-01", **more)


def _everything(world: World) -> dict[str, set[str]]:
    """All rows, live and archived, as JSON; without what archiving itself changes of a flight."""
    found: dict[str, set[str]] = defaultdict(set)

    def add(table: str, row: dict[str, Any]) -> None:
        if table == "flights":
            row = {key: value for key, value in row.items() if key not in {"available_seats", "seat_version"}}
        found[table].add(json.dumps(row, default=str, sort_keys=True))

    from sqlalchemy import select

    from flightctl.core.schema import metadata

    def live(tx: Any) -> None:
        for table in TABLES:
            for row in tx.execute(select(metadata.tables[table])):
                add(table, json.loads(json.dumps(dict(row._mapping), default=module._plain)))

    world.runtime.database.read(live)
    for document in _archived(world).values():
        for table, rows in document.items():
            for row in rows:
                add(table, row)
    return found


def _archived(world: World) -> dict[tuple[str, str], Any]:
    return {(kind, key): json.loads(text) for kind, key, text in world.sql("SELECT kind, id, document FROM archived")}


def test_what_is_settled_moves_with_all_its_rows(world: World) -> None:
    booked = _season(world)
    before = _everything(world)
    preview = _run(world, dry_run=True)
    assert _everything(world) == before
    result = _run(world)
    assert (preview.flights, preview.bookings, preview.kept) == (result.flights, result.bookings, result.kept)
    assert (result.flights, result.bookings, result.kept) == (2, 4, 2)
    assert {row[0] for row in world.sql("SELECT booking_id FROM bookings")} == {booked["due"], booked["flies on"]}
    assert {row[0] for row in world.sql("SELECT flight_id FROM flights")} == {"F2", "NEW"}
    assert _everything(world) == before
    assert world.faults() == []
    assert violations(world.execute) == []
    assert _run(world).bookings == 0


def test_the_seats_that_flew_are_on_record(world: World) -> None:
    _season(world)
    _run(world)
    seats = dict(world.sql("SELECT id, seats FROM archived WHERE kind = 'flight'"))
    assert seats == {"F1": 2, "F2": 2, "F3": 0}
    assert world.available("F2") == [30 - 1]  # the one that flies on


def test_what_was_kept_follows_when_it_is_settled(world: World) -> None:
    booked = _season(world)
    _run(world)
    before = _everything(world)
    world.sql("UPDATE payments SET source = 'GATEWAY' WHERE booking_id = %s", booked["due"])
    process(world.runtime, everything=True)
    assert _run(world).bookings == 1
    assert before.keys() == _everything(world).keys()
    assert world.faults() == []


def test_paid_seats_on_a_flight_that_never_flew_stay_in_sight(world: World) -> None:
    """Whether they wait to be moved or for a killed cancellation to be finished: the money is not settled."""
    booked = _season(world)
    world.cancel_by_half("F1")
    world.runtime.database.run(lambda tx: disruption.mark_confirmed(tx, "F1"))
    _run(world)
    assert world.status(booked["confirmed"]) == "CONFIRMED"
    world.release(booked["confirmed"])
    process(world.runtime, everything=True)
    _run(world)
    assert world.sql("SELECT 1 FROM bookings WHERE booking_id = %s", booked["confirmed"]) == []


class Killed(BaseException):
    """Nobody catches it: as if the process had been killed."""


def test_killed_after_any_commit_nothing_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every transaction leaves the invariant and every row; the next run finishes the work."""
    _season(world)
    before = _everything(world)
    monkeypatch.setattr(module, "BATCH", 1)
    database = world.runtime.database
    original, runs = database.run, 0
    while True:
        left = [1]

        def run(*args: Any, left: list[int] = left, **more: Any) -> Any:
            if not left:
                raise Killed
            left.clear()
            return original(*args, **more)

        monkeypatch.setattr(database, "run", run)
        try:
            _run(world)
        except Killed:
            runs += 1
        finally:
            monkeypatch.setattr(database, "run", original)
        assert _everything(world) == before
        assert world.faults() == []
        if runs > 8:
            break
        if not world.sql("SELECT 1 FROM flights WHERE flight_id = 'F3'"):
            break
    _run(world)
    assert {row[0] for row in world.sql("SELECT flight_id FROM flights")} == {"F2", "NEW"}
    assert _everything(world) == before


def _without_ids(found: dict[str, set[str]]) -> dict[str, set[str]]:
    """The numbers of holds and events are the database's own."""
    numbered = ("seat_reservations", "booking_events")
    plain = {table: [json.loads(row) for row in rows] for table, rows in found.items()}
    for table in numbered:
        for row in plain.get(table, ()):
            del row["id"]
    return {table: {json.dumps(row, sort_keys=True) for row in rows} for table, rows in plain.items()}


@pytest.mark.parametrize("name", ["confirmed", "expired", "released", "refunded"])
def test_late_money_for_an_archived_booking_is_recorded_and_paid_back(world: World, name: str) -> None:
    booked = _season(world)
    whole = _everything(world)
    before = _without_ids(whole)
    seats = dict(world.sql("SELECT flight_id, available_seats FROM flights"))
    _run(world)
    flown = dict(world.sql("SELECT id, seats FROM archived WHERE kind = 'flight'"))
    booking = booked[name]
    result = world.callback(booking, "SUCCESS", "pay-late")
    assert (result.payment_status, result.changed) == ("REFUND_DUE", True)
    [total] = world.sql("SELECT total_price FROM bookings WHERE booking_id = %s", booking)[0]
    assert (exact(total), "DUE") in world.refunds(booking)
    after = _without_ids(_everything(world))
    assert all(rows <= after[table] for table, rows in before.items()), "with all that there was of it"
    if not world.backend.is_sqlite:  # which gives the highest numbers again
        numbers = {json.loads(row)["id"] for row in whole["booking_events"]}
        assert numbers <= {json.loads(row)["id"] for row in _everything(world)["booking_events"]}
    assert [len(after[table] - before[table]) for table in ("payments", "refunds", "booking_events")] == [1, 1, 2]
    assert world.faults() == []
    if name == "confirmed":
        assert world.available("F1") == [seats["F1"]]
        assert dict(world.sql("SELECT id, seats FROM archived WHERE kind = 'flight'"))["F1"] == flown["F1"] - 2
    assert not unchanged(world, lambda: world.callback(booking, "SUCCESS", "pay-late")).changed
    process(world.runtime, everything=True)
    assert world.payments(booking)["pay-late"][0] == "REFUNDED"
    assert audit(world.runtime).violations == ()
    again = _run(world)
    assert again.bookings == 1
    assert dict(world.sql("SELECT id, seats FROM archived WHERE kind = 'flight'")) == flown
    assert {row[0] for row in world.sql("SELECT flight_id FROM flights")} == {"F2", "NEW"}
    assert world.faults() == []


def test_a_report_that_says_nothing_new_leaves_an_archived_booking_as_it_was(world: World) -> None:
    booked = _season(world)
    payment = world.payment(booked["confirmed"])
    _run(world)
    for status in "SUCCESS", "FAILURE":
        assert not world.callback(booked["confirmed"], status, payment).changed
    assert world.status(booked["confirmed"]) == "CONFIRMED"
    assert _run(world).bookings == 1
    with pytest.raises(BookingNotFoundError):
        world.callback("ZZZZZZ")


def test_two_callbacks_bring_an_archived_booking_back_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second has seen it in the archive when the first brings it back: as after a COMMIT that got no answer."""
    booked = _season(world)
    booking = booked["expired"]
    _run(world)
    original, first = archive_return._document, [True]

    def seen(*args: Any) -> Any:
        found = original(*args)
        if first:
            first.clear()
            assert world.callback(booking, "SUCCESS", "pay-first").changed
        return found

    monkeypatch.setattr(archive_return, "_document", seen)
    assert world.callback(booking, "SUCCESS", "pay-second").payment_status == "REFUND_DUE"
    assert world.paid(booking) == ["CANCELLED", "REFUND_DUE", "REFUND_DUE"]
    assert len([move for move in world.sql("SELECT reason FROM booking_events") if "archive" in move[0]]) == 1
    assert world.faults() == []
    assert not archive_return.bring_back(world.runtime, "ZZZZZZ")


def test_an_archived_booking_comes_back_although_its_key_and_payment_are_taken(world: World) -> None:
    booked = _season(world)
    [(key,)] = world.sql("SELECT idempotency_key FROM bookings WHERE booking_id = %s", booked["expired"])
    payment = world.payment(booked["released"])
    _run(world)
    newer = world.booked("NEW", key=key)
    assert world.callback(booked["expired"], "SUCCESS", "pay-late").payment_status == "REFUND_DUE"
    assert world.book("NEW", key=key).booking.booking_id == newer
    world.callback(newer, "FAILURE", payment)
    with pytest.raises(InvalidStateError, match="payment of the same id"):
        unchanged(world, lambda: world.callback(booked["released"], "SUCCESS", "pay-later"))


def test_a_booking_with_the_locator_of_an_archived_one_stays(world: World) -> None:
    booked = _season(world)
    world.sql(
        "INSERT INTO archived (kind, id, departure_date, seats, archived_at, document)"
        " VALUES ('booking', %s, '2019-01-01', 1, %s, '{}')",
        booked["expired"],
        LONG_AGO,
    )
    assert _run(world).kept == 3
    assert world.status(booked["expired"]) == "EXPIRED"


def test_control_without_giving_seats_back_the_invariant_breaks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _season(world)
    monkeypatch.setattr(module.inventory, "give_back", lambda *_: None)
    _run(world)
    world.unchecked = True
    assert any("F2" in fault for fault in violations(world.execute))


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_only_what_has_flown(world: World) -> None:
    with pytest.raises(ValidationError, match="in the future"):
        archive(world.runtime, before="+3d")
    with pytest.raises(ValidationError):
        archive(world.runtime, before="last year")
    assert archive(world.runtime, before="today").flights == 0
