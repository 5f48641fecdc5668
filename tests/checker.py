"""What must hold in the database after every commit, asked in plain SQL. Uses nothing of flightctl's own code.

``violations(backend.execute)`` is empty when all is well. `execute` runs one statement with `%s` placeholders and
returns its rows; it should see one moment of the database, so ask when nothing is running (or inside a snapshot).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

Rows = list[tuple[Any, ...]]
Execute = Callable[[str, tuple[Any, ...]], Rows]

# Every query answers nothing when all is well; its columns, in order, fill the braces of the text.
RULES: Sequence[tuple[str, str]] = (
    (
        "flight {}: {} available, but {} total - {} confirmed - {} held",
        """
        SELECT f.flight_id, f.available_seats, f.total_seats, COALESCE(c.seats, 0), COALESCE(h.seats, 0)
        FROM flights f
        LEFT JOIN (SELECT l.flight_id, SUM(b.seats) AS seats FROM bookings b
                   JOIN booking_flights l ON l.booking_id = b.booking_id
                   WHERE b.status = 'CONFIRMED' GROUP BY l.flight_id) c ON c.flight_id = f.flight_id
        LEFT JOIN (SELECT r.flight_id, SUM(r.seats) AS seats FROM seat_reservations r
                   WHERE r.deleted_at IS NULL GROUP BY r.flight_id) h ON h.flight_id = f.flight_id
        WHERE f.available_seats <> f.total_seats - COALESCE(c.seats, 0) - COALESCE(h.seats, 0)
        """,
    ),
    (
        "flight {}: {} of {} seats available",
        """
        SELECT flight_id, available_seats, total_seats FROM flights
        WHERE available_seats < 0 OR available_seats > total_seats
        """,
    ),
    (
        "booking {} is {} and has an open hold on {}",
        """
        SELECT b.booking_id, b.status, r.flight_id FROM seat_reservations r
        JOIN bookings b ON b.booking_id = r.booking_id WHERE r.deleted_at IS NULL AND b.status <> 'PENDING'
        """,
    ),
    (
        "PENDING booking {} has {} open holds of its {} seats on its leg {}",
        """
        SELECT b.booking_id, COUNT(r.id), b.seats, l.flight_id FROM bookings b
        JOIN booking_flights l ON l.booking_id = b.booking_id
        LEFT JOIN seat_reservations r ON r.booking_id = b.booking_id AND r.flight_id = l.flight_id
             AND r.deleted_at IS NULL AND r.seats = b.seats
        WHERE b.status = 'PENDING' GROUP BY b.booking_id, b.seats, l.flight_id HAVING COUNT(r.id) <> 1
        """,
    ),
    (
        "booking {} holds {} seats on {}, which is none of its legs or not what it asked for",
        """
        SELECT r.booking_id, r.seats, r.flight_id FROM seat_reservations r
        JOIN bookings b ON b.booking_id = r.booking_id
        LEFT JOIN booking_flights l ON l.booking_id = r.booking_id AND l.flight_id = r.flight_id
        LEFT JOIN booking_requests q ON q.booking_id = b.booking_id
        WHERE (l.booking_id IS NULL AND (q.booking_id IS NULL OR r.outcome IS NULL OR r.outcome = 'CONFIRMED'))
           OR r.seats > COALESCE(q.seats, b.seats)
           OR (r.seats <> b.seats AND (q.booking_id IS NULL OR r.deleted_at IS NULL OR r.outcome = 'CONFIRMED'))
        """,
    ),
    (
        "CONFIRMED booking {} has {} holds ended as CONFIRMED on its leg {}",
        """
        SELECT b.booking_id, COUNT(r.id), l.flight_id FROM bookings b
        JOIN booking_flights l ON l.booking_id = b.booking_id
        LEFT JOIN seat_reservations r ON r.booking_id = b.booking_id AND r.flight_id = l.flight_id
             AND r.outcome = 'CONFIRMED'
        WHERE b.status = 'CONFIRMED' GROUP BY b.booking_id, l.flight_id HAVING COUNT(r.id) <> 1
        """,
    ),
    (
        "booking {} is {} and has a hold ended as CONFIRMED",
        """
        SELECT DISTINCT b.booking_id, b.status FROM seat_reservations r JOIN bookings b ON b.booking_id = r.booking_id
        WHERE r.outcome = 'CONFIRMED' AND b.status NOT IN ('CONFIRMED', 'CANCELLED')
        """,
    ),
    (
        "hold {} of booking {} has ended by half",
        """
        SELECT id, booking_id FROM seat_reservations WHERE (deleted_at IS NULL) <> (outcome IS NULL)
        """,
    ),
    (
        "booking {} holds seats until {}, past the departure {} of {}",
        """
        SELECT r.booking_id, r.expires_at, f.departure_time, f.flight_id FROM seat_reservations r
        JOIN booking_flights l ON l.booking_id = r.booking_id JOIN flights f ON f.flight_id = l.flight_id
        WHERE r.deleted_at IS NULL AND r.expires_at > f.departure_time
        """,
    ),
    (
        "holds of PENDING booking {} lapse at {} different moments",
        """
        SELECT booking_id, COUNT(DISTINCT expires_at) FROM seat_reservations WHERE deleted_at IS NULL
        GROUP BY booking_id HAVING COUNT(DISTINCT expires_at) > 1
        """,
    ),
    (
        "payment {} is SUCCESS, its booking {} is {}",
        """
        SELECT p.payment_id, b.booking_id, b.status FROM payments p JOIN bookings b ON b.booking_id = p.booking_id
        WHERE p.status = 'SUCCESS' AND b.status <> 'CONFIRMED' AND NOT (b.status = 'CANCELLED' AND p.retained > 0
          AND p.amount = p.retained + COALESCE((SELECT SUM(r.amount) FROM refunds r
                                                WHERE r.payment_id = p.payment_id), 0))
        """,
    ),
    (
        "CONFIRMED booking {} has {} SUCCESS payments of its total",
        """
        SELECT b.booking_id, COUNT(p.payment_id) FROM bookings b
        LEFT JOIN payments p ON p.booking_id = b.booking_id AND p.status = 'SUCCESS' AND b.total_price =
             p.amount - p.retained - COALESCE((SELECT SUM(r.amount) FROM refunds r WHERE r.payment_id = p.payment_id), 0)
        WHERE b.status = 'CONFIRMED' GROUP BY b.booking_id HAVING COUNT(p.payment_id) <> 1
        """,
    ),
    (
        "payment {} is REQUESTED, its booking {} is {}",
        """
        SELECT p.payment_id, b.booking_id, b.status FROM payments p JOIN bookings b ON b.booking_id = p.booking_id
        WHERE p.status = 'REQUESTED' AND b.status <> 'PENDING'
        """,
    ),
    (
        "booking {} ({}) has no payment",
        """
        SELECT b.booking_id, b.status FROM bookings b LEFT JOIN payments p ON p.booking_id = b.booking_id
        WHERE p.payment_id IS NULL
        """,
    ),
    (
        "payment {} is REFUND_DUE without a refund that is DUE",
        """
        SELECT p.payment_id FROM payments p
        LEFT JOIN refunds r ON r.payment_id = p.payment_id AND r.status = 'DUE'
        WHERE p.status = 'REFUND_DUE' AND r.refund_id IS NULL
        """,
    ),
    (
        "refund {} is DUE, its payment {} is {}",
        """
        SELECT r.refund_id, p.payment_id, p.status FROM refunds r JOIN payments p ON p.payment_id = r.payment_id
        WHERE r.status = 'DUE' AND p.status NOT IN ('REFUND_DUE', 'SUCCESS')
        """,
    ),
    (
        "refund {} is {}, its payment {} is {}",
        """
        SELECT r.refund_id, r.status, p.payment_id, p.status FROM refunds r
        JOIN payments p ON p.payment_id = r.payment_id WHERE p.status NOT IN ('REFUND_DUE', 'REFUNDED', 'SUCCESS')
        """,
    ),
    (
        "the gateway took {} for {}, but the payment is {} from {}",
        """
        SELECT g.amount, g.request_id, p.status, p.source FROM mock_gateway_ledger g
        JOIN payments p ON p.payment_id = g.request_id
        WHERE g.kind = 'CHARGE' AND g.outcome = 'SUCCESS'
          AND (p.status NOT IN ('PROCESSING', 'SUCCESS', 'REFUND_DUE', 'REFUNDED') OR p.source <> 'GATEWAY')
        """,
    ),
    (
        "the gateway was asked for {} ({}), which is no payment of that amount",
        """
        SELECT g.request_id, g.amount FROM mock_gateway_ledger g
        LEFT JOIN payments p ON p.payment_id = g.request_id AND p.amount = g.amount
        WHERE g.kind = 'CHARGE' AND p.payment_id IS NULL
        """,
    ),
    (
        "the gateway paid back {} ({}), which is no refund of that amount through it",
        """
        SELECT g.request_id, g.amount FROM mock_gateway_ledger g
        LEFT JOIN refunds r ON r.refund_id = g.request_id AND r.amount = g.amount
        LEFT JOIN payments p ON p.payment_id = r.payment_id AND p.source = 'GATEWAY'
        WHERE g.kind = 'REFUND' AND p.payment_id IS NULL
        """,
    ),
    (
        "refund {} of gateway payment {} is PAID, but the gateway was never asked",
        """
        SELECT r.refund_id, p.payment_id FROM refunds r JOIN payments p ON p.payment_id = r.payment_id
        LEFT JOIN mock_gateway_ledger g ON g.request_id = r.refund_id AND g.kind = 'REFUND'
        WHERE r.status = 'PAID' AND p.source = 'GATEWAY' AND g.request_id IS NULL
        """,
    ),
    (
        "{} charges in the gateway's ledger for payment {}",
        """
        SELECT COUNT(*), request_id FROM mock_gateway_ledger GROUP BY request_id HAVING COUNT(*) > 1
        """,
    ),
)

# From where to where a booking may go. Equal states: money moved while the booking stood still.
MOVES = {
    None: {"PENDING"},
    "PENDING": {"CONFIRMED", "FAILED", "CANCELLED", "EXPIRED"},
    "CONFIRMED": {"CANCELLED"},
    "EXPIRED": {"CONFIRMED"},
    "FAILED": set(),
    "CANCELLED": set(),
}


def violations(execute: Execute) -> list[str]:
    """One line for everything that is wrong."""
    found = [text.format(*row) for text, query in RULES for row in execute(query, ())]
    return found + _legs(execute) + _money(execute) + _histories(execute)


def _legs(execute: Execute) -> list[str]:
    """A booking's flights are those of its identifier, in order."""
    legs: defaultdict[str, list[tuple[int, str, str, str]]] = defaultdict(list)
    rows = execute(
        "SELECT l.booking_id, l.leg_order, l.flight_id, f.source, f.destination FROM booking_flights l"
        " JOIN flights f ON f.flight_id = l.flight_id ORDER BY l.booking_id, l.leg_order",
        (),
    )
    for booking, *leg in rows:
        legs[booking].append(tuple(leg))
    found = []
    for booking, kind, identifier in execute("SELECT booking_id, flight_type, flight_identifier FROM bookings", ()):
        own = legs[booking]
        if not own:
            found.append(f"booking {booking} has no legs")
            continue
        ids = [flight for _, flight, _, _ in own]
        whole = ids[0] if len(ids) == 1 else "_".join(["CF", own[0][2], own[-1][3], *ids])
        if [order for order, *_ in own] != list(range(1, len(own) + 1)) or whole != identifier:
            found.append(f"booking {booking} of {identifier} has the legs {own}")
        if kind != ("DIRECT" if len(own) == 1 else "COMPUTED"):
            found.append(f"booking {booking} of {len(own)} legs is {kind}")
    return found


