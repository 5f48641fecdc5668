"""Disrupted bookings: marked, planned, moved or cancelled, once."""

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flightctl.core import cancellation, disruption, flights, payments, settlement
from flightctl.core.audit import audit
from flightctl.core.doctor import examine
from flightctl.core.errors import InvalidFlightError, ValidationError
from flightctl.core.model.disruptions import ReaccommodateResult
from flightctl.core.plan_file import read_plan
from flightctl.core.reaccommodation import reaccommodate
from tests.builders import DAY, TWO_LEGS, World, at, unchanged


@pytest.fixture
def plan(tmp_path: Path) -> str:
    return str(tmp_path / "plan.json")


def network(world: World, *, seats: int = 9) -> None:
    """DEL-BOM-BLR as F1 and F2, and other ways: G1 DEL-BOM too late for F2, G2 BOM-BLR later, D1 DEL-BLR much later."""
    world.line(seats=seats)
    world.flight("G1", "DEL", "BOM", at(7.5), seats=seats)
    world.flight("G2", "BOM", "BLR", at(11), seats=seats)
    world.flight("D1", "DEL", "BLR", at(20), seats=seats)


def cancel(world: World, flight: str, plan: str | None = None) -> Any:
    return flights.cancel(world.runtime, flight, reason="fog", plan=plan)


def apply(world: World, plan: str, **more: Any) -> ReaccommodateResult:
    return reaccommodate(world.runtime, read_plan(plan), **more)


def outcomes(result: ReaccommodateResult) -> dict[str, tuple[str, str | None]]:
    return {one.booking_id: (one.outcome, one.after) for one in result.bookings}


def waiting(world: World) -> dict[str, str]:
    return {one.booking_id: one.flight_id for one in world.runtime.database.read(disruption.disrupted)}


def choices(plan: str, booking: str) -> list[tuple[str, int]]:
    found = {entry["bookingId"]: entry for entry in json.loads(Path(plan).read_text(encoding="utf-8"))["bookings"]}
    return [(one["flightIdentifier"], one["delayMinutes"]) for one in found[booking]["alternatives"]]


# --- cancel --plan ---------------------------------------------------------------------------------------------------


def test_confirmed_bookings_stay_and_pending_ones_end(world: World, plan: str) -> None:
    network(world)
    paid, held = world.confirmed(TWO_LEGS, 2), world.booked(TWO_LEGS)
    preview = unchanged(world, lambda: flights.preview_cancel(world.runtime, "f1", with_plan=True))
    change = cancel(world, "F1", plan)
    assert {(one.booking_id, one.after, one.disrupted) for one in change.affected} == {
        (paid, "CONFIRMED", True),
        (held, "CANCELLED", False),
    }
    assert set(preview.affected) == set(change.affected)
    assert (change.bookings, change.refunds_due, change.plan) == ((held,), 0, plan)
    assert (world.status(paid), world.status(held)) == ("CONFIRMED", "CANCELLED")
    assert waiting(world) == {paid: "F1"}
    world.sweep()
    assert world.status(paid) == "CONFIRMED", "the sweep leaves what waits"
    audited = audit(world.runtime, repair=True)
    assert (audited.violations, audited.repaired) == ((), ())
    assert [one.booking_id for one in audited.disrupted] == [paid]
    checks = {check.name: check for check in examine(world.runtime)}
    assert checks["disruptions"].state == "warning"
    assert paid in checks["disruptions"].detail


def test_without_a_plan_all_end_and_it_is_told_how(world: World) -> None:
    network(world)
    paid, held = world.confirmed(TWO_LEGS, 2), world.booked(TWO_LEGS)
    change = cancel(world, "F1")
    assert {(one.booking_id, one.before, one.after, one.refund) for one in change.affected} == {
        (paid, "CONFIRMED", "CANCELLED", Decimal("4000.00")),
        (held, "PENDING", "CANCELLED", Decimal(0)),
    }
    assert waiting(world) == {}


def test_a_second_word_without_plan_ends_those_that_wait(world: World, plan: str) -> None:
    network(world)
    paid = world.confirmed(TWO_LEGS, 2)
    cancel(world, "F1", plan)
    assert cancel(world, "F1").bookings == (paid,)
    assert (world.status(paid), world.paid(paid)) == ("CANCELLED", ["REFUND_DUE"])
    assert outcomes(apply(world, plan)) == {paid: ("unchanged", None)}


def test_the_plan_can_be_written_again(world: World, plan: str, tmp_path: Path) -> None:
    """Killed between the commit and the file."""
    network(world)
    paid = world.confirmed(TWO_LEGS, 2)
    cancel(world, "F1", plan)
    other = str(tmp_path / "again.json")
    again = unchanged(world, lambda: cancel(world, "F1", other))
    assert not again.changed
    assert choices(other, paid) == choices(plan, paid)


