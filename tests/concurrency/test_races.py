"""Use cases that meet at one booking: each hold, payment and lease ends once, whoever comes first."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import bindparam, func, update

from flightctl.core import booking, claims, database, inventory, payments, records, reservations, sweeper
from flightctl.core.gateway import MockGateway
from flightctl.core.model.states import BookingStatus, ForcedOutcome, HoldOutcome
from flightctl.core.schema import bookings
from flightctl.core.schema import payments as payments_table
from flightctl.core.sql_functions import utc_now
from tests.concurrency import crew as acts
from tests.concurrency.conftest import on
from tests.concurrency.crew import Crew, Job, Outcome, codes
from tests.concurrency.support import ZM, ZMA, World, Z, after_first, before_first, outcome, recover

SOAK = os.environ.get("FLIGHTCTL_SOAK") == "1"
ROUNDS = 1000 if SOAK else 200

LOCK_BOOKING = records.lock_booking
SERVERS = on("mysql", "mysql+redis")


def _pair(
    world: World, crew: Crew, one: tuple[str, dict[str, Any]], two: tuple[str, dict[str, Any]], lead: float
) -> Any:
    """Two acts at once; ``lead`` is how much later the second starts (negative: earlier)."""
    return crew.run(
        [
            Job(one[0], world.env, one[1], delay=max(0.0, -lead)),
            Job(two[0], world.env, two[1], delay=max(0.0, lead)),
        ]
    )


class Balance:
    """Shifts the start of two racers until neither always wins."""

    def __init__(self, step: float = 0.0004) -> None:
        self.lead, self.step, self.wins = 0.0, step, Counter[str]()

    def won(self, first: bool) -> None:
        self.wins["first" if first else "second"] += 1
        self.lead += -self.step if first else self.step  # who won starts later the next time
        self.lead = max(-0.05, min(0.05, self.lead))

    def check(self, rounds: int) -> None:
        """Neither side always won: each at least one time in ten."""
        assert min(self.wins["first"], self.wins["second"]) >= rounds // 10, self.wins


def _book(world: World, identifier: str = ZM, seats: int = 2) -> str:
    return str(acts.book(world.own, identifier, seats)["booking"])


@SERVERS
def test_late_money_against_the_sweep(world: World, crew: Crew, record_property: Callable[[str, object], None]) -> None:
    """A lapsed hold: the callback confirms it, or the sweep expires it and the callback takes the seats again.

    Guards: the row lock on the booking, and the sweep's second look at its state.
    """
    rounds = ROUNDS if SOAK or world.backend.redis_url == "" else ROUNDS // 5
    balance = Balance()
    world.fill(seats=9)
    for _ in range(rounds):
        booking = _book(world)
        world.lapse(booking)
        paid, swept = _pair(world, crew, ("callback", {"booking": booking}), ("sweep", {}), balance.lead)
        assert (paid.code, swept.code) == ("done", "done"), (paid, swept)
        assert paid.value == {"status": "CONFIRMED", "payment": "SUCCESS", "changed": True}
        assert swept.value["skipped"] == []
        first = swept.value["bookings"] == 0
        story = [
            row[0]
            for row in world.execute(
                "SELECT to_status FROM booking_events WHERE booking_id = %s ORDER BY id", (booking,)
            )
        ]
        assert story == (["PENDING", "CONFIRMED"] if first else ["PENDING", "EXPIRED", "CONFIRMED"])
        assert world.available(Z) == 7
        balance.won(first)
        acts.release(world.own, booking, yes=True)
    record_property("wins", dict(balance.wins))
    assert world.problems() == []
    assert world.cache_problems(fresh=True) == []
    balance.check(rounds)


@SERVERS
def test_late_money_against_the_sweep_and_a_next_buyer(world: World, crew: Crew) -> None:
    """The seats are the flight's last: money that comes after they were sold again is due back."""
    world.fill(seats=2)
    ends = Counter[str]()
    for number in range(16):
        world.fill(seats=2)
        booking = _book(world)
        world.lapse(booking)
        lead = (number % 8) * 0.03  # the longest is time enough for the sweep and the buyer on a busy machine
        paid, swept, bought = crew.run(
            [
                Job("callback", world.env, {"booking": booking}, delay=lead),
                Job("sweep", world.env, {}),
                Job("book", world.env, {"identifier": ZM, "seats": 2}, delay=lead * 0.7),
            ]
        )
        assert (paid.code, swept.code) == ("done", "done")
        if paid.value["status"] == "CONFIRMED":
            assert bought.code == "NO_SEATS_AVAILABLE"
        else:
            assert paid.value == {"status": "EXPIRED", "payment": "REFUND_DUE", "changed": True}
            assert bought.code == "done"
        assert world.problems() == []
        ends[paid.value["status"]] += 1
    assert min(ends["CONFIRMED"], ends["EXPIRED"]) >= 2, ends


