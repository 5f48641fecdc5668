"""``flightctl payments``."""

from typing import Annotated

import typer

from flightctl.cli import choice, command, group_app, session_of
from flightctl.core.model.payments import CallbackRequest
from flightctl.core.model.states import CallbackStatus, ForcedOutcome
from flightctl.views.payments import LATE, PAYMENT

PaymentId = Annotated[str, typer.Argument(metavar="PAYMENT", help="Its id, e.g. pay-x4m2….")]

app = group_app(
    "payments",
    """Examples:
      flightctl payments list --status REFUND_DUE
      flightctl payments process --all
      flightctl payments callback K7QX2M --status SUCCESS

    Show, list, process and refund payments.
    """,
)


@command(app, "list")
def list_(
    ctx: typer.Context,
    status: Annotated[
        str | None,
        typer.Option(metavar="S", help="REQUESTED, PROCESSING, SUCCESS, FAILED, CANCELLED, REFUND_DUE or REFUNDED."),
    ] = None,
    due: Annotated[bool, typer.Option("--due", help="Of which money is due back, all or a part.")] = False,
    page: Annotated[int, typer.Option(metavar="N", help="Page to show; the first is 0.")] = 0,
    size: Annotated[int, typer.Option(metavar="N", help="Payments a page.")] = 50,
) -> None:
    """Examples:
      flightctl payments list
      flightctl payments list --status REFUND_DUE -o json
      flightctl payments list --due

    List payments, newest first.

    Exit codes:
      0 also when there are none, 2 wrong option, 7 database down
    """
    from flightctl.core import lists

    session = session_of(ctx)
    session.show_page(PAYMENT, lists.list_payments(session.runtime, status=status, due=due, page=page, size=size))


@command(app, "show")
def show(ctx: typer.Context, payment: PaymentId) -> None:
    """Examples:
      flightctl payments show pay-x4m2k9tq7r3hw8vb
      flightctl payments show pay-x4m2k9tq7r3hw8vb -o json

    Show one payment as it stands now.

    Exit codes:
      0 shown, 3 no such payment, 7 database down
    """
    from flightctl.core import lists

    session = session_of(ctx)
    session.show(lists.show_payment(session.runtime, payment))


@command(app, "process")
def process(
    ctx: typer.Context,
    booking: Annotated[str | None, typer.Option(metavar="B", help="Only this booking's payments.")] = None,
    outcome: Annotated[
        str | None, typer.Option(metavar="O", help="Make the mock gateway answer success, failure or timeout.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Go on until none is due.")] = False,
) -> None:
    """Examples:
      flightctl payments process
      flightctl payments process --booking K7QX2M --outcome failure
      flightctl payments process --all -o json

    Run the payment gateway in the foreground.

    One batch of due payments and refunds is processed, with --all until none is left. Each charge
    is made once, however often this runs.

    Exit codes:
      0 done, whatever the gateway answered, 2 wrong option, 3 no such booking, 7 database down
    """
    from flightctl.core import payments

    session = session_of(ctx)
    forced = None if outcome is None else choice(ForcedOutcome, outcome, "--outcome")
    result = payments.process(session.runtime, booking_id=booking, outcome=forced, everything=everything)
    for error in result.errors:
        session.warn(error)
    session.show(result)


CallbackBooking = Annotated[str, typer.Argument(metavar="BOOKING", help="Its id, e.g. K7QX2M.")]
CallbackSaid = Annotated[str, typer.Option(metavar="S", help="SUCCESS or FAILURE.")]
Amount = Annotated[str | None, typer.Option(metavar="A", help="Of a payment unknown so far.")]
Message = Annotated[str | None, typer.Option(metavar="M", help="What the gateway said.")]


def _request(
    booking: str, status: str, payment: str | None, amount: str | None, message: str | None
) -> CallbackRequest:
    from flightctl.core.amounts import parse_amount

    return CallbackRequest(
        booking,
        choice(CallbackStatus, status, "--status"),
        payment_id=payment,
        amount=None if amount is None else parse_amount(amount, "--amount"),
        message=message,
    )


@command(app, "callback")
def callback(
    ctx: typer.Context,
    booking: CallbackBooking,
    status: CallbackSaid,
    payment: Annotated[str | None, typer.Option(metavar="P", help="Its latest payment otherwise.")] = None,
    amount: Amount = None,
    message: Message = None,
    timestamp: Annotated[str | None, typer.Option(metavar="T", help="Unix seconds when it was signed.")] = None,
    signature: Annotated[str | None, typer.Option(metavar="HEX", help="HMAC-SHA256 of it.")] = None,
) -> None:
    """Examples:
      flightctl payments callback K7QX2M --status SUCCESS
      flightctl payments callback K7QX2M --status FAILURE --message "card declined"
      flightctl payments callback K7QX2M --status SUCCESS --payment gw-991 --amount 5400

    Record what a gateway says of a booking's payment.

    SUCCESS confirms the booking, or makes the money due back where that is too late; FAILURE ends
    a PENDING booking and frees its seats. A callback that was heard before changes nothing. With
    gateway.secret set it needs --payment, --timestamp and --signature, or nothing is recorded.

    Exit codes:
      0 recorded, 2 wrong option or signature, or another booking's payment, 3 no such booking,
      7 database down
    """
    from flightctl.core import callbacks

    session = session_of(ctx)
    request = _request(booking, status, payment, amount, message)
    session.show(callbacks.receive(session.runtime, request, timestamp=timestamp, signature=signature))


