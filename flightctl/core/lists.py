"""Lists and single records for people: pages, newest first, read from the database."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from sqlalchemy import Select, and_, func, literal, or_, select

from flightctl.core import inventory, money, records, schedule
from flightctl.core.database import Transaction
from flightctl.core.errors import ValidationError
from flightctl.core.identifiers import normal_id, storable
from flightctl.core.model.bookings import Booking, BookingEvent
from flightctl.core.model.pages import Page
from flightctl.core.model.payments import LatePayment, Payment
from flightctl.core.model.states import BookingStatus, CallbackStatus, FlightStatus, PaymentStatus, RefundStatus
from flightctl.core.network import airport, day_anywhere
from flightctl.core.runtime import Runtime
from flightctl.core.schema import booking_events, booking_flights, bookings, flights, payments, refunds
from flightctl.core.search import MAX_PAGE, resolve_day

MAX_SIZE: Final = 1000
S = TypeVar("S", bound=StrEnum)


def parse_status(kind: type[S], text: str | None) -> S | None:
    """A state by its name, in any case. Raises ValidationError."""
    if text is None:
        return None
    try:
        return kind(text.strip().upper())
    except ValueError:
        raise ValidationError(
            f"--status {text[:40]!r} is not a state", hint=f"Take one of {', '.join(kind)}."
        ) from None


def _check_page(page: int, size: int) -> None:
    if not 0 <= page <= MAX_PAGE:
        raise ValidationError(f"--page counts from 0, not {page}")
    if not 1 <= size <= MAX_SIZE:
        raise ValidationError(f"--size goes from 1 to {MAX_SIZE}, not {size}")


def page_of(
    runtime: Runtime,
    query: Select[Any],
    order: tuple[Any, ...],
    page: int,
    size: int,
    make: Callable[[Transaction, Sequence[Any]], Iterable[object]],
) -> Page:
    """One page of a query's rows, made into records all at once by ``make(tx, rows)``. Raises ValidationError."""
    _check_page(page, size)

    def work(tx: Transaction) -> Page:
        rows = tx.execute(query.order_by(*order).limit(size).offset(page * size)).all()
        total = page * size + len(rows)
        if len(rows) == size or (page and not rows):  # the count reads every row there is: not where this page tells
            total = tx.execute(select(func.count()).select_from(query.subquery())).scalar_one()
        return Page(tuple(make(tx, rows)), page, size, total)

    return runtime.reader.read(work)


def list_bookings(
    runtime: Runtime, *, user: str | None, status: str | None, flight: str | None, page: int, size: int
) -> Page:
    """Bookings, newest first. Raises ValidationError."""
    query = select(bookings)
    state = parse_status(BookingStatus, status)
    if user is not None:
        query = query.where(bookings.c.user_id == storable(user.strip()))
    if state is not None:
        query = query.where(bookings.c.status == state.value)
    if flight is not None:
        on_flight = select(booking_flights.c.booking_id).where(booking_flights.c.flight_id == normal_id(flight))
        query = query.where(bookings.c.booking_id.in_(on_flight))
    order = (bookings.c.created_at.desc(), bookings.c.booking_id.desc())
    return page_of(runtime, query, order, page, size, records.to_bookings)


def list_flights(
    runtime: Runtime,
    *,
    source: str | None,
    destination: str | None,
    date: str | None,
    status: str | None,
    page: int,
    size: int,
) -> Page:
    """Flights, latest departure first. Raises ValidationError, UnknownAirportError."""
    query = select(flights)
    state = parse_status(FlightStatus, status)
    origin = airport(source).iata if source is not None else None
    if origin is not None:
        query = query.where(flights.c.source == origin)
    if destination is not None:
        query = query.where(flights.c.destination == airport(destination).iata)
    if date is not None:
        day = resolve_day(date, lambda: runtime.reader.read(schedule.database_now), origin, "--date")
        query = query.where(flights.c.departure_date == day)
        if origin is None:  # no index begins with the date
            query = query.where(flights.c.departure_time.between(*day_anywhere(day)))
    if state is not None:
        query = query.where(flights.c.status == state.value)
    order = (flights.c.departure_time.desc(), flights.c.flight_id.desc())
    return page_of(runtime, query, order, page, size, lambda _tx, rows: map(inventory.to_flight, rows))


def list_payments(runtime: Runtime, *, status: str | None, page: int, size: int, due: bool = False) -> Page:
    """Payments, newest first; with ``due`` those of which money is due back. Raises ValidationError."""
    query = select(payments)
    state = parse_status(PaymentStatus, status)
    if state is not None:
        query = query.where(payments.c.status == state.value)
    if due:
        owed = select(refunds.c.payment_id).where(refunds.c.status == RefundStatus.DUE.value)
        query = query.where(payments.c.payment_id.in_(owed))
    order = (payments.c.created_at.desc(), payments.c.payment_id.desc())
    return page_of(runtime, query, order, page, size, money.to_payments)


