"""``flightctl db``."""

from typing import Annotated

import typer

from flightctl.cli import choice, command, group_app, session_of
from flightctl.core.archive import archive as core_archive
from flightctl.core.grants import Role
from flightctl.core.grants import grants as required
from flightctl.core.schema import HEAD_REVISION
from flightctl.session import Session
from flightctl.views.operations import GRANT, REVISION

app = group_app(
    "db",
    """Examples:
      flightctl db current
      flightctl db upgrade
      flightctl db grants --role agent -q
      flightctl db archive --before 2026-01-01 --dry-run

    Migrate the database, archive what has flown, and tell what accounts need.
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


@command(app, "grants")
def grants(
    ctx: typer.Context,
    role: Annotated[
        str | None, typer.Option("--role", metavar="ROLE", help="agent, operator, daemon or reader (all of them).")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME[@HOST]", help="The account (flightctl_ROLE, from any host).")
    ] = None,
) -> None:
    """Examples:
      flightctl db grants --role agent
      flightctl db grants --role daemon --user flightctl_daemon@10.0.0.% -q | mariadb -u root -p

    Print the GRANT statements that an account needs, and no more.

    Nothing is changed and no connection is made. The account must exist; the statements are for its server's
    administrator. `-q` prints the statements alone.

    Exit codes:
      0 printed, 2 unknown role or account, or an embedded database
    """
    session = session_of(ctx)
    session.show_all(
        GRANT, required(session.settings, list(Role) if role is None else [choice(Role, role, "--role")], user)
    )


@command(app, "archive")
def archive(
    ctx: typer.Context,
    before: Annotated[str, typer.Option(metavar="D", help="Flights that departed before this date.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would move.")] = False,
) -> None:
    """Examples:
      flightctl db archive --before 2026-01-01 --dry-run
      flightctl db archive --before 2026-01-01 -o json

    Move flown flights and their bookings out of the way, into the table `archived`.

    A booking moves with its legs, holds, payments, refunds and history when all its flights have
    arrived and nothing about it is open; a flight when no booking is left on it. It may be
    interrupted and run again, beside everything else.

    Exit codes:
      0 moved, 2 a bad date or one in the future, 7 database down, or the account may not do it
    """
    session = session_of(ctx)
    session.show(core_archive(session.runtime, before=before, dry_run=dry_run))


def _show(session: Session, revision: str | None) -> None:
    session.show_as(REVISION, {"revision": revision, "head": HEAD_REVISION, "upToDate": revision == HEAD_REVISION})