def _money(execute: Execute) -> list[str]:
    """Refunds never exceed their payment, and with what was retained are all of it once it is REFUND_DUE or REFUNDED."""
    back: defaultdict[str, Decimal] = defaultdict(Decimal)
    for payment, amount in execute("SELECT payment_id, amount FROM refunds", ()):
        back[payment] += exact(amount)
    found = []
    for payment, amount, kept, status in execute("SELECT payment_id, amount, retained, status FROM payments", ()):
        if back[payment] + exact(kept) > exact(amount):
            found.append(f"{back[payment]} of payment {payment} goes back, which was {exact(amount)}")
        elif exact(kept) and status not in {"SUCCESS", "REFUND_DUE", "REFUNDED"}:
            found.append(f"{exact(kept)} of payment {payment} is retained, which is {status}")
        elif status in {"REFUND_DUE", "REFUNDED"} and back[payment] + exact(kept) != exact(amount):
            found.append(f"payment {payment} is {status}, but only {back[payment]} of {exact(amount)} goes back")
    return found


def exact(amount: Any) -> Decimal:
    """Money as the database returns it: hundredths in SQLite's integers, DECIMAL elsewhere."""
    if isinstance(amount, int):
        return Decimal(amount).scaleb(-2)
    if not isinstance(amount, Decimal):
        raise TypeError(f"{amount!r} is not exact")
    return amount


def _histories(execute: Execute) -> list[str]:
    """Every booking's events lead from nothing to the state it is in, by allowed moves, with a who and a why."""
    states = dict(execute("SELECT booking_id, status FROM bookings", ()))
    now: dict[str, str | None] = dict.fromkeys(states)
    found = []
    rows = execute("SELECT booking_id, from_status, to_status, actor, reason FROM booking_events ORDER BY id", ())
    for booking, old, new, actor, reason in rows:
        if old != now[booking] or (new != old and new not in MOVES[old]):
            found.append(f"booking {booking} was {now[booking]}, its next event says {old} -> {new}")
        if not actor or not reason:
            found.append(f"an event of booking {booking} ({old} -> {new}) does not say who or why")
        now[booking] = new
    found += [f"booking {b} is {states[b]}, its history ends in {now[b]}" for b in states if now[b] != states[b]]
    return found
