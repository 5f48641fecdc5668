"""The program: its commands by name, and every exception's way to an exit status, once for all commands."""

import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, ClassVar

import typer
from typer.main import get_group as build_group

from flightctl import __version__
from flightctl.cli import CONTEXT, LazyGroup
from flightctl.core.errors import BookingNotFoundError, FlightctlError
from flightctl.errors_shown import EXIT_CODES, as_flightctl_error, as_text, mask, wants_json, write_stderr
from flightctl.session import Session


class Root(LazyGroup):
    table: ClassVar = {
        "search": "Find itineraries from one airport to another on a date.",
        "book": "Hold the seats of an itinerary and request its payment.",
        "confirm": "Confirm a booking as paid at the counter.",
        "release": "Give a booking's seats back and cancel it.",
        "holds": "List the holds that are running, and extend them.",
        "wait": "Wait until a booking comes to a state.",
        "bookings": "Show, list and trace bookings.",
        "flights": "Show, list, add, change and cancel flights.",
        "manifest": "List the bookings on a flight.",
        "reaccommodate": "Move the bookings of a plan to other flights.",
        "payments": "Show, list, process and refund payments.",
        "routes": "Fill the cache of routes, pack the timetable.",
        "schedule": "Compare schedule files with what is loaded, import and export them.",
        "seed": "Load a network and its flights.",
        "sweep": "End every hold that has lapsed.",
        "daemon": "Run the sweep and the payment processor until stopped.",
        "top": "Watch bookings, holds, sweep, payments, refunds and the hottest flights.",
        "audit": "Check that every seat, hold and payment adds up.",
        "bench": "Measure flightctl next to bare drivers.",
        "doctor": "Check configuration, database, Redis and the sweep.",
        "db": "Migrate the database, archive what has flown, and tell what accounts need.",
        "config": "Show the settings in force, and choose among servers.",
        "help": "Show help: of flightctl, of a command, or on a topic.",
        "completion": "Print the script that completes flightctl's command lines.",
        "shell": "Run commands at a prompt, in one warm process.",
        "-": "Run a batch of commands, JSON lines from stdin.",
    }
    modules: ClassVar = {"-": "batch"}


app = typer.Typer(
    name="flightctl", cls=Root, context_settings=CONTEXT, add_completion=False, rich_markup_mode=None
)  # fmt: skip


@cache
def program() -> Any:
    """The root of the commands. A context holds all that belongs to one run, so one root serves any number."""
    return build_group(app)


def _print_version(ctx: typer.Context, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        typer.echo(f"flightctl {__version__}")
        raise typer.Exit


_HELP = f"""Examples:
  flightctl seed
  flightctl search DEL BLR --date tomorrow
  flightctl book 6E203-20261201 --user asha --seats 2
  flightctl COMMAND --help

Operations and booking tool for a flight seat inventory. Works on an embedded database until
FLIGHTCTL_DATABASE_URL names a server.

Exit codes:
  {", ".join(f"{status} {meaning}" for status, meaning in EXIT_CODES.items())}
"""


@app.callback(help=_HELP)
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """What stands before any command."""


def run(argv: Sequence[str], session: Session | None = None) -> int:
    """Run one command line; the exit status. Nothing but the interpreter's own death gets past it.

    ``session`` is a fresh one; it tells the user what there is to tell.
    """
    session = Session() if session is None else session
    try:
        return _dispatch(list(argv), session)
    except typer.Exit as leaving:
        return leaving.exit_code
    except BrokenPipeError:  # help into `head`; rendered data deals with it where it is written
        _abandon_stdout()
        return 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  the one place where nothing may escape
        return _fail(error, argv, session)
    finally:
        _close(session)


def _dispatch(argv: list[str], session: Session) -> int:
    if not argv:
        argv = ["--help"]
    group = program()
    with group.make_context("flightctl", argv, obj=session) as context:
        group.invoke(context)
    return 0


def _fail(error: BaseException, argv: Sequence[str], session: Session) -> int:
    if os.environ.get("FLIGHTCTL_DEBUG") == "1":
        import traceback

        write_stderr(mask("".join(traceback.format_exception(error))))
    shown = as_flightctl_error(error)
    shown.details = {**session.error_details, **shown.details}
    if isinstance(shown, BookingNotFoundError):
        _suggest_bookings(shown, session)
    if shown.result is not None and session.started:
        try:
            session.show(shown.result)
        except FlightctlError as unprintable:
            write_stderr(as_text(unprintable))
    as_json = session.format == "json" if session.started else wants_json(argv, os.environ.get("FLIGHTCTL_OUTPUT"))
    session.fail(shown, as_json=as_json)
    return shown.exit_status


def _suggest_bookings(error: BookingNotFoundError, session: Session) -> None:
    """Name the bookings that a slip of the finger or the eye made into this one."""
    from flightctl.core.suggest import similar_bookings

    try:
        found = similar_bookings(session.runtime, str(error.details.get("bookingId", "")))
    except FlightctlError:  # the error that there is says enough
        return
    if found:
        error.hint = f"Did you mean {' or '.join(found)}?"


def _close(session: Session) -> None:
    try:
        session.close()
    except Exception as error:  # noqa: BLE001  the command is over; its own outcome stands
        session.warn(f"closing connections: {type(error).__name__}")


def _abandon_stdout() -> None:
    """Nobody reads it any more; without this the interpreter complains while flushing it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
