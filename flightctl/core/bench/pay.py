"""``bench pay``: payments a second from claim to confirmed booking, by a gateway that answers at once."""

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Final

from flightctl.core.bench import floors
from flightctl.core.bench.audited import audit_scratch
from flightctl.core.bench.book import add_flights
from flightctl.core.bench.filling import Held, fill_holds
from flightctl.core.bench.load import Contender, Operation, compete
from flightctl.core.bench.result import BenchResult
from flightctl.core.bench.scratch import changed_settings, scratch
from flightctl.core.payments import run_once
from flightctl.core.runtime import Runtime
from flightctl.core.settings import Settings

FLIGHTS: Final = 200
BATCH: Final = 50
"""Payments claimed at once, by the floor too: the default of payments.batch_size."""
_SUPPLY: Final = 1500
"""Payments per second of work that are laid in for each contender: more than either gets done."""
_HOLD_SECONDS: Final = 86400.0

_CLAIM: Final = (
    "UPDATE payments SET status = 'PROCESSING', claimed_until = {later}, attempts = attempts + 1, updated_at = {now}"
    " WHERE payment_id = %(payment)s AND status = 'REQUESTED'"
)
_CHARGE: Final = (
    "INSERT INTO mock_gateway_ledger (request_id, kind, amount, outcome, created_at)"
    " VALUES (%(payment)s, 'CHARGE', %(price)s, 'SUCCESS', {now})"
)
_ANSWER: Final = "UPDATE payments SET outcome = 'SUCCESS', updated_at = {now} WHERE payment_id = %(payment)s"
_SETTLE: Final = (
    "SELECT status FROM bookings WHERE booking_id = %(booking)s{for_update}",
    "UPDATE seat_reservations SET deleted_at = {now}, outcome = 'CONFIRMED'"
    " WHERE booking_id = %(booking)s AND deleted_at IS NULL",
    "UPDATE payments SET status = 'SUCCESS', claimed_until = NULL, updated_at = {now}"
    " WHERE payment_id = %(payment)s AND status = 'PROCESSING'",
    "UPDATE bookings SET status = 'CONFIRMED', updated_at = {now}"
    " WHERE booking_id = %(booking)s AND status = 'PENDING'",
    "INSERT INTO booking_events (booking_id, at, actor, from_status, to_status, reason)"
    " VALUES (%(booking)s, {now}, 'floor', 'PENDING', 'CONFIRMED', %(reason)s)",
)


def bench_pay(settings: Settings, *, clients: int, seconds: float) -> BenchResult:
    """The floor's clients have payments of their own; flightctl's find theirs, as its daemons do."""
    with scratch(settings) as changed:
        quick = changed_settings(
            changed, {"gateway.delay": 0.0, "gateway.success": 1.0, "gateway.failure": 0.0, "gateway.timeout": 0.0}
        )
        flight_ids = add_flights(quick, FLIGHTS)
        supply = max(clients * BATCH * 4, round(seconds * _SUPPLY))
        held = fill_holds(quick, flight_ids, 2 * supply, seconds=_HOLD_SECONDS)
        what = f"{floors.driver_name(quick)}, payments dealt out beforehand"
        contenders = [
            Contender(what, partial(bare_payments, quick, held[supply:], clients)),
            Contender("flightctl", partial(flightctl_payments, quick)),
        ]
        floor, own = compete(contenders, clients=clients, seconds=seconds)
        own = own.held_against(floor)
        violations = audit_scratch(quick)
    return BenchResult("pay", clients, FLIGHTS, seconds, floor, own, (floor, own), violations)


def flightctl_payments(settings: Settings, _number: int) -> Operation:
    runtime = Runtime(settings, actor="bench")
    return lambda: run_once(runtime, limit=BATCH).claimed


def bare_payments(settings: Settings, held: Sequence[Held], clients: int, number: int) -> Operation:
    """A claim of BATCH payments in one transaction; then three for each: the gateway's, its answer, the booking."""
    bare = floors.Bare(settings)
    for_update = "" if bare.embedded else " FOR UPDATE"
    claim, charge, answer = (bare.text(statement) for statement in (_CLAIM, _CHARGE, _ANSWER))
    settle = [bare.text(statement, for_update=for_update) for statement in _SETTLE]
    own = iter(held[number::clients])

    def operation() -> int:
        batch = [
            {"booking": booking, "payment": payment, "price": bare.price, "reason": f"payment succeeded ({payment})"}
            for booking, _, payment in islice(own, BATCH)
        ]
        bare.begin()
        claimed = [values for values in batch if bare.execute(claim, values) == 1]
        bare.commit()
        for values in claimed:
            for statements in ([charge], [answer], settle):
                bare.transaction((statement, values) for statement in statements)
        return len(claimed)

    return operation
