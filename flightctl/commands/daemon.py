"""``flightctl daemon``."""

from typing import Annotated

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core import daemon as use_case
from flightctl.core.durations import parse_duration

app = command_app()


@command(app, "daemon")
def daemon(
    ctx: typer.Context,
    sweep_interval: Annotated[
        str | None, typer.Option(metavar="10s", help="Pause between sweeps (sweep.interval: 10s).")
    ] = None,
    no_sweep: Annotated[bool, typer.Option("--no-sweep", help="Without the sweep.")] = False,
    no_payments: Annotated[bool, typer.Option("--no-payments", help="Without the payment processor.")] = False,
    metrics_port: Annotated[
        int | None, typer.Option(metavar="P", help="Serve /metrics and /healthz on this port.")
    ] = None,
    metrics_address: Annotated[str, typer.Option(metavar="A", help="Of which address.")] = "127.0.0.1",
) -> None:
    """Examples:
      flightctl daemon
      flightctl daemon --sweep-interval 5s --metrics-port 9108
      flightctl daemon --no-payments

    Run the sweep and the payment processor until stopped.

    SIGTERM or SIGINT lets the work in hand finish, for at most 30 s. Several daemons may run at
    once. Logs go to stderr. Under systemd it says when it is ready, and its watchdog hears of it
    while its loops turn. Where the setting search.packed_days is not 0, a third loop keeps the
    timetable of so many days packed.

    Exit codes:
      0 stopped by a signal, 2 wrong option or setting, 7 the schema is not the one needed
    """
    session = session_of(ctx)
    use_case.run(
        session.runtime,
        sweep_interval=None if sweep_interval is None else parse_duration(sweep_interval, "--sweep-interval"),
        sweep=not no_sweep,
        payments=not no_payments,
        metrics_port=metrics_port,
        metrics_address=metrics_address,
    )
