"""A season of bookings laid in by `INSERT … SELECT`: enough rows that a scan shows, in seconds. MariaDB alone.

All adds up: an audit of it finds nothing. Bookings are spread over ninety days up to now and over flights that departed in
the last sixty days or depart in the next hundred and twenty. The newest are PENDING.
"""

from __future__ import annotations

from collections.abc import Callable

WAITING = 200  # PENDING bookings whose holds run; as many refunds are due
CITIES = "'DEL', 'BOM', 'BLR', 'HYD', 'MAA', 'CCU', 'GOI'"
_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
_IDS = len(_LETTERS) ** 6
_ID = ", ".join(f"SUBSTR('{_LETTERS}', 1 + (seq * 48271 % {_IDS}) DIV {len(_LETTERS) ** k} % 31, 1)" for k in range(6))

_SOURCE = """
CREATE TABLE season AS SELECT
 CONCAT({id}) AS booking_id,
 seq,
 CONCAT('V', LPAD(IF(seq > {bookings} - {waiting}, {flights} - seq % ({flights} DIV 2), 1 + seq * 7919 % {flights}), 7, '0'))
  AS flight_id,
 CONCAT('user-', seq * 31 % ({bookings} DIV 5 + 1)) AS user_id,
 1 + seq % 2 AS seats,
 CASE WHEN seq > {bookings} - {waiting} THEN 'PENDING'
  WHEN seq % 100 < 90 THEN 'CONFIRMED' WHEN seq % 100 < 95 THEN 'CANCELLED' WHEN seq % 100 < 99 THEN 'EXPIRED'
  ELSE 'FAILED' END AS status,
 UTC_TIMESTAMP(6) - INTERVAL ROUND(({bookings} - seq) * 90.0 * 86400 * 1000000 / {bookings}) MICROSECOND AS at
FROM seq_1_to_{bookings}
"""
_FLIGHTS = """
INSERT INTO flights (flight_id, source, destination, departure_time, arrival_time, departure_date, total_seats,
 available_seats, seat_version, price, status)
SELECT CONCAT('V', LPAD(seq, 7, '0')), ELT(1 + seq % 7, {cities}), ELT(1 + (seq + 1 + seq DIV 7 % 6) % 7, {cities}),
 UTC_TIMESTAMP() - INTERVAL 60 DAY + INTERVAL seq * 180.0 * 86400 / {flights} SECOND,
 UTC_TIMESTAMP() - INTERVAL 60 DAY + INTERVAL seq * 180.0 * 86400 / {flights} + 7200 SECOND,
 DATE(UTC_TIMESTAMP() + INTERVAL 330 MINUTE - INTERVAL 60 DAY + INTERVAL seq * 180.0 * 86400 / {flights} SECOND),
 1000, 1000, seq, 5400, IF(seq > {flights}, 'CANCELLED', 'ACTIVE')
FROM seq_1_to_{all_flights}
"""
_CHILDREN = (
    "INSERT INTO bookings (booking_id, user_id, flight_type, flight_identifier, seats, total_price, status,"
    " idempotency_key, created_at, updated_at)"
    " SELECT booking_id, user_id, 'DIRECT', flight_id, seats, 5400 * seats, status, CONCAT('key-', seq), at, at"
    " FROM season ORDER BY booking_id",
    "INSERT INTO booking_flights (booking_id, leg_order, flight_id)"
    " SELECT booking_id, 1, flight_id FROM season ORDER BY booking_id",
    "INSERT INTO seat_reservations (booking_id, flight_id, seats, expires_at, created_at, deleted_at, outcome)"
    " SELECT booking_id, flight_id, seats, IF(status = 'PENDING', UTC_TIMESTAMP(6), at) + INTERVAL 5 HOUR, at,"
    " IF(status = 'PENDING', NULL, at), CASE status WHEN 'PENDING' THEN NULL WHEN 'EXPIRED' THEN 'EXPIRED'"
    " WHEN 'FAILED' THEN 'RELEASED' ELSE 'CONFIRMED' END FROM season ORDER BY seq",
    "INSERT INTO payments (payment_id, booking_id, amount, status, source, created_at, updated_at)"
    " SELECT CONCAT('pay-', LOWER(booking_id)), booking_id, 5400 * seats, CASE status WHEN 'PENDING' THEN 'REQUESTED'"
    " WHEN 'CONFIRMED' THEN 'SUCCESS' WHEN 'EXPIRED' THEN 'CANCELLED' WHEN 'FAILED' THEN 'FAILED'"
    " ELSE IF(seq > {bookings} - 21 * {waiting}, 'REFUND_DUE', 'REFUNDED') END, 'GATEWAY', at, at"
    " FROM season ORDER BY booking_id",
    "INSERT INTO refunds (refund_id, payment_id, amount, status, created_at, updated_at)"
    " SELECT CONCAT('ref-', LOWER(booking_id)), CONCAT('pay-', LOWER(booking_id)), 5400 * seats,"
    " IF(seq > {bookings} - 21 * {waiting}, 'DUE', 'PAID'), at, at FROM season WHERE status = 'CANCELLED'",
    "INSERT INTO booking_events (booking_id, at, actor, to_status, reason)"
    " SELECT booking_id, at, 'agent', 'PENDING', 'booked' FROM season ORDER BY seq",
    "INSERT INTO booking_events (booking_id, at, actor, from_status, to_status, reason)"
    " SELECT booking_id, at, 'agent', 'PENDING', status, 'ended' FROM season WHERE status <> 'PENDING' ORDER BY seq",
    "UPDATE flights JOIN (SELECT flight_id, SUM(seats) AS seats FROM season WHERE status IN ('PENDING', 'CONFIRMED')"
    " GROUP BY flight_id) AS taken USING (flight_id) SET available_seats = total_seats - taken.seats",
    "DROP TABLE season",
)
TABLES = (
    "flights, bookings, booking_flights, seat_reservations, payments, refunds, booking_events, disruptions, archived"
)


def fill_season(execute: Callable[[str], object], bookings: int, flights: int) -> None:
    """Into an empty, migrated schema; ``execute`` runs one statement of a session that commits each."""
    numbers = {"bookings": bookings, "flights": flights, "all_flights": flights + flights // 100 + 1}
    execute("SET SESSION foreign_key_checks = 0, unique_checks = 0")
    for statement in (_SOURCE, _FLIGHTS, *_CHILDREN):
        execute(statement.format(id=_ID, cities=CITIES, waiting=WAITING, **numbers))
    execute(f"ANALYZE TABLE {TABLES}")
