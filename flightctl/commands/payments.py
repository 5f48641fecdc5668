"""``flightctl payments``."""

from typing import Annotated

import typer

from flightctl.cli import choice, command, group_app, session_of
from flightctl.core.model import CallbackRequest, CallbackStatus, ForcedOutcome
from flightctl.views.payments import PAYMENT

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
    page: Annotated[int, typer.Option(metavar="N", help="Page to show; the first is 0.")] = 0,
    size: Annotated[int, typer.Option(metavar="N", help="Payments a page.")] = 50,
) -> None:
    """Examples:
      flightctl payments list
      flightctl payments list --status REFUND_DUE -o json

    List payments, newest first.

    Exit codes:
      0 also when there are none, 2 wrong option, 7 database down
    """
    from flightctl.core import lists

    session = session_of(ctx)
    session.show_page(PAYMENT, lists.list_payments(session.runtime, status=status, page=page, size=size))


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


@command(app, "callback")
def callback(
    ctx: typer.Context,
    booking: Annotated[str, typer.Argument(metavar="BOOKING", help="Its id, e.g. K7QX2M.")],
    status: Annotated[str, typer.Option(metavar="S", help="SUCCESS or FAILURE.")],
    payment: Annotated[str | None, typer.Option(metavar="P", help="Its latest payment otherwise.")] = None,
    amount: Annotated[str | None, typer.Option(metavar="A", help="Of a payment unknown so far.")] = None,
    message: Annotated[str | None, typer.Option(metavar="M", help="What the gateway said.")] = None,
) -> None:
    """Examples:
      flightctl payments callback K7QX2M --status SUCCESS
      flightctl payments callback K7QX2M --status FAILURE --message "card declined"
      flightctl payments callback K7QX2M --status SUCCESS --payment gw-991 --amount 5400

    Record what a gateway says of a booking's payment.

    SUCCESS confirms the booking, or makes the money due back where that is too late; FAILURE ends
    a PENDING booking and frees its seats. A callback that was heard before changes nothing.

    Exit codes:
      0 recorded, 2 wrong option or another booking's payment, 3 no such booking, 7 database down
    """
    from flightctl.core import settlement
    from flightctl.core.money import parse_amount

    session = session_of(ctx)
    request = CallbackRequest(
        booking,
        choice(CallbackStatus, status, "--status"),
        payment_id=payment,
        amount=None if amount is None else parse_amount(amount, "--amount"),
        message=message,
    )
    session.show(settlement.callback(session.runtime, request))


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
