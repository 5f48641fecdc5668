"""The least that an account needs for what its owner does, as GRANT statements of MySQL and MariaDB.

Only the migrations need more: `db upgrade` and `db archive` run as the owner of the tables.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from flightctl.core.database_url import parse_address
from flightctl.core.errors import ConfigError, ValidationError
from flightctl.core.schema import metadata
from flightctl.core.settings import Settings

MAX_ACCOUNT: Final = 80
"""Characters of an account's name, as MariaDB has them (MySQL: 32)."""

Rights = Mapping[str, tuple[str, ...]]


class Role(StrEnum):
    """Who the account is for; each does what ``reader`` does besides its own work."""

    AGENT = "agent"
    OPERATOR = "operator"
    DAEMON = "daemon"
    READER = "reader"


@dataclass(frozen=True, slots=True)
class Grant:
    role: Role
    statement: str


_SEATS: Final = "UPDATE (available_seats, seat_version)"
_HOLDS: Final = ("INSERT", "UPDATE (deleted_at, outcome, expires_at, seats)")
_BOOKINGS: Final = "UPDATE (status, failure_reason, updated_at)"
_PARTS: Final = "UPDATE (status, failure_reason, updated_at, seats, total_price, flight_type, flight_identifier)"
"""For whoever gives back a part of a booking, or moves it to other flights."""
_PAYMENTS: Final = "UPDATE (status, source, outcome, message, attempts, claimed_until, updated_at)"
_REFUNDS: Final = "UPDATE (status, claimed_until, updated_at)"
_PACKING: Final = {"packed_days": ("INSERT", "UPDATE", "DELETE"), "packed_airports": ("INSERT", "DELETE")}
_OWN: Final[Mapping[Role, Rights]] = {
    Role.READER: {},
    Role.AGENT: {
        "flights": (_SEATS,),
        "bookings": ("INSERT", _PARTS),
        "booking_flights": ("INSERT", "DELETE"),
        "booking_requests": ("INSERT",),
        "disruptions": ("INSERT", "DELETE"),
        "seat_reservations": _HOLDS,
        "payments": ("INSERT", _PAYMENTS),
        "refunds": ("INSERT",),
        "booking_events": ("INSERT",),
    },
    # Sweeping and settling; late money takes its seats again, so holds are inserted too.
    Role.DAEMON: {
        "flights": (_SEATS,),
        "bookings": (_BOOKINGS,),
        "disruptions": ("INSERT", "DELETE"),
        "seat_reservations": _HOLDS,
        "payments": (_PAYMENTS,),
        "refunds": ("INSERT", _REFUNDS),
        "booking_events": ("INSERT",),
        "mock_gateway_ledger": ("INSERT",),
        "worker_heartbeats": ("INSERT", "UPDATE", "DELETE"),
        "schedule_state": ("UPDATE (updated_at)",),  # whoever packs a day queues behind changes of the schedule
        **_PACKING,
    },
    # Agent and processor, and the schedule.
    Role.OPERATOR: {
        "flights": ("INSERT", "UPDATE"),
        "bookings": ("INSERT", _PARTS),
        "booking_flights": ("INSERT", "DELETE"),
        "booking_requests": ("INSERT",),
        "disruptions": ("INSERT", "DELETE"),
        "seat_reservations": _HOLDS,
        "payments": ("INSERT", _PAYMENTS),
        "refunds": ("INSERT", _REFUNDS),
        "booking_events": ("INSERT",),
        "mock_gateway_ledger": ("INSERT",),
        "schedule_state": ("UPDATE",),
        **_PACKING,
        "archived": ("UPDATE (seats)", "DELETE"),  # for a callback that an archived booking comes back for
    },
}


def grants(settings: Settings, roles: Iterable[Role], user: str | None) -> list[Grant]:
    """The statements, table by table. ``user`` is ``name`` or ``name@host``; without it each role has its own name.

    Raises ConfigError for an embedded database, ValidationError for a name that no account has.
    """
    address = parse_address(settings["database.url"])
    if address.embedded:
        raise ConfigError(
            "the embedded database has no accounts: whoever may write its file may do everything",
            hint="Set FLIGHTCTL_DATABASE_URL to a MySQL or MariaDB server.",
        )
    found = []
    for role in roles:
        account = _account(user or f"flightctl_{role}")
        for table in sorted([*metadata.tables, "alembic_version"]):
            rights = ", ".join(["SELECT", *_OWN[role].get(table, ())])
            name = address.database.replace("`", "``")
            found.append(Grant(role, f"GRANT {rights} ON `{name}`.`{table}` TO {account};"))
    return found


def _account(user: str) -> str:
    name, at, host = user.strip().partition("@")
    host = host if at else "%"
    for part in name, host:
        if not 1 <= len(part) <= MAX_ACCOUNT or not part.isprintable() or set(part) & set("'\"`\\"):
            raise ValidationError(
                f"--user {user[:60]!r} is not an account", hint="Write it as name or name@host, e.g. ops@10.0.0.%."
            )
    return f"'{name}'@'{host}'"
