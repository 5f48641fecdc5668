"""``flightctl audit``."""

from typing import Annotated

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core import audit as use_case
from flightctl.core.errors import InvariantViolationError
from flightctl.views.operations import VIOLATION, audit_document

app = command_app()


@command(app, "audit")
def audit(
    ctx: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended without guessing.")] = False,
) -> None:
    """Examples:
      flightctl audit
      flightctl audit --repair
      flightctl audit -o json | jq .violations

    Check that every seat, hold and payment adds up.

    Every flight, hold, payment and cached count is checked on one snapshot of the database. A row
    of the table is something that is off. --repair says what it did. Bookings that wait to be moved
    after a change of the schedule are listed, and nothing is off with them.

    Exit codes:
      0 all adds up, 7 database down, 9 something is off
    """
    session = session_of(ctx)
    result = use_case.audit(session.runtime, repair=repair)
    for line in result.repaired:
        session.note(f"repaired: {line}")
    for waiting in result.disrupted:
        session.note(f"waits to be moved: booking {waiting.booking_id}, because of flight {waiting.flight_id}")
    session.show_rows(VIOLATION, result.violations, audit_document(result))
    if result.violations:
        raise InvariantViolationError(
            f"{len(result.violations)} violation(s) in {result.flights_checked} flights and "
            f"{result.bookings_checked} bookings",
            details={"violations": len(result.violations), "repaired": len(result.repaired)},
        )
    session.note(f"Checked {result.flights_checked} flights and {result.bookings_checked} bookings: all adds up.")
