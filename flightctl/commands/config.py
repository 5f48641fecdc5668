"""``flightctl config``."""

import typer

from flightctl.cli import command, group_app, session_of
from flightctl.core.settings import describe
from flightctl.views.operations import SETTING

app = group_app(
    "config",
    """Examples:
      flightctl config show
      flightctl config show --config staging.yaml

    Show the settings in force.
    """,
)


@command(app, "show")
def show(ctx: typer.Context) -> None:
    """Examples:
      flightctl config show
      flightctl config show --config staging.yaml -o json

    Show every setting, its value and where it came from.

    Secrets are masked. Flags come first, then FLIGHTCTL_* variables, then the file, then defaults.

    Exit codes:
      0 shown, 2 a setting is wrong
    """
    session = session_of(ctx)
    session.show_all(SETTING, describe(session.settings))