@SERVERS
def test_confirm_against_release(world: World, crew: Crew) -> None:
    balance = Balance()
    world.fill(seats=9)
    for _ in range(40):
        booking = _book(world)
        confirmed, released = _pair(
            world, crew, ("confirm", {"booking": booking}), ("release", {"booking": booking}), balance.lead
        )
        first = confirmed.code == "done"
        if first:  # a CONFIRMED booking is not released without a second word
            assert released.code == "VALIDATION_ERROR"
            assert world.status(booking) == "CONFIRMED"
            assert acts.release(world.own, booking, yes=True)["changed"]
        else:
            assert (confirmed.code, released.code) == ("INVALID_STATE", "done")
            assert world.payment(booking) == "CANCELLED"
        assert world.available(Z) == 9
        balance.won(first)
    assert world.problems() == []
    balance.check(40)


@SERVERS
def test_release_against_the_sweep(world: World, crew: Crew) -> None:
    balance = Balance()
    world.fill(seats=9)
    for _ in range(40):
        booking = _book(world)
        world.lapse(booking)
        released, swept = _pair(world, crew, ("release", {"booking": booking}), ("sweep", {}), balance.lead)
        first = released.code == "done"
        assert released.code in {"done", "INVALID_STATE"}
        assert swept.value["bookings"] == (0 if first else 1)
        assert world.status(booking) == ("CANCELLED" if first else "EXPIRED")
        assert world.available(Z) == 9
        balance.won(first)
    assert world.problems() == []
    balance.check(40)


def test_many_sweepers_end_every_hold_once(world: World, crew: Crew) -> None:
    for _ in range(3):
        world.fill(seats=60)
        runtime = world.own
        for identifier in (Z, ZM, ZMA) * 10:
            acts.book(runtime, identifier, 1)
        world.lapse()
        outcomes = crew.run([Job("sweep", world.env, {"batch_size": size}) for size in (1, 3, 7, 500)])
        assert codes(outcomes) == {"done": 4}
        assert sum(outcome.value["bookings"] for outcome in outcomes) == 30
        assert sum(outcome.value["reservations"] for outcome in outcomes) == 60
        assert all(outcome.value["skipped"] == [] for outcome in outcomes)
        assert world.statuses() == {"EXPIRED": 30}
        assert world.available(Z) == 60
        assert world.problems(settled=True) == []
        assert world.cache_problems(fresh=True) == []


def test_a_flight_cancelled_among_buyers_and_confirms(world: World, crew: Crew) -> None:
    """A booking made before the cancel's commit is ended by it or by the next sweep; none is made after."""
    for number in range(5):
        world.fill(seats=40)
        runtime = world.own
        held = [acts.book(runtime, ZM, 1)["booking"] for _ in range(6)]
        jobs = [Job("cancel_flight", world.env, {"flight": Z}, delay=0.002 * number)]
        jobs += [Job("confirm", world.env, {"booking": booking}, delay=0.001 * i) for i, booking in enumerate(held)]
        jobs += [Job("book", world.env, {"identifier": (Z, ZM)[i % 2]}, delay=0.001 * i) for i in range(10)]
        outcomes = crew.run(jobs)
        assert outcomes[0].code == "done", outcomes[0]
        assert outcomes[0].value["failed"] == []
        assert set(codes(outcomes[1:7])) <= {"done", "INVALID_STATE", "INVALID_FLIGHT"}
        assert set(codes(outcomes[7:])) <= {"done", "INVALID_FLIGHT"}
        assert world.problems() == []
        recover(world, runtime)
        assert world.problems(settled=True) == []
        assert world.statuses().keys() <= {"CANCELLED"}
        assert world.available(Z) == 40


