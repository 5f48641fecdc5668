"""``flightctl help``."""

from typing import Annotated, Any

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core.errors import ValidationError
from flightctl.errors_shown import unknown_command

app = command_app()


@command(app, "help")
def help_(
    ctx: typer.Context,
    topic: Annotated[
        str | None, typer.Argument(metavar="TOPIC", help="exit-codes, errors, formats, or a command.")
    ] = None,
    of: Annotated[str | None, typer.Argument(metavar="COMMAND", help="Of a group, e.g. `help bookings list`.")] = None,
    man: Annotated[str | None, typer.Option("--man", metavar="DIR", help="Write manual pages there.")] = None,
) -> None:
    """Examples:
      flightctl help exit-codes
      flightctl help errors -o json
      flightctl help formats
      flightctl help bookings list
      flightctl help --man ~/.local/share/man/man1

    Show help: of flightctl, of a command, or on a topic.

    Exit codes:
      0 shown, 2 no such topic or command
    """
    from flightctl import topics

    session = session_of(ctx)
    if man is not None:
        if topic is not None:
            raise ValidationError("--man writes the pages of all commands", hint="Leave the topic out.")
        _write_manual(ctx, man)
    elif topic in topics.TOPICS:
        if of is not None:
            raise ValidationError(f"{topic} has no parts", hint=f"See `flightctl help {topic}`.")
        view, rows = topics.rows_of(topic)
        session.show_all(view, rows)
    else:
        _show_help(ctx, [word for word in (topic, of) if word is not None])


def _show_help(ctx: typer.Context, path: list[str]) -> None:
    """As ``COMMAND --help`` would."""
    from flightctl.render import print_text
    from flightctl.topics import TOPICS

    context: Any = ctx.find_root()
    for word in path:
        known = context.command.list_commands(context) if hasattr(context.command, "list_commands") else []
        if word not in known:
            first = context.parent is None
            raise unknown_command(
                word,
                [*known, *TOPICS] if first else known,
                "flightctl help" if first else f"flightctl help {path[0]}",
                lister="flightctl help" if first else f"flightctl help {path[0]}",
            )
        found = context.command.get_command(context, word)
        context = type(context)(found, info_name=word, parent=context)
    text = context.get_help() + "\n"
    if not path:
        text += "\nTopics:\n" + "".join(f"  flightctl help {topic:<11} {line}\n" for topic, line in TOPICS.items())
    print_text(text)


def _write_manual(ctx: typer.Context, folder: str) -> None:
    from flightctl.man import write_pages

    session = session_of(ctx)
    written = write_pages(ctx.find_root(), folder)
    session.note(f"{len(written)} pages written to {folder}.")