@command(app, "sign")
def sign(
    ctx: typer.Context,
    booking: CallbackBooking,
    status: CallbackSaid,
    payment: Annotated[str | None, typer.Option(metavar="P", help="Its latest payment otherwise.")] = None,
    amount: Amount = None,
    message: Message = None,
    timestamp: Annotated[str | None, typer.Option(metavar="T", help="Unix seconds; now otherwise.")] = None,
) -> None:
    """Examples:
      flightctl payments sign K7QX2M --status SUCCESS
      flightctl payments sign K7QX2M --status SUCCESS --payment gw-991 --amount 5400 -o json

    Sign a callback as the gateway would, to try one. Refused in production.

    Exit codes:
      0 signed, 2 wrong option, or no gateway.secret, 3 no such booking, 4 refused in production,
      7 database down
    """
    from flightctl.core import callbacks

    session = session_of(ctx)
    session.show(callbacks.sign(session.runtime, _request(booking, status, payment, amount, message), timestamp))


@command(app, "trigger")
def trigger(
    ctx: typer.Context,
    booking: CallbackBooking,
    outcome: Annotated[
        str, typer.Option(metavar="success|failure|timeout", help="What is reported; timeout: nothing.")
    ],
    delay: Annotated[str, typer.Option(metavar="6m", help="How late, as if that time had gone by.")] = "0s",
    duplicate: Annotated[int, typer.Option(metavar="N", help="How often it is reported.")] = 1,
    reorder: Annotated[bool, typer.Option("--reorder", help="The opposite, overtaken, comes after it.")] = False,
) -> None:
    """Examples:
      flightctl payments trigger K7QX2M --outcome success --delay 6m
      flightctl payments trigger K7QX2M --outcome success --duplicate 2
      flightctl payments trigger K7QX2M --outcome failure --reorder -o json
      flightctl payments trigger K7QX2M --outcome timeout --delay 6m

    Rehearse late, double, contradictory and lost callbacks. Refused in production.

    The mock gateway takes the booking's latest payment and keeps silent; time goes by, not by waiting
    but by making the holds end so much earlier, and what lapses is swept; then the callbacks come.

    Exit codes:
      0 played through, however it ended, 2 wrong option, 3 no such booking, 4 refused in production,
      7 database down
    """
    from flightctl.core import rehearsal
    from flightctl.core.durations import parse_duration

    session = session_of(ctx)
    result = rehearsal.trigger(
        session.runtime,
        booking,
        choice(ForcedOutcome, outcome, "--outcome"),
        delay_seconds=parse_duration(delay, "--delay"),
        duplicates=duplicate,
        reorder=reorder,
    )
    session.show(result)


@command(app, "late")
def late(
    ctx: typer.Context,
    since: Annotated[
        str | None, typer.Option(metavar="D", help="Only payments made on that day (UTC) or later.")
    ] = None,
    page: Annotated[int, typer.Option(metavar="N", help="Page to show; the first is 0.")] = 0,
    size: Annotated[int, typer.Option(metavar="N", help="Payments a page.")] = 50,
) -> None:
    """Examples:
      flightctl payments late
      flightctl payments late --since 2026-12-01 -o json

    List money that came and has no seat, newest first, and what became of it.

    Too late, twice, of another amount, or for a flight that does not go: it is due back or paid back.
    Money of a booking that was confirmed by it and given up afterwards is not late.

    Exit codes:
      0 also when there is none, 2 wrong option, 7 database down
    """
    from flightctl.core import lists

    session = session_of(ctx)
    session.show_page(LATE, lists.list_late_payments(session.runtime, since=since, page=page, size=size))


@command(app, "refund")
def refund(ctx: typer.Context, payment: PaymentId) -> None:
    """Examples:
      flightctl payments refund pay-x4m2k9tq7r3hw8vb
      flightctl payments refund pay-x4m2k9tq7r3hw8vb -o json

    Close a refund that is due.

    Counter money was paid out by hand; the gateway's goes back through the gateway. Refunding a
    REFUNDED payment changes nothing.

    Exit codes:
      0 refunded, 3 no such payment, 6 nothing is due back, 7 database or gateway down
    """
    from flightctl.core import refunding

    session = session_of(ctx)
    result = refunding.refund(session.runtime, payment)
    session.show(result)
    if not result.changed:
        session.note(f"Nothing changed: payment {result.payment.payment_id} was {result.payment.status.value} already.")
