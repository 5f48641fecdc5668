"""``flightctl config``."""

from typing import Annotated

import typer

from flightctl.cli import command, group_app, session_of
from flightctl.core.context_list import list_contexts, use_context
from flightctl.core.settings import describe
from flightctl.views.operations import CONTEXT, SETTING, USED_CONTEXT

app = group_app(
    "config",
    """Examples:
      flightctl config show
      flightctl config contexts
      flightctl config use staging

    Show the settings in force, and choose among servers.
    """,
)


@command(app, "show")
def show(ctx: typer.Context) -> None:
    """Examples:
      flightctl config show
      flightctl config show --config staging.yaml -o json
      flightctl config show --context staging

    Show every setting, its value and where it came from.

    Secrets are masked. Flags come first, then FLIGHTCTL_* variables, then the context, then the
    file, then defaults. A context named by --context is a flag.

    Exit codes:
      0 shown, 2 a setting is wrong, or no such context
    """
    session = session_of(ctx)
    settings = session.settings
    session.show_all(SETTING, describe(settings))
    if settings.context is not None and session.for_people:
        session.note(f"Context {settings.context.name}, by {settings.context.by}.")


@command(app, "contexts")
def contexts(ctx: typer.Context) -> None:
    """Examples:
      flightctl config contexts
      flightctl config contexts -o json
      flightctl config contexts -q

    List the contexts there are, and mark the one in force.

    They stand in ~/.config/flightctl/contexts.yaml, or in the file that FLIGHTCTL_CONTEXTS names.
    Passwords are masked.

    Exit codes:
      0 listed, also when there are none, 2 the file is wrong, or no such context
    """
    session = session_of(ctx)
    found = list_contexts(session.context)
    session.show_all(CONTEXT, found.rows)
    if found.missing:
        session.note(f"The file says current: {found.missing}, which is none of them; `flightctl config use` mends it.")
    if not found.rows:
        session.note(f"Contexts are kept in {found.path}; the README says how.")


@command(app, "use")
def use(ctx: typer.Context, context: Annotated[str, typer.Argument(metavar="NAME", help="A context.")]) -> None:
    """Examples:
      flightctl config use staging
      flightctl config use staging -o json

    Make a context the current one, for commands that name none.

    The file is replaced as a whole; what else stands in it stays.

    Exit codes:
      0 it is the current one, 2 no such context, or one with a wrong setting
    """
    session = session_of(ctx)
    row, overruled_by = use_context(context)
    session.show_as(USED_CONTEXT, row)
    if not row["changed"]:
        session.note(f"Nothing changed: {row['name']} was the current context already.")
    if overruled_by:
        session.warn(f"{overruled_by} is set, and wins over the current context")
