"""``flightctl db``."""

import typer

from flightctl.cli import command, group_app, session_of
from flightctl.core.schema import HEAD_REVISION
from flightctl.session import Session
from flightctl.views.operations import REVISION

app = group_app(
    "db",
    """Examples:
      flightctl db current
      flightctl db upgrade

    Migrate the database.
    """,
)


@command(app, "upgrade")
def upgrade(ctx: typer.Context) -> None:
    """Examples:
      flightctl db upgrade
      FLIGHTCTL_DATABASE_URL=mysql+pymysql://flightctl@db/flightctl flightctl db upgrade

    Bring the database's schema up to date.

    The embedded database does this by itself on first use.

    Exit codes:
      0 up to date, 7 database down or newer than this program
    """
    session = session_of(ctx)
    _show(session, session.runtime.database.upgrade())


@command(app, "current")
def current(ctx: typer.Context) -> None:
    """Examples:
      flightctl db current
      flightctl db current -o json

    Tell which schema the database has and which this program needs.

    Exit codes:
      0 told, 7 database down
    """
    session = session_of(ctx)
    _show(session, session.runtime.database.revision())


def _show(session: Session, revision: str | None) -> None:
    session.show_as(REVISION, {"revision": revision, "head": HEAD_REVISION, "upToDate": revision == HEAD_REVISION})