@pytest.mark.parametrize("spoil", [lambda file: file.write_text("mine"), lambda file: file.mkdir()])
def test_no_file_is_written_over(world: World, plan: str, spoil: Callable[[Path], Any]) -> None:
    network(world)
    world.confirmed(TWO_LEGS)
    spoil(Path(plan))
    for act in (
        lambda: cancel(world, "F1", plan),
        lambda: cancel(world, "F1", "/no/such/folder/plan.json"),
        lambda: flights.update(world.runtime, "F1", price="1", plan=plan),
    ):
        with pytest.raises(ValidationError):
            unchanged(world, act)


def test_an_unknown_flight_leaves_no_file(world: World, plan: str) -> None:
    with pytest.raises(InvalidFlightError):
        cancel(world, "F9", plan)
    assert not Path(plan).exists()


# --- the plan --------------------------------------------------------------------------------------------------------


def test_the_least_delay_comes_first(world: World, plan: str) -> None:
    network(world)
    booking = world.confirmed(TWO_LEGS, 2)
    cancel(world, "F1", plan)
    assert choices(plan, booking) == [("CF_DEL_BLR_G1_G2", 60), ("D1", 600)]


def test_own_legs_that_fly_are_kept_though_sold_out(world: World, plan: str) -> None:
    network(world)
    booking = world.confirmed(TWO_LEGS, 2)
    world.confirmed("F2", 7)
    cancel(world, "F1", plan)
    world.flight("H1", "DEL", "BOM", at(5))
    cancel(world, "F1", plan + "2")
    assert choices(plan + "2", booking)[0] == ("CF_DEL_BLR_H1_F2", 0)
    assert outcomes(apply(world, plan + "2")) == {booking: ("moved", "CF_DEL_BLR_H1_F2")}
    assert world.available("F1", "F2", "H1") == [9, 0, 7]


def test_the_same_seats_are_not_promised_twice(world: World, plan: str) -> None:
    """The larger party first; who does not fit whole gets the next best."""
    world.flight("F1", seats=9)
    world.flight("G1", departs=at(7), seats=4)
    world.flight("G2", departs=at(9), seats=4)
    world.flight("N1", departs=at(6, day=1), seats=9)
    small, large, middle = world.confirmed(seats=2), world.confirmed(seats=4), world.confirmed(seats=3)
    cancel(world, "F1", plan)
    assert [choices(plan, one)[0] for one in (large, middle, small)] == [("G1", 60), ("G2", 180), ("N1", 1440)]
    assert outcomes(apply(world, plan)) == {
        large: ("moved", "G1"),
        middle: ("moved", "G2"),
        small: ("moved", "N1"),
    }
    assert world.available("F1", "G1", "G2", "N1") == [9, 0, 1, 7]


# --- reaccommodate ---------------------------------------------------------------------------------------------------


def test_moving(world: World, plan: str) -> None:
    network(world)
    booked = world.book(TWO_LEGS, 2, key="order-4711").booking
    booking = booked.booking_id
    world.callback(booking)
    cancel(world, "F1", plan)
    rehearsed = unchanged(world, lambda: apply(world, plan, dry_run=True))
    done = apply(world, plan)
    assert rehearsed == done
    [moved] = done.bookings
    assert (moved.outcome, moved.before, moved.after, moved.delay_minutes) == (
        "moved", TWO_LEGS, "CF_DEL_BLR_G1_G2", 60,
    )  # fmt: skip
    now = world.book_of(booking)
    assert (now.status, now.flight_ids, now.total_price) == ("CONFIRMED", ("G1", "G2"), booked.total_price)
    assert world.available("F1", "F2", "G1", "G2") == [9, 9, 7, 7]
    assert sorted(world.holds(booking)) == [
        ("F1", "RELEASED"), ("F2", "RELEASED"), ("G1", "CONFIRMED"), ("G2", "CONFIRMED"),
    ]  # fmt: skip
    assert world.paid(booking) == ["SUCCESS"]
    assert waiting(world) == {}
    again = unchanged(world, lambda: apply(world, plan))
    assert outcomes(again) == {booking: ("unchanged", None)}
    replayed = world.book(TWO_LEGS, 2, key="order-4711")
    assert (replayed.replayed, replayed.booking.flight_ids) == (True, ("G1", "G2"))
    assert world.release(booking).booking.status == "CANCELLED"
    assert world.available("G1", "G2") == [9, 9]


