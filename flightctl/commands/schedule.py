"""``flightctl schedule``."""

from typing import Annotated, Final

import typer

from flightctl.cli import command, group_app, session_of
from flightctl.core.errors import InvalidStateError, ValidationError
from flightctl.core.model.schedules import DifferenceKind, ExportRequest, ImportRequest, ImportResult
from flightctl.progress import progress_bar, warn_of_rejected
from flightctl.session import Session
from flightctl.views.schedules import DIFFERENCE, EXPORTED, import_document, import_summary

SHOWN_DIFFERENCES: Final = 60
"""Lines of a table for people; a new season has thousands. JSON and CSV have all."""
FORMATS: Final = ("csv", "ssim")

app = group_app(
    "schedule",
    """Examples:
      flightctl schedule import winter.ssim --dry-run
      flightctl schedule import winter.csv --yes -o json
      flightctl schedule export --format ssim > loaded.ssim

    Compare schedule files with what is loaded, import and export them.
    """,
)


@command(app, "import")
def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="CSV or SSIM chapter 7, plain or gzipped.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what differs.")] = False,
    start: Annotated[str | None, typer.Option(metavar="D", help="First day; the file's, from today on.")] = None,
    days: Annotated[int | None, typer.Option(metavar="N", help="How many days; all that the file covers.")] = None,
    cancel_booked: Annotated[
        bool, typer.Option("--cancel-booked", help="Cancel flights that are gone with their bookings.")
    ] = False,
    keep_gone: Annotated[
        bool, typer.Option("--keep-gone", help="The file is a part of the schedule: nothing is gone.")
    ] = False,
    reinstate: Annotated[
        bool, typer.Option("--reinstate", help="Flights of the file that are cancelled fly again.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Examples:
      flightctl schedule import winter.csv --dry-run
      flightctl schedule import winter.ssim
      flightctl schedule import winter.ssim --yes -o json
      flightctl schedule import extra.csv --keep-gone --start 2026-12-01 --days 7 --yes

    Make what is loaded agree with a schedule file.

    Shows first which flights are new, changed or gone and how many booked seats these have. On a
    terminal it asks; elsewhere it wants --yes. Flights that are gone are cancelled when no seat of
    them is taken, and otherwise left unless --cancel-booked is given. A flight never gets fewer
    seats than are taken. Flights that have departed stay as they are.

    Exit codes:
      0 imported, or shown, 2 unusable file, no good row or --yes is missing, 6 some flights were left
      as they are, 7 database down
    """
    from flightctl.core.schedule_import import Import

    session = session_of(ctx)
    request = ImportRequest(file, start, days, cancel_booked, keep_gone, reinstate)
    with progress_bar(session, "days") as progress:
        work = Import(session.runtime, request, progress)
    preview = work.preview()
    warn_of_rejected(session, preview.rejected)
    for note in preview.notes:
        session.warn(note)
    if dry_run or not preview.to_do:
        _show(session, preview)
    else:
        if not yes:
            _ask(session, preview)
        with progress_bar(session, "flights") as progress:
            result = work.apply(progress)
        _show(session, result)
        for one in result.unfinished:
            session.warn(f"{one.flight_id}: {one.reason}")
        preview = result
    if preview.left and not dry_run:
        first = preview.left[0]
        raise InvalidStateError(
            f"{len(preview.left)} flight(s) were left as they are; the first is {first.flight_id}: {first.reason}",
            hint="Release or move their bookings, or mend the file, and import it again.",
            details={"left": len(preview.left)},
        )


def _ask(session: Session, preview: ImportResult) -> None:
    """Show what would change, where it can be read before the answer; raises when nobody can answer."""
    if session.for_people or not session.interactive:
        _show(session, preview)
    session.require_yes(
        f"{import_summary(preview)} Change {preview.to_do:,} flight(s)?",
        doing=f"importing {preview.file} changes {preview.to_do} flight(s)",
    )


def _show(session: Session, result: ImportResult) -> None:
    shown = result.differences
    if session.for_people:
        rest = [one for one in result.differences if one.kind is not DifferenceKind.NEW]
        shown = tuple(sorted(rest, key=lambda one: (-one.bookings, one.reason is None))[:SHOWN_DIFFERENCES])
        if len(shown) < len(rest):
            session.note(f"{len(rest) - len(shown):,} more changed or gone; -o csv tells all.")
    session.show_rows(DIFFERENCE, shown, import_document(result))
    session.note(import_summary(result))
    if result.cancelled:
        session.note(f"{result.cancelled:,} flights of the file are cancelled here and stay so (see --reinstate).")
    if result.codeshares:
        session.note(f"{result.codeshares:,} legs are other flights under a second number; they are not sold twice.")


@command(app, "export")
def export(
    ctx: typer.Context,
    format_: Annotated[str | None, typer.Option("--format", metavar="csv|ssim", help="Form of the file (csv).")] = None,
    from_: Annotated[
        str, typer.Option("--from", metavar="D", help="First day: YYYY-MM-DD, today, tomorrow or +3d.")
    ] = "today",
    days: Annotated[int | None, typer.Option(metavar="N", help="How many days; up to the last flight.")] = None,
    carrier: Annotated[str | None, typer.Option(metavar="C", help="Only this airline's flights.")] = None,
) -> None:
    """Examples:
      flightctl schedule export > loaded.csv
      flightctl schedule export --format ssim --carrier 6E > 6E.ssim
      flightctl schedule export --from 2026-12-01 --days 31 -o json

    Print the loaded flights as a schedule file.

    Flights that fly alike on many dates become few rows with days of operation and validity. What it
    prints imports again without a difference. With -o json, and no --format, the rows as JSON.

    Exit codes:
      0 printed, 2 wrong option, 7 database down
    """
    from flightctl.core.schedule_export import export as export_schedule

    if format_ is not None and format_.strip().lower() not in FORMATS:
        raise ValidationError(f"--format {format_[:40]!r} is not one of {', '.join(FORMATS)}")
    session = session_of(ctx)
    ssim = format_ is not None and format_.strip().lower() == "ssim"
    result = export_schedule(session.runtime, ExportRequest(ssim, from_, days, carrier))
    for flight, reason in result.left_out:
        session.warn(f"{flight} is left out: {reason}")
    if session.quiet or (session.format == "json" and format_ is None):
        session.show_all(EXPORTED, result.rows)
    else:
        session.show_text(result.text)
