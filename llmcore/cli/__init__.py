"""The command line `llmcore`: one module a command, imported when that command is called."""

import sys

__all__ = ["main"]


def main(arguments: "list[str] | None" = None) -> int:
    """Run the command line and return its exit code; None takes the process's arguments."""
    if arguments is None:
        arguments = sys.argv[1:]
    if arguments[:1] in (["--version"], ["-V"]):  # before argparse, which costs as much as Python's own start
        from llmcore import __version__

        print(f"llmcore {__version__}")
        return 0
    from llmcore.cli.app import run

    return run(arguments)
