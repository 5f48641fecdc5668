"""The payment processor: claim, call the gateway, store its answer, deliver it. Every step may be repeated.

A claim is a lease: a processor that dies leaves PROCESSING payments that another takes over when the lease has run
out. The gateway is idempotent by payment id, so that asking again learns the first answer and charges nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Final

from sqlalchemy import select, update

from flightctl.core import money, records, refunding
from flightctl.core.claims import BOOKING_PENDING, PROCESSOR, Claim, claim_payments
from flightctl.core.confirming import confirm_paid
from flightctl.core.database import Transaction
from flightctl.core.errors import DatabaseUnavailableError, FlightctlError, OutcomeUnknownError, SchemaMismatchError
from flightctl.core.gateway import Gateway, MockGateway
from flightctl.core.identifiers import normal_id
from flightctl.core.model.payments import ProcessResult
from flightctl.core.model.states import BookingStatus, CallbackStatus, ForcedOutcome, PaymentStatus
from flightctl.core.protection import refuse_in_production
from flightctl.core.runtime import Runtime
from flightctl.core.schema import payments
from flightctl.core.settlement import deliver, receive_failure, receive_success
from flightctl.core.sql_functions import utc_now

WORKERS: Final = 8
"""Threads that ask a gateway with a delay; each holds a connection for moments only, the pool has room for all."""
_MAX_ROUND: Final = 15.0
"""Seconds that a round may take by the gateway's delay: a daemon that is told to stop brings it to its end, and is
waited for twice as long."""
_GONE: Final = (DatabaseUnavailableError, SchemaMismatchError, OutcomeUnknownError)
"""Trouble that is no single payment's: what is claimed is left to its leases."""

_DISPUTED: Final = (payments.c.status == PaymentStatus.FAILED.value) & (payments.c.claimed_until <= utc_now())


def process(
    runtime: Runtime, *, booking_id: str | None = None, outcome: ForcedOutcome | None = None, everything: bool = False
) -> ProcessResult:
    """One batch of due payments and refunds, or with ``everything`` batches until none is due.

    ``outcome`` forces what the mock answers to charges it has not seen. Raises EnvironmentProtectedError for one in
    production, BookingNotFoundError; what fails for one payment is told in ``errors`` and tried again when its lease
    has run out.
    """
    if outcome is not None:
        refuse_in_production(runtime.settings, "outcomes of payments are not made up in this environment")
    if booking_id is not None:
        booking_id = normal_id(booking_id)
        wanted = booking_id
        runtime.database.read(lambda tx: records.load_booking(tx, wanted))
    total = ProcessResult()
    while True:
        batch = run_once(runtime, limit=runtime.settings["payments.batch_size"], booking_id=booking_id, outcome=outcome)
        total = _sum(total, batch)
        if not everything or batch.claimed + batch.refunded == 0 or batch.errors:
            return total


def _sum(one: ProcessResult, two: ProcessResult) -> ProcessResult:
    return ProcessResult(
        one.claimed + two.claimed,
        one.succeeded + two.succeeded,
        one.failed + two.failed,
        one.timed_out + two.timed_out,
        one.refunded + two.refunded,
        one.errors + two.errors,
    )


