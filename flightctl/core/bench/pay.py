"""``bench pay``: payments a second from claim to confirmed booking, by a gateway that answers at once."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from flightctl.core.bench import floors
from flightctl.core.bench.audited import audit_scratch
from flightctl.core.bench.book import add_flights
from flightctl.core.bench.filling import Held, fill_holds
from flightctl.core.bench.load import Contender, Operation, compete
from flightctl.core.bench.result import BenchResult, best
from flightctl.core.bench.scratch import changed_settings, scratch
from flightctl.core.payments import run_once
from flightctl.core.runtime import Runtime
from flightctl.core.settings import Settings

BATCH: Final = 50
"""Payments claimed at once, by the floor too: the default of payments.batch_size."""
_SUPPLY: Final = 3000
_FLOOR_SUPPLY: Final = 1200
"""Payments per second of work that are laid in for flightctl and for each floor: more than they get done."""
_HOLD_SECONDS: Final = 86400.0

_CLAIM: Final = (
    "UPDATE payments SET status = 'PROCESSING', claimed_until = {later}, attempts = attempts + 1, updated_at = {now}"
    " WHERE payment_id = %(payment)s AND status = 'REQUESTED'"
)
_STILL_NEW: Final = (
    "SELECT payment_id FROM payments WHERE payment_id IN %(payments)s AND status = 'REQUESTED' FOR UPDATE"
)
_CHARGE: Final = (
    "INSERT INTO mock_gateway_ledger (request_id, kind, amount, outcome, created_at)"
    " VALUES (%(payment)s, 'CHARGE', %(price)s, 'SUCCESS', {now})"
)
_ANSWER: Final = (
    "UPDATE payments SET outcome = 'SUCCESS' WHERE payment_id = %(payment)s AND status = 'PROCESSING'"
    " AND outcome IS NULL"
)
_SETTLE: Final = (
    "SELECT status FROM bookings WHERE booking_id = %(booking)s{for_update}",
    "UPDATE seat_reservations SET deleted_at = {now}, outcome = 'CONFIRMED'"
    " WHERE booking_id = %(booking)s AND deleted_at IS NULL",
    "UPDATE payments SET status = 'SUCCESS', claimed_until = NULL, updated_at = {now}"
    " WHERE payment_id = %(payment)s AND status = 'PROCESSING'",
    "UPDATE bookings SET status = 'CONFIRMED', updated_at = {now}"
    " WHERE booking_id = %(booking)s AND status = 'PENDING'",
    "INSERT INTO booking_events (booking_id, at, actor, from_status, to_status, reason, operation_id)"
    " VALUES (%(booking)s, {now}, 'floor', 'PENDING', 'CONFIRMED', %(reason)s, %(operation)s)",
)


def bench_pay(settings: Settings, *, clients: int, flight_count: int, seconds: float) -> BenchResult:
    """The floors' clients have payments of their own, dealt out beforehand; flightctl's find theirs, as its daemons do.

    The better floor counts: each payment by itself, one statement at a time or each transaction in one round trip. On a
    server the driver also does whole batches, which is less than the promise needs: a payment that is refused, or whose
    gateway does not answer, would hold up its batch. Its row tells how much is left to gain at most.
    """
    with scratch(settings) as changed:
        quick = changed_settings(
            changed, {"gateway.delay": 0.0, "gateway.success": 1.0, "gateway.failure": 0.0, "gateway.timeout": 0.0}
        )
        flight_ids = add_flights(quick, flight_count)
        driver = floors.driver_name(quick)
        ways = {f"{driver}, one statement at a time": False}
        if driver == floors.PYMYSQL:
            ways[f"{driver}, one round trip a transaction"] = True
        makers: dict[str, Callable[[Settings, Sequence[Held], int, int], Operation]] = {
            what: partial(bare_payments, at_once=at_once) for what, at_once in ways.items()
        }
        if driver == floors.PYMYSQL:
            makers[f"{driver}, whole batches"] = bare_batches
        own_part, floor_part = (max(clients * BATCH * 4, round(seconds * each)) for each in (_SUPPLY, _FLOOR_SUPPLY))
        shares = [own_part if make is bare_batches else floor_part for make in makers.values()]
        held = iter(fill_holds(quick, flight_ids, own_part + sum(shares), seconds=_HOLD_SECONDS))
        contenders = [
            Contender(what, partial(make, quick, list(islice(held, share)), clients))
            for share, (what, make) in zip(shares, makers.items(), strict=True)
        ]
        *bare, own = compete(
            [*contenders, Contender("flightctl", partial(flightctl_payments, quick))], clients=clients, seconds=seconds
        )
        floor = best(bare[: len(ways)])
        own = own.held_against(floor, *(row for row in bare if row is not floor))
        violations = audit_scratch(quick)
    return BenchResult("pay", clients, flight_count, seconds, floor, own, (*bare, own), violations)


def flightctl_payments(settings: Settings, _number: int) -> Operation:
    runtime = Runtime(settings, actor="bench")
    return lambda: run_once(runtime, limit=BATCH).claimed


def bare_payments(settings: Settings, held: Sequence[Held], clients: int, number: int, *, at_once: bool) -> Operation:
    """A claim of BATCH payments in one transaction; then three for each: the gateway's, its answer, the booking.

    With ``at_once`` each of them is one round trip. Those three are what the promise needs of a payment by itself: the
    gateway's ledger is not ours to commit with, and its answer is kept before the booking learns of it.
    """
    bare = floors.Bare(settings)
    for_update = "" if bare.embedded else " FOR UPDATE"
    claim, charge, answer = (bare.text(statement) for statement in (_CLAIM, _CHARGE, _ANSWER))
    settle = [bare.text(statement, for_update=for_update) for statement in _SETTLE]
    own = iter(held[number::clients])

    def transaction(statements: Sequence[str], values: Mapping[str, Any]) -> None:
        if at_once:
            bare.all_at_once(";".join((*statements, "COMMIT")), values)
        else:
            bare.transaction((statement, values) for statement in statements)

    def operation() -> int:
        batch = [_values(bare, one, number) for one in islice(own, BATCH)]
        bare.begin()
        claimed = [values for values in batch if bare.execute(claim, values) == 1]
        bare.commit()
        for values in claimed:
            for statements in ([charge], [answer], settle):
                transaction(statements, values)
        return len(claimed)

    return operation


def bare_batches(settings: Settings, held: Sequence[Held], clients: int, number: int) -> Operation:
    """BATCH payments in four transactions: the claim, the gateway's, its answers, the bookings."""
    bare = floors.Bare(settings)
    look, *changes, add_event = (bare.text(statement, for_update=" FOR UPDATE") for statement in _SETTLE)
    charge = bare.text(_CHARGE)
    claim, answer, look, *changes = (_of_many(text) for text in (bare.text(_CLAIM), bare.text(_ANSWER), look, *changes))
    own = iter(held[number::clients])

    def operation() -> int:
        batch = [_values(bare, one, number) for one in islice(own, BATCH)]
        if not batch:
            return 0
        # flightctl, which has none of its own dealt out, may have been there before.
        free = {row[0] for row in bare.rows(_STILL_NEW, {"payments": [one["payment"] for one in batch]})}
        batch = [one for one in batch if one["payment"] in free]
        if not batch:
            bare.commit()
            return 0
        ids = {"payments": [one["payment"] for one in batch], "bookings": [one["booking"] for one in batch]}
        bare.execute(claim, ids)
        bare.commit()
        bare.cursor.executemany(charge, batch)
        bare.commit()
        bare.execute(answer, ids)
        bare.commit()
        for text in (look, *changes):
            bare.execute(text, ids)
        bare.cursor.executemany(add_event, batch)
        bare.commit()
        return len(batch)

    return operation


def _of_many(text: str) -> str:
    return text.replace("= %(payment)s", "IN %(payments)s").replace("= %(booking)s", "IN %(bookings)s")


def _values(bare: floors.Bare, one: Held, number: int) -> dict[str, Any]:
    booking, _, payment = one
    return {
        "booking": booking,
        "payment": payment,
        "price": bare.price,
        "reason": f"payment succeeded ({payment})",
        "operation": f"{number:016}",
    }