def test_two_processors_charge_each_payment_once(world: World, crew: Crew) -> None:
    """Guard: the claim's UPDATE tests again what made the payment due."""
    world.fill(seats=60)
    runtime = world.own
    for _ in range(30):
        acts.book(runtime, Z, 1)
    outcomes = crew.run([Job("process", world.env, {}) for _ in range(4)])
    assert codes(outcomes) == {"done": 4}
    assert all(outcome.value["errors"] == [] for outcome in outcomes), outcomes
    assert sum(outcome.value["claimed"] for outcome in outcomes) == 30
    assert sum(outcome.value["succeeded"] for outcome in outcomes) == 30
    assert world.value("SELECT MAX(attempts) FROM payments") == 1
    assert world.statuses() == {"CONFIRMED": 30}
    assert world.problems(settled=True) == []


def test_two_processors_pay_each_refund_once(world: World, crew: Crew) -> None:
    world.fill(seats=60)
    runtime = world.own
    for _ in range(10):
        acts.book(runtime, Z, 1)
    acts.process(runtime)
    for (paid,) in world.execute("SELECT booking_id FROM bookings"):
        acts.release(runtime, paid, yes=True)
    outcomes = crew.run([Job("process", world.env, {}) for _ in range(4)])
    assert sum(outcome.value["refunded"] for outcome in outcomes) == 10
    assert world.value("SELECT COUNT(*) FROM mock_gateway_ledger WHERE kind = 'REFUND'") == 10
    assert world.problems(settled=True) == []


@SERVERS
def test_doubled_and_contradictory_callbacks_at_once(world: World, crew: Crew) -> None:
    for _ in range(10):
        world.fill(seats=9)
        booking = _book(world)
        payment = world.payment_id(booking)
        jobs = [
            Job("callback", world.env, {"booking": booking, "status": status, "payment": payment})
            for status in ("SUCCESS", "FAILURE") * 4
        ]
        outcomes = crew.run(jobs)
        assert codes(outcomes) == {"done": 8}
        assert world.status(booking) in {"CONFIRMED", "FAILED"}
        assert world.payment(booking) == ("SUCCESS" if world.status(booking) == "CONFIRMED" else "REFUND_DUE")
        assert world.problems() == []


@SERVERS
def test_one_unknown_payment_reported_many_times_at_once(world: World, crew: Crew) -> None:
    world.fill(seats=9)
    booking = _book(world)
    job = Job("callback", world.env, {"booking": booking, "payment": "bank-1"})
    outcomes = crew.run([job] * 8)
    assert codes(outcomes) == {"done": 8}
    assert sum(outcome.value["changed"] for outcome in outcomes) == 1
    assert world.status(booking) == "CONFIRMED"


@SERVERS
def test_one_unknown_payment_reported_for_two_bookings_at_once(world: World, crew: Crew) -> None:
    """It belongs to one of them; the other report is refused as what it is."""
    for number in range(10):
        world.fill(seats=9)
        pair = [_book(world), _book(world)]
        outcomes = crew.run(
            [Job("callback", world.env, {"booking": booking, "payment": f"bank-{number}"}) for booking in pair]
        )
        assert codes(outcomes) == {"done": 1, "VALIDATION_ERROR": 1}, outcomes
        assert world.problems() == []


# --- money that moved while nobody was looking


@on("mysql", "sqlite")
def test_a_failure_reported_while_a_dead_processor_had_charged(world: World) -> None:
    """The processor dies between the charge and its record; the gateway then reports a FAILURE. The money goes back."""
    world.fill(seats=9)
    held = _book(world)
    one = world.runtime()
    [claim] = claims.claim_payments(one, 1)
    MockGateway(one.database, one.settings).charge(claim.payment_id, claim.amount, ForcedOutcome.SUCCESS)
    assert acts.callback(world.own, held, "FAILURE")["status"] == "FAILED"
    recover(world, world.own)
    assert world.payment(held) == "REFUNDED"
    assert world.problems(settled=True) == []


@on("mysql", "sqlite")
def test_a_processor_that_charges_after_it_was_taken_for_dead_and_then_dies(world: World) -> None:
    """It stalls for longer than its lease; another finds the booking ended and no charge, and gives the payment up."""
    world.fill(seats=9)
    held = _book(world)
    one = world.runtime()
    [claim] = claims.claim_payments(one, 1)
    recover(world, world.own)
    assert world.status(held) == "EXPIRED"
    MockGateway(one.database, one.settings).charge(claim.payment_id, claim.amount, ForcedOutcome.SUCCESS)
    recover(world, world.own)
    assert world.problems(settled=True) == []