def run_once(
    runtime: Runtime,
    *,
    limit: int,
    booking_id: str | None = None,
    outcome: ForcedOutcome | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> ProcessResult:
    """Claim up to ``limit`` due payments and refunds and bring each to its end.

    ``stopping`` lets nothing more be claimed; what is claimed is brought to its end all the same, since nobody else
    could before its lease has run out.
    """
    gateway = MockGateway(runtime.database, runtime.settings)

    def settle(claims: Sequence[Claim]) -> ProcessResult:
        return _settle_all(runtime, gateway, claims, outcome)

    def pay_back(refund: Any) -> ProcessResult:
        try:
            return ProcessResult(refunded=int(refunding.pay_back(runtime, gateway, refund)))
        except FlightctlError as error:
            return ProcessResult(errors=(f"{refund.refund_id}: {error.message}",))

    parts: list[ProcessResult] = []
    delay: float = runtime.settings["gateway.delay"]
    if not stopping():
        claims = claim_payments(runtime, _affordable(runtime, limit, delay), booking_id)
        parts += _in_parallel(settle, claims) if delay else [settle(claims)]
    if not stopping():
        _reconcile(runtime, gateway, limit, booking_id)
        parts += [pay_back(refund) for refund in refunding.claim_refunds(runtime, limit, booking_id)]
    return reduce(_sum, parts, ProcessResult())


def _affordable(runtime: Runtime, limit: int, delay: float) -> int:
    """How many payments can be brought to their end in a round; as many as there are workers at least."""
    if not delay:
        return limit
    rounds = max(1, int(min(_MAX_ROUND, runtime.settings["payments.lease"] / 2) / delay))
    return min(limit, rounds * WORKERS)


def _in_parallel(
    settle: Callable[[Sequence[Claim]], ProcessResult], claims: Sequence[Claim]
) -> Iterable[ProcessResult]:
    """A gateway that takes its time is asked by several threads at once."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="gateway") as pool:
        return list(pool.map(lambda claim: settle([claim]), claims))


def _settle_all(
    runtime: Runtime, gateway: Gateway, claims: Sequence[Claim], forced: ForcedOutcome | None
) -> ProcessResult:
    """What nobody had before is charged, stored and confirmed together; whatever that leaves, one by one."""
    fresh = [claim for claim in claims if not claim.recovered]
    answers: dict[str, CallbackStatus | None] = {}
    settled: set[str] = set()
    try:
        if fresh:
            answers = _charge_together(runtime, gateway, fresh, forced)
            paid = {
                claim.payment_id: claim.booking_id
                for claim in fresh
                if answers[claim.payment_id] is CallbackStatus.SUCCESS
            }
            settled = confirm_paid(runtime, paid, actor=PROCESSOR)
    except _GONE as error:
        return ProcessResult(errors=tuple(f"{claim.payment_id}: {error.message}" for claim in claims))
    except FlightctlError:  # one of them; alone it is told which
        pass
    result = ProcessResult()
    for claim in claims:
        known = answers.get(claim.payment_id)
        if claim.payment_id in settled or (claim.payment_id in answers and known is None):
            result = _sum(result, _counted(known))
        else:
            said = claim if known is None else replace(claim, outcome=known.value)
            result = _sum(result, _settle_alone(runtime, gateway, said, forced))
    return result


def _charge_together(
    runtime: Runtime, gateway: Gateway, claims: Sequence[Claim], forced: ForcedOutcome | None
) -> dict[str, CallbackStatus | None]:
    """The gateway's answers, stored: the money's fact first, the seat second."""
    answers = gateway.charge_all({claim.payment_id: claim.amount for claim in claims}, forced)

    def work(tx: Transaction) -> None:
        for outcome in CallbackStatus:
            money.store_answers(tx, [one for one, answer in answers.items() if answer is outcome], outcome)

    runtime.database.run(work)
    return answers


def _counted(answer: CallbackStatus | None) -> ProcessResult:
    return ProcessResult(
        claimed=1,
        succeeded=int(answer is CallbackStatus.SUCCESS),
        failed=int(answer is CallbackStatus.FAILURE),
        timed_out=int(answer is None),
    )


def _settle_alone(runtime: Runtime, gateway: Gateway, claim: Claim, forced: ForcedOutcome | None) -> ProcessResult:
    try:
        return _counted(_settle(runtime, gateway, claim, forced))
    except FlightctlError as error:
        return ProcessResult(errors=(f"{claim.payment_id}: {error.message}",))


def _settle(runtime: Runtime, gateway: Gateway, claim: Claim, forced: ForcedOutcome | None) -> CallbackStatus | None:
    """Get the gateway's answer, store it, deliver it; each unless an earlier try has done so."""
    answer = CallbackStatus(claim.outcome) if claim.outcome else _ask(runtime, gateway, claim, forced)
    if answer is None:
        _give_up_if_old(runtime, claim)
        return None
    if claim.outcome is None:
        runtime.database.run(lambda tx: money.store_answers(tx, [claim.payment_id], answer))

    def work(tx: Transaction) -> bool:
        booking = records.lock_booking(tx, claim.booking_id)
        row = money.require_payment(tx, claim.payment_id)
        if answer is CallbackStatus.SUCCESS:
            return receive_success(tx, booking, row, actor=PROCESSOR, settings=runtime.settings)
        return receive_failure(tx, booking, row, actor=PROCESSOR, message="declined by the gateway")

    deliver(runtime, claim.booking_id, work)
    return answer


def _ask(runtime: Runtime, gateway: Gateway, claim: Claim, forced: ForcedOutcome | None) -> CallbackStatus | None:
    """Charge; but of a payment taken over whose booking has ended, close the charge: a processor that is not dead but
    slow then learns that it failed."""
    if claim.recovered:
        booking = runtime.database.read(lambda tx: records.load_booking(tx, claim.booking_id))
        if booking.status is not BookingStatus.PENDING:
            return gateway.void(claim.payment_id, claim.amount)
    return gateway.charge(claim.payment_id, claim.amount, forced)


def _give_up_if_old(runtime: Runtime, claim: Claim) -> None:
    """Stop asking for a payment of an ended booking after ``payments.abandon_after``. Should money come all the same,
    the callback table decides: such a payment has no FAILURE of its own."""
    old = utc_now(-runtime.settings["payments.abandon_after"])
    is_old = select(payments.c.payment_id).where(
        payments.c.payment_id == claim.payment_id, payments.c.created_at < old, ~BOOKING_PENDING
    )
    if runtime.database.read(lambda tx: tx.execute(is_old).first()) is not None:
        _fail(runtime, claim, "the gateway never answered")


def _fail(runtime: Runtime, claim: Claim, why: str) -> None:
    def work(tx: Transaction) -> None:
        booking = records.lock_booking(tx, claim.booking_id)
        row = money.require_payment(tx, claim.payment_id)
        if PaymentStatus(row.status) is PaymentStatus.PROCESSING and row.outcome is None:
            money.move_payment(tx, row, PaymentStatus.FAILED, message=why)
            status = booking.status
            records.add_event(
                tx, booking.id, status, status, actor=PROCESSOR, reason=f"payment {row.payment_id} given up: {why}"
            )

    runtime.database.run(work)


def _reconcile(runtime: Runtime, gateway: Gateway, limit: int, booking_id: str | None) -> None:
    """Ask the gateway for payments that were reported as failed while a processor had them, and died with them: had it
    been charged after all, that is late money."""
    due = select(payments.c.payment_id, payments.c.booking_id, payments.c.amount).where(_DISPUTED)
    if booking_id is not None:
        due = due.where(payments.c.booking_id == booking_id)
    for row in runtime.database.read(lambda tx: tx.execute(due.limit(limit)).all()):
        answer = gateway.void(row.payment_id, row.amount)

        def work(tx: Transaction, row: Any = row, answer: CallbackStatus | None = answer) -> None:
            booking = records.lock_booking(tx, row.booking_id)
            payment = money.require_payment(tx, row.payment_id)
            if answer is CallbackStatus.SUCCESS:
                receive_success(tx, booking, payment, actor=PROCESSOR, settings=runtime.settings)
            tx.change(
                update(payments).where(payments.c.payment_id == row.payment_id, _DISPUTED).values(claimed_until=None)
            )

        runtime.database.run(work)
