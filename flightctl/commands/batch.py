"""``flightctl -``."""

import sys

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core.errors import ValidationError

app = command_app()


@command(app, "-")
def batch(ctx: typer.Context) -> None:
    """Examples:
      flightctl - < requests.jsonl > answers.jsonl
      flightctl - --actor import < requests.jsonl

    Run a batch of commands, JSON lines from stdin.

    A line is {"command": "book", "args": ["6E203-20261201", "--user", "asha"]}, or {"argv": […]}
    with all words in one list; an "id" of any kind comes back in its answer. The answer is one line
    {"id", "exit", "result" or "error", "warnings"}, in the order of the requests, sent before the
    next line is read. All run in one process, which keeps its connections. A line that is no
    request is answered with an error, and the batch goes on.

    Exit codes:
      0 every request did; else that of the first one that failed
    """
    from flightctl.batch import serve

    session = session_of(ctx)
    if session.output not in {None, "json"}:
        raise ValidationError("a batch answers in JSON lines", hint="Leave --output out, or give it in a request.")
    if sys.stdin is None or sys.stdout is None:
        raise ValidationError("a batch needs stdin and stdout")
    if session.interactive:
        session.note("Reading requests from the terminal, one JSON object a line; Ctrl-D ends the batch.")
    raise typer.Exit(serve(session, sys.stdin.buffer, sys.stdout.buffer))
