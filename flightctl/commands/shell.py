"""``flightctl shell``."""

import sys

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core.errors import ValidationError

app = command_app()


@command(app, "shell")
def shell(ctx: typer.Context) -> None:
    """Examples:
      flightctl shell
      flightctl shell --actor counter-3
      flightctl shell < commands.txt

    Run commands at a prompt, in one warm process.

    The commands are the same, without the word `flightctl`, and answer in milliseconds: the
    process starts once and keeps its connections. Tab completes; the history is kept from one
    shell to the next. Ctrl-C ends a command, Ctrl-D or `exit` the shell; an error ends neither.

    Exit codes:
      0 at a terminal; for lines from a file or pipe also that of the first command that failed
    """
    from flightctl.shell import Shell

    if sys.stdin is None or sys.stdout is None:
        raise ValidationError("a shell needs stdin and stdout")
    raise typer.Exit(Shell(session_of(ctx)).run())
