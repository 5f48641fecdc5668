"""``flightctl doctor``."""

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core.errors import ConfigError, ServiceUnavailableError
from flightctl.core.model.operations import DoctorCheck
from flightctl.session import Session
from flightctl.views.operations import CHECK, doctor_document

app = command_app()


@command(app, "doctor")
def doctor(ctx: typer.Context) -> None:
    """Examples:
      flightctl doctor
      flightctl doctor -o json | jq '.checks[] | select(.state != "ok")'

    Check configuration, database, Redis and the sweep.

    Exit codes:
      0 all that is needed works (Redis may be down), 7 something needed does not
    """
    session = session_of(ctx)
    checks = _examine(session)
    session.show_rows(CHECK, checks, doctor_document(checks))
    failed = [check for check in checks if check.state == "failed"]
    if failed:
        raise ServiceUnavailableError(
            f"these checks failed: {', '.join(check.name for check in failed)}",
            hint=failed[0].hint or "The checks above tell what to do.",
            details={"failed": [check.name for check in failed]},
        )


def _examine(session: Session) -> tuple[DoctorCheck, ...]:
    """Settings that do not load are a finding, not the end of the examination."""
    try:
        runtime = session.runtime
    except ConfigError as error:
        return (DoctorCheck("configuration", "failed", error.message, error.hint),)
    from flightctl.core import doctor as use_case

    return use_case.examine(runtime)