@on("mysql", "sqlite")
def test_a_stalled_processor_that_lives_finds_its_charge_closed(world: World) -> None:
    """Guard: Gateway.void in payments._ask. Whoever took the payment over has closed the charge at the gateway."""
    world.fill(seats=9)
    held = _book(world)
    one = world.runtime()
    with before_first(MockGateway, "charge_all", lambda: recover(world, world.own)):
        payments.process(one, outcome=ForcedOutcome.SUCCESS)
    assert world.status(held) == "EXPIRED"
    assert world.payment(held) == "FAILED"
    recover(world, world.own)
    assert world.problems(settled=True) == []


# --- the guards one by one: the interleaving that each prevents, made on purpose


@on("mysql", "sqlite")
def test_the_sweep_looks_again(world: World) -> None:
    """Guard: sweeper._expire tests again that a candidate is PENDING and lapsed. Paid between look and act."""
    world.fill(seats=9)
    booking = _book(world)
    world.lapse(booking)
    with after_first(sweeper, "_lapsed", lambda: acts.callback(world.runtime(), booking)):
        swept = acts.sweep(world.runtime())
    assert swept["bookings"] == 0
    assert world.status(booking) == "CONFIRMED"
    assert world.problems() == []


@on("mysql", "sqlite")
def test_the_sweep_looks_again_at_the_clock(world: World) -> None:
    """A hold that was prolonged between look and act is not lapsed any more."""
    world.fill(seats=9)
    booking = _book(world)
    world.lapse(booking)

    def prolong() -> None:
        world.execute("UPDATE seat_reservations SET expires_at = '2099-01-01 00:00:00.000000'")

    with after_first(sweeper, "_lapsed", prolong):
        assert acts.sweep(world.runtime())["bookings"] == 0
    assert world.status(booking) == "PENDING"


@on("mysql", "sqlite")
def test_control_a_sweep_that_trusts_its_first_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def trusting(tx: Any, booking_ids: Any) -> Any:
        tx.execute(update(bookings).where(bookings.c.booking_id.in_(booking_ids)).values(status="EXPIRED"))
        for booking_id in booking_ids:
            seats = tx.execute(bookings.select().where(bookings.c.booking_id == booking_id)).one().seats
            reservations.end(tx, [booking_id], HoldOutcome.EXPIRED)
            inventory.give_back(tx, dict.fromkeys(records.flight_ids_of(tx, booking_id), seats))
        return sweeper._Tally()

    monkeypatch.setattr(sweeper, "_expire", trusting)
    world.fill(seats=9)
    booking = _book(world)
    world.lapse(booking)
    with after_first(sweeper, "_lapsed", lambda: acts.callback(world.runtime(), booking)):
        acts.sweep(world.runtime())
    assert world.payment(booking) == "SUCCESS"
    assert world.status(booking) == "EXPIRED", "paid, and expired all the same"
    assert world.problems()