def test_what_cannot_move_is_cancelled_and_refunded(world: World, plan: str) -> None:
    world.line(seats=5)
    booking = world.confirmed(TWO_LEGS, 2)
    cancel(world, "F2", plan)
    assert choices(plan, booking) == []
    assert outcomes(unchanged(world, lambda: apply(world, plan, dry_run=True))) == {booking: ("cancelled", None)}
    assert outcomes(apply(world, plan)) == {booking: ("cancelled", None)}
    assert world.refunds(booking) == [(Decimal("4000.00"), "DUE")]
    assert world.available("F1", "F2") == [5, 5]
    payments.process(world.runtime)
    assert world.paid(booking) == ["REFUNDED"]


def test_seats_sold_since_the_plan(world: World, plan: str) -> None:
    network(world)
    first, second = world.confirmed(TWO_LEGS, 3), world.confirmed(TWO_LEGS, 2)
    cancel(world, "F1", plan)
    world.confirmed("G1", 8)
    world.confirmed("D1", 7)
    assert outcomes(unchanged(world, lambda: apply(world, plan, dry_run=True))) == {
        first: ("cancelled", None),
        second: ("moved", "D1"),
    }
    assert outcomes(apply(world, plan)) == {first: ("cancelled", None), second: ("moved", "D1")}
    assert world.available("G1", "G2", "D1") == [1, 9, 0]


def test_whoever_is_under_way_is_left_to_people(world: World, plan: str) -> None:
    network(world)
    booking = world.confirmed(TWO_LEGS, 2)
    world.depart("F1")
    cancel(world, "F2", plan)
    assert choices(plan, booking) == []
    for dry_run in True, False:
        [left] = unchanged(world, lambda dry=dry_run: apply(world, plan, dry_run=dry)).bookings  # type: ignore[misc]
        assert (left.outcome, left.detail.partition(":")[0]) == ("unchanged", "its journey has begun")
    assert waiting(world) == {booking: "F2"}
    assert world.release(booking).changed
    assert waiting(world) == {}


def test_a_booking_that_does_not_add_up_stops_no_other(world: World, plan: str) -> None:
    network(world)
    damaged, sound = world.confirmed(TWO_LEGS, 2), world.confirmed(TWO_LEGS)
    cancel(world, "F1", plan)
    world.sql("UPDATE seat_reservations SET outcome = 'RELEASED' WHERE booking_id = %s", damaged)
    world.unchecked = "a booking without its reservations was planted"
    result = apply(world, plan)
    assert outcomes(result) == {damaged: ("failed", None), sound: ("moved", "CF_DEL_BLR_G1_G2")}
    assert [one.damaged for one in result.bookings] == [True, False]
    assert world.status(damaged) == "CONFIRMED"


def test_a_part_given_back_meanwhile(world: World, plan: str) -> None:
    network(world)
    booking = world.confirmed(TWO_LEGS, 3)
    cancel(world, "F1", plan)
    cancellation.release(world.runtime, booking, reason=None, confirmed_too=True, seats=1)
    apply(world, plan)
    assert world.available("F1", "F2", "G1", "G2") == [9, 9, 7, 7]


def test_alternatives_that_no_longer_do(world: World, plan: str) -> None:
    """Cancelled, departed, unknown, elsewhere, or not connecting: passed over."""
    network(world)
    booking = world.confirmed(TWO_LEGS, 2)
    cancel(world, "F1", plan)
    document = json.loads(Path(plan).read_text(encoding="utf-8"))
    wanted = ["F1", "X9", "F2", "CF_DEL_BLR_G1_F2", "cf_del_blr_g1_g2", "d1"]
    document["bookings"][0]["alternatives"] = [{"flightIdentifier": one} for one in wanted]
    Path(plan).write_text(json.dumps(document), encoding="utf-8")
    cancel(world, "G2")
    assert outcomes(apply(world, plan)) == {booking: ("moved", "D1")}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "another 1", "bookings": []}',
     '{"format": "flightctl re-accommodation plan 1"}',
     '{"format": "flightctl re-accommodation plan 1", "bookings": [7]}',
     '{"format": "flightctl re-accommodation plan 1", "bookings": [{"bookingId": "K7QX2M"}]}',
     '{"format": "flightctl re-accommodation plan 1", "bookings": [{"bookingId": "K7QX2M", "alternatives": ["F1"]}]}',
     '{"format": "flightctl re-accommodation plan 1", "bookings": [{"bookingId": "A", "alternatives": []},'
     ' {"bookingId": "a", "alternatives": []}]}',
     '{"format": "flightctl re-accommodation plan 1", "bookings": [{"bookingId": "A", "alternatives":'
     ' [{"flightIdentifier": "CF_DEL"}]}]}'],
)  # fmt: skip
def test_files_that_are_no_plan(tmp_path: Path, text: str) -> None:
    file = tmp_path / "plan.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValidationError):
        read_plan(str(file))


