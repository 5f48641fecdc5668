"""``flightctl release``."""

from typing import Annotated

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core import cancellation
from flightctl.core.model.bookings import ChangeResult, RefundQuote
from flightctl.core.model.states import BookingStatus
from flightctl.core.refund_rules import percent
from flightctl.session import Session

app = command_app()


@command(app, "release")
def release(
    ctx: typer.Context,
    booking: Annotated[str, typer.Argument(metavar="BOOKING", help="Its id, e.g. K7QX2M.")],
    reason: Annotated[str | None, typer.Option(metavar="T", help="Kept in the booking's history.")] = None,
    seats: Annotated[int | None, typer.Option(metavar="N", help="Give back only so many of its seats.")] = None,
    quote: Annotated[bool, typer.Option("--quote", help="Only show what would be refunded.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Cancel a CONFIRMED booking without asking.")] = False,
) -> None:
    """Examples:
      flightctl release K7QX2M
      flightctl release K7QX2M --quote
      flightctl release K7QX2M --reason "customer changed plans" --yes -o json
      flightctl release K7QX2M --seats 1 --yes

    Give a booking's seats back and cancel it.

    A PENDING booking ends as CANCELLED. A CONFIRMED one does with --yes, or after a question on a
    terminal that tells what will be refunded. With --seats it stays what it is, with fewer seats and
    a lower price. Releasing a CANCELLED booking changes nothing.

    Exit codes:
      0 cancelled or shown, 2 CONFIRMED and --yes is missing, or more seats than it has, 3 no such
      booking, 6 expired or failed before
    """
    session = session_of(ctx)
    if quote:
        session.show(cancellation.quote(session.runtime, booking, seats=seats))
        return
    result = _release(session, booking, reason, seats, yes)
    session.show(result)
    if not result.changed:
        session.note(f"Nothing changed: booking {result.booking.booking_id} was {result.booking.status.value} already.")


def _release(session: Session, booking: str, reason: str | None, seats: int | None, yes: bool) -> ChangeResult:
    def act(*, confirmed_too: bool, agreed: RefundQuote | None = None) -> ChangeResult:
        return cancellation.release(
            session.runtime, booking, reason=reason, confirmed_too=confirmed_too, seats=seats, expected=agreed
        )

    try:
        return act(confirmed_too=False)
    except cancellation.ConfirmationNeededError as error:
        shown = error.quote
        if not yes and not session.interactive:
            raise
    session.note(_in_words(shown))
    if yes:
        return act(confirmed_too=True)
    what = "Cancel it?" if not shown.seats_left else f"Give {shown.seats} of its seats back?"
    session.confirm(f"Booking {shown.booking_id} is {BookingStatus.CONFIRMED.value}. {what}")
    return act(confirmed_too=True, agreed=shown)


def _in_words(shown: RefundQuote) -> str:
    seats = f"{shown.seats} seat{'s' if shown.seats > 1 else ''}"
    rule = "" if shown.share is None or not shown.retained else f" ({percent(shown.share)}); {shown.retained} is kept"
    return f"{seats} for {shown.price}, {shown.hours_left} h before departure: {shown.refund} will be refunded{rule}."