def list_late_payments(runtime: Runtime, *, since: str | None = None, page: int, size: int) -> Page:
    """Money that came and never bought its booking's seats, newest first; that of a booking which was given up after
    it had been confirmed by this money is not late. ``since``: of payments made on that day (UTC) or later, which an
    index finds. Raises ValidationError."""
    bought = (
        select(booking_events.c.id)
        .where(
            booking_events.c.booking_id == payments.c.booking_id,
            booking_events.c.to_status == BookingStatus.CONFIRMED.value,
            booking_events.c.from_status != BookingStatus.CONFIRMED.value,
            # The event that confirmed it names the payment (settlement, confirming).
            func.instr(booking_events.c.reason, literal("(").concat(payments.c.payment_id).concat(")")) > 0,
        )
        .exists()
    )
    here = or_(
        payments.c.status.in_((PaymentStatus.REFUND_DUE.value, PaymentStatus.REFUNDED.value)),
        and_(
            payments.c.status == PaymentStatus.PROCESSING.value,
            payments.c.outcome == CallbackStatus.SUCCESS.value,
            bookings.c.status != BookingStatus.PENDING.value,
        ),
    )
    query = (
        select(payments, bookings.c.status.label("booking_status"), bookings.c.user_id, bookings.c.flight_identifier)
        .join(bookings, bookings.c.booking_id == payments.c.booking_id)
        .where(here, ~bought)
    )
    if since is not None:
        day = resolve_day(since, lambda: runtime.reader.read(schedule.database_now), None, "--since")
        query = query.where(payments.c.created_at >= datetime(day.year, day.month, day.day, tzinfo=UTC))
    order = (payments.c.created_at.desc(), payments.c.payment_id.desc())
    return page_of(runtime, query, order, page, size, _late)


def _late(tx: Transaction, rows: Sequence[Any]) -> Iterator[LatePayment]:
    known = money.refunds_of(tx, [row.payment_id for row in rows])
    for row, payment in zip(rows, money.to_payments(tx, rows), strict=True):
        states = {refund.status for refund in known.get(row.payment_id, ())}
        due, paid = RefundStatus.DUE.value in states, bool(states)
        yield LatePayment(
            payment=payment,
            booking_status=BookingStatus(row.booking_status),
            user_id=row.user_id,
            flight_identifier=row.flight_identifier,
            refund_status=RefundStatus.DUE if due else RefundStatus.PAID if paid else None,
        )


def show_booking(runtime: Runtime, booking_id: str) -> Booking:
    """Raises BookingNotFoundError."""
    wanted = normal_id(booking_id)
    return runtime.database.read(lambda tx: records.load_booking(tx, wanted))


def booking_history(runtime: Runtime, booking_id: str, *, page: int = 0, size: int | None = None) -> Page:
    """The booking's story, oldest event first: all of it, or a page. Raises BookingNotFoundError, ValidationError."""
    _check_page(page, MAX_SIZE if size is None else size)
    wanted = normal_id(booking_id)

    def work(tx: Transaction) -> Page:
        records.load_booking(tx, wanted)
        rows = tx.execute(
            select(booking_events)
            .where(booking_events.c.booking_id == wanted)
            .order_by(booking_events.c.at, booking_events.c.id)
        )
        events = tuple(_event(row) for row in rows)
        shown = len(events) if size is None else size
        return Page(events[page * shown :][:shown], page, shown, len(events))

    return runtime.database.read(work)


def _event(row: Any) -> BookingEvent:
    at: datetime = row.at
    return BookingEvent(
        booking_id=row.booking_id,
        at=at,
        actor=row.actor,
        from_status=None if row.from_status is None else BookingStatus(row.from_status),
        to_status=BookingStatus(row.to_status),
        reason=row.reason,
    )


def show_payment(runtime: Runtime, payment_id: str) -> Payment:
    """Raises PaymentNotFoundError."""
    return runtime.database.read(
        lambda tx: money.to_payment(tx, money.require_payment(tx, storable(payment_id.strip())))
    )


def busiest_pairs(runtime: Runtime, day: date, top: int) -> list[tuple[str, str]]:
    """The ``top`` city pairs with the most direct seats on the local date."""
    seats = func.sum(flights.c.total_seats)
    query = (
        select(flights.c.source, flights.c.destination)
        .where(flights.c.departure_date == day, flights.c.status == FlightStatus.ACTIVE.value)
        .group_by(flights.c.source, flights.c.destination)
        .order_by(seats.desc(), flights.c.source, flights.c.destination)
        .limit(top)
    )
    return runtime.database.read(lambda tx: [(row.source, row.destination) for row in tx.execute(query)])
