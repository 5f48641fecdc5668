"""``flightctl book``."""

import secrets
from typing import Annotated, Any

import typer

from flightctl.cli import Command, command, command_app, session_of
from flightctl.core.durations import parse_duration
from flightctl.core.model.bookings import BookRequest

KEY = "idempotencyKey"

app = command_app()


class _KeyedCommand(Command):
    """Every error of ``book`` names the key, those of the command line included: a retry needs it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.obj.error_details[KEY] = secrets.token_hex(12)
        return super().parse_args(ctx, args)


def _remember_key(ctx: typer.Context, value: str | None) -> str | None:
    if value is not None:
        session_of(ctx).error_details[KEY] = value
    return value


@command(app, "book", cls=_KeyedCommand)
def book(
    ctx: typer.Context,
    identifier: Annotated[str, typer.Argument(metavar="IDENTIFIER", help="Of an itinerary, from `search`.")],
    user: Annotated[str, typer.Option(metavar="U", help="Who travels: 1 to 64 characters.")],
    seats: Annotated[int, typer.Option(metavar="N", help="Seats on every leg.")] = 1,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="K", help="Makes a retry safe; random otherwise.", is_eager=True, callback=_remember_key),
    ] = None,
    ttl: Annotated[str | None, typer.Option(metavar="5m", help="How long the seats are held, 1s to 24h.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the payment's outcome.")] = False,
    timeout: Annotated[str, typer.Option(metavar="60s", help="How long --wait waits.")] = "60s",
) -> None:
    """Examples:
      flightctl book 6E203-20261201 --user asha
      flightctl book CF_DEL_BLR_6E203-20261201_6E511-20261201 --user asha --seats 2 --ttl 15m
      flightctl book 6E203-20261201 --user asha --idempotency-key order-4711 -o json
      flightctl book 6E203-20261201 --user asha --wait --timeout 30s

    Hold the seats of an itinerary and request its payment.

    All legs are held or none. The booking is PENDING until its payment succeeds; the hold ends
    by itself after --ttl (5m). The same --idempotency-key with the same request returns the same
    booking, so a retry never books twice.

    Exit codes:
      0 booked (or replayed), 3 no such flight, 5 no seats, 7 try again with the same key,
      10 the key belongs to another request; with --wait also 6 hold expired, 8 still pending,
      11 payment declined
    """
    from flightctl.core import booking

    session = session_of(ctx)
    request = BookRequest(
        identifier,
        user,
        seats=seats,
        idempotency_key=session.error_details[KEY],
        ttl_seconds=None if ttl is None else parse_duration(ttl, "--ttl"),
        actor=session.who,
    )
    seconds = parse_duration(timeout, "--timeout")
    session.show(
        booking.book_and_wait(session.runtime, request, seconds) if wait else booking.book(session.runtime, request)
    )
