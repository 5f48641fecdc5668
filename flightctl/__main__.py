"""``python -m flightctl`` and the ``flightctl`` script."""

import sys

INTERRUPTED = 130
"""Exit status of shells for what SIGINT ended: 128 + 2."""


def main() -> None:
    """Run the command line of this process and exit with its status."""
    try:
        if sys.argv[1:2] == ["__complete"]:  # a key was pressed in somebody's shell: nothing of the below is needed
            from flightctl.completion import main as complete

            complete(sys.argv[2:])
        from flightctl.app import run  # within the try: Ctrl-C while modules load is no traceback either

        status = run(sys.argv[1:])
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)


if __name__ == "__main__":
    main()