def test_bookings_that_nobody_knows(world: World, plan: str) -> None:
    network(world)
    entry = {"bookingId": "NOBODY", "alternatives": [{"flightIdentifier": "D1"}]}
    Path(plan).write_text(
        json.dumps({"format": "flightctl re-accommodation plan 1", "bookings": [entry]}), encoding="utf-8"
    )
    for dry_run in True, False:
        assert outcomes(unchanged(world, lambda dry=dry_run: apply(world, plan, dry_run=dry))) == {  # type: ignore[misc]
            "NOBODY": ("unchanged", None)
        }


# --- times that change -----------------------------------------------------------------------------------------------


def _local(hour: float) -> str:
    return f"{at(hour) + timedelta(hours=5.5):%Y-%m-%dT%H:%M}"


def test_connections_that_break(world: World, plan: str) -> None:
    network(world)
    booking, direct, held = world.confirmed(TWO_LEGS, 2), world.confirmed("F1"), world.booked(TWO_LEGS)
    change = flights.update(world.runtime, "F1", departure=_local(7.5), arrival=_local(9.5), plan=plan)
    assert [(one.booking_id, one.disrupted) for one in change.affected] == [(booking, True)]
    assert waiting(world) == {booking: "F1"}
    assert (world.status(direct), world.status(held)) == ("CONFIRMED", "PENDING")
    assert choices(plan, booking)[0] == ("CF_DEL_BLR_F1_G2", 60)
    world.callback(held)
    assert waiting(world) == {booking: "F1", held: "F1"}, "paid for a connection that had broken"
    assert audit(world.runtime).violations == ()
    assert outcomes(apply(world, plan)) == {booking: ("moved", "CF_DEL_BLR_F1_G2")}
    assert world.available("F1", "F2", "G1", "G2") == [5, 8, 9, 7]


def test_connections_that_are_mended_again(world: World, plan: str) -> None:
    network(world)
    booking = world.confirmed(TWO_LEGS, 2)
    flights.update(world.runtime, "F1", departure=_local(7.5), arrival=_local(9.5))
    assert waiting(world) == {booking: "F1"}
    flights.update(world.runtime, "F1", plan=plan)
    assert choices(plan, booking)[0] == ("CF_DEL_BLR_F1_G2", 60)
    assert flights.update(world.runtime, "F1", departure=_local(6), arrival=_local(8)).affected == ()
    assert waiting(world) == {}
    assert outcomes(apply(world, plan)) == {booking: ("unchanged", None)}


@pytest.mark.parametrize("how", ["callback", "counter", "processor"])
def test_late_money_for_a_connection_that_broke_meanwhile(world: World, how: str) -> None:
    """All legs are there, so the table says CONFIRMED; it must not pass for a journey that can be flown."""
    network(world)
    booking = world.expired(TWO_LEGS, 2)
    assert flights.update(world.runtime, "F1", departure=_local(7.5), arrival=_local(9.5)).affected == ()
    if how == "callback":
        world.callback(booking)
    elif how == "counter":
        settlement.confirm(world.runtime, booking)
    else:
        world.sql("UPDATE payments SET status = 'PROCESSING', outcome = 'SUCCESS' WHERE booking_id = %s", booking)
        payments.process(world.runtime, everything=True)
    assert world.status(booking) == "CONFIRMED"
    assert waiting(world) == {booking: "F2"}
    assert (
        "its connection to F2 broke meanwhile"
        in world.sql("SELECT reason FROM booking_events WHERE booking_id = %s ORDER BY id DESC", booking)[0][0]
    )


def test_late_money_for_a_connection_that_was_mended_meanwhile(world: World) -> None:
    network(world)
    booking = world.booked(TWO_LEGS, 2)
    flights.update(world.runtime, "F1", departure=_local(7.5), arrival=_local(9.5))
    world.lapse(booking)
    world.sweep()
    flights.update(world.runtime, "F1", departure=_local(6), arrival=_local(8))
    world.callback(booking)
    assert world.status(booking) == "CONFIRMED"
    assert waiting(world) == {}


def test_a_connection_that_is_longer_is_none_that_broke(world: World) -> None:
    network(world)
    world.confirmed(TWO_LEGS, 2)
    assert flights.update(world.runtime, "F1", departure=_local(0.5), arrival=_local(1.5)).affected == ()
    assert f"{DAY:%Y}" in _local(0.5)
