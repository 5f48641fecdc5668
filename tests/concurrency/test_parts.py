"""A part of a party given back while others pay for it, sweep it, charge for it or ask for its key again."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import bindparam, update

from flightctl.core import cancellation, money, records
from flightctl.core.schema import bookings, payments
from flightctl.core.sql_functions import utc_now
from tests.concurrency import crew as acts
from tests.concurrency.conftest import on
from tests.concurrency.crew import Crew, Job, codes
from tests.concurrency.support import ZM, World, Z, after_first, recover

SERVERS = on("mysql", "mysql+redis")


def _book(world: World, seats: int = 5) -> str:
    return str(acts.book(world.own, ZM, seats, key=f"k{world.value('SELECT COUNT(*) FROM bookings')}")["booking"])


@SERVERS
def test_parts_given_back_at_once(world: World, crew: Crew) -> None:
    """Each takes its seat; whoever comes when none is left ends the booking, and it ends once."""
    for paid in False, True:
        world.fill(seats=9)
        booking = _book(world)
        if paid:
            acts.callback(world.own, booking)
        outcomes = crew.run([Job("release", world.env, {"booking": booking, "seats": 1, "yes": True})] * 7)
        assert codes(outcomes) == {"done": 7}, outcomes
        assert sum(outcome.value["changed"] for outcome in outcomes) == 5
        assert world.status(booking) == "CANCELLED"
        assert world.available(Z) == 9
        recover(world, world.own)
        assert world.problems(settled=True) == []


@SERVERS
def test_parts_given_back_while_the_gateway_charges(world: World, crew: Crew) -> None:
    """It is asked for the new total, or brings the old one and the difference is due back."""
    surplus = Counter[bool]()
    for number in range(16):
        world.fill(seats=9)
        booking = _book(world)
        released, processed, again = crew.run(
            [
                Job("release", world.env, {"booking": booking, "seats": 2, "yes": True}, delay=0.001 * number),
                Job("process", world.env, {"everything": False}, delay=0.1 * (number % 2)),
                Job("book", world.env, {"identifier": ZM, "seats": 5, "key": "k0"}, delay=0.001 * number),
            ]
        )
        assert (released.code, processed.code, again.code) == ("done", "done", "done")
        assert again.value["booking"] == booking
        surplus[world.value("SELECT COUNT(*) FROM refunds") > 0] += 1
        assert world.status(booking) == "CONFIRMED"
        assert world.available(Z) == 6
        assert world.problems() == []
        recover(world, world.own)
        assert world.problems(settled=True) == []
    assert len(surplus) == 2, surplus


@SERVERS
def test_a_part_against_the_sweep(world: World, crew: Crew) -> None:
    ends = Counter[str]()
    for number in range(16):
        world.fill(seats=9)
        booking = _book(world)
        world.lapse(booking)
        part, swept = crew.run(
            [
                Job("release", world.env, {"booking": booking, "seats": 2}, delay=0.001 * (number % 8)),
                Job("sweep", world.env, {}),
            ]
        )
        assert swept.value["bookings"] == 1
        assert swept.value["seats"] == (6 if part.code == "done" else 10)
        assert part.code in {"done", "INVALID_STATE"}
        ends[part.code] += 1
        assert world.available(Z) == 9
        assert world.problems() == []
    assert ends["INVALID_STATE"], ends


ASK_WHATEVER = (
    update(payments)
    .where(payments.c.booking_id == bindparam("booking"))
    .values(amount=bindparam("total", type_=payments.c.amount.type))
)


SHRINK_WHATEVER = (
    update(bookings)
    .where(bookings.c.booking_id == bindparam("id"))
    .values(
        seats=bindparam("left"),
        total_price=bindparam("total", type_=bookings.c.total_price.type),
        updated_at=utc_now(),
    )
)


def _claimed_meanwhile(world: World) -> list[str]:
    """A processor claims the payment, for the old total, after the release has looked; both then go on."""
    world.fill(seats=9)
    booking = _book(world)
    with after_first(records, "lock_booking", lambda: acts.process(world.runtime(), "timeout", everything=False)):
        acts.release(world.own, booking, seats=2)
    world.execute("UPDATE mock_gateway_ledger SET outcome = 'SUCCESS'")
    acts.callback(world.own, booking)
    return world.problems()


@on("mysql")
def test_a_payment_at_the_gateway_keeps_its_amount(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: REQUESTED in money._ASK_LESS."""
    assert _claimed_meanwhile(world) == []
    monkeypatch.setattr(money, "_ASK_LESS", ASK_WHATEVER)
    assert _claimed_meanwhile(world), "control: the gateway took more than the payment says"


@on("mysql")
def test_without_the_lock_the_seats_are_still_guarded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: the seats in cancellation._SHRINK (locks are local to a node of a cluster); the loser looks again."""
    monkeypatch.setattr(records, "_LOCKED_BOOKING", records._BOOKING)
    assert _two_parts(world) == []
    monkeypatch.setattr(cancellation, "_SHRINK", SHRINK_WHATEVER)
    assert _two_parts(world), "control: two seats went, and the booking lost one"


def _two_parts(world: World) -> list[str]:
    """Both look before either changes anything."""
    world.fill(seats=9)
    booking = _book(world)
    with after_first(records, "lock_booking", lambda: acts.release(world.runtime(), booking, seats=1)):
        acts.release(world.own, booking, seats=1)
    return world.problems()