def _both_read_before_either_writes(world: World, booking: str, monkeypatch: pytest.MonkeyPatch) -> list[Outcome]:
    """confirm and release meet after they have read the booking, if its lock lets them; confirm then goes first."""
    both = threading.Barrier(2, timeout=1.0)
    confirmed = threading.Event()
    met: set[str] = set()

    def meeting(tx: Any, booking_id: str) -> Any:
        locked = LOCK_BOOKING(tx, booking_id)
        name = threading.current_thread().name
        if name not in met:
            met.add(name)
            with contextlib.suppress(threading.BrokenBarrierError):  # the other waits for the row
                both.wait()
                if name == "release":
                    confirmed.wait(5)
        return locked

    monkeypatch.setattr(records, "lock_booking", meeting)
    outcomes: list[Outcome] = []

    def run(act: str) -> None:
        outcomes.append(acts.perform(runtimes[act], Job(act, world.env, {"booking": booking})))
        if act == "confirm":
            confirmed.set()

    runtimes = {act: world.runtime() for act in ("confirm", "release")}
    threads = [threading.Thread(target=run, args=(act,), name=act) for act in runtimes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


UNGUARDED_MOVE = (
    update(bookings)
    .where(bookings.c.booking_id == bindparam("id"))
    .values(
        status=bindparam("new"),
        updated_at=utc_now(),
        failure_reason=func.coalesce(bindparam("failure"), bookings.c.failure_reason),
    )
)


@on("mysql")
def test_the_lock_on_the_booking_queues_what_changes_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: `FOR UPDATE` in records.lock_booking: the two never both read."""
    world.fill(seats=9)
    booking = _book(world)
    outcomes = _both_read_before_either_writes(world, booking, monkeypatch)
    assert sorted(outcome.code for outcome in outcomes)[-1] == "done"
    assert len(codes(outcomes)) == 2
    assert world.problems() == []


@on("mysql")
def test_without_the_lock_the_status_guard_still_holds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: the status in records._MOVE (locks are local to a node of a cluster); the loser runs again."""
    conflicts = []
    pause = database.Tries.pause_or_give_up

    def counting(self: Any, *args: Any) -> None:
        conflicts.append(args[0])
        pause(self, *args)

    monkeypatch.setattr(database.Tries, "pause_or_give_up", counting)
    monkeypatch.setattr(records, "_LOCKED_BOOKING", records._BOOKING)
    world.fill(seats=9)
    booking = _book(world)
    outcomes = _both_read_before_either_writes(world, booking, monkeypatch)
    assert len(codes(outcomes)) == 2, "one won, the other was told so"
    assert conflicts, outcomes
    assert world.problems() == []


@on("mysql")
def test_control_without_lock_and_status_guard_both_win(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_LOCKED_BOOKING", records._BOOKING)
    monkeypatch.setattr(records, "_MOVE", UNGUARDED_MOVE)
    world.fill(seats=9)
    booking = _book(world)
    assert codes(_both_read_before_either_writes(world, booking, monkeypatch)) == {"done": 2}
    assert world.problems(), "paid and cancelled, and nobody owes the money back"


def _lease_whatever_it_is(seconds: float) -> Any:
    return claims._leased(seconds).where(payments_table.c.payment_id.in_(bindparam("ids", expanding=True)))


@on("mysql")
def test_the_claim_looks_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: claims._LOOK_AGAIN tests under the lock what made the payment due. Claimed by another in between."""
    monkeypatch.setattr(claims, "_lease_new", _lease_whatever_it_is)
    monkeypatch.setattr(
        claims,
        "_lease_abandoned",
        lambda seconds: claims._leased(seconds).where(payments_table.c.payment_id == bindparam("id")),
    )
    assert _claims_of_two(world) == 1
    monkeypatch.setattr(claims, "_LOOK_AGAIN", payments_table.select().with_for_update())
    assert _claims_of_two(world) == 2, "control: without the second look both claim it"


@on("mysql")
def test_without_the_lock_the_claim_names_the_state(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: the status in claims._lease_new, for clusters, where locks are local. Claimed between look and UPDATE."""
    unlocked = claims._LOOK_AGAIN._clone()
    unlocked._for_update_arg = None
    monkeypatch.setattr(claims, "_LOOK_AGAIN", unlocked)
    assert _claims_of_two(world, "_lease_new") == 1
    monkeypatch.setattr(claims, "_lease_new", _lease_whatever_it_is)
    assert _claims_of_two(world, "_lease_new") == 2, "control: without the state in the UPDATE both claim it"


def _claims_of_two(world: World, before: str = "_lease") -> int:
    world.fill(seats=9)
    _book(world)
    one, two = world.runtime(), world.runtime()
    claimed = []
    with before_first(claims, before, lambda: claimed.extend(claims.claim_payments(two, 10))):
        claimed.extend(claims.claim_payments(one, 10))
    return len(claimed)


@on("mysql")
def test_a_cancelled_flight_is_refused_from_its_commit_on(world: World) -> None:
    """Guard: ACTIVE in inventory._TAKE; the buyer has read the flight as active."""
    world.fill(seats=9)
    with before_first(booking, "_claim", lambda: _commit_cancel(world)):
        assert outcome(acts.book, world.runtime(), Z) == "INVALID_FLIGHT"
    assert world.problems() == []


def _commit_cancel(world: World) -> None:
    world.execute("UPDATE flights SET status = 'CANCELLED', seat_version = seat_version + 1 WHERE flight_id = %s", (Z,))


@on("mysql", "sqlite")
def test_a_booking_moves_only_along_the_table(world: World) -> None:
    """A move that no table allows is a defect, not a row."""
    world.fill(seats=9)
    held = _book(world)
    acts.release(world.runtime(), held)
    runtime = world.runtime()

    def backwards(tx: Any) -> None:
        locked = records.lock_booking(tx, held)
        records.move(tx, locked, BookingStatus.PENDING, actor="test", reason="no")

    with pytest.raises(AssertionError):
        runtime.database.run(backwards)
    assert world.status(held) == "CANCELLED"
