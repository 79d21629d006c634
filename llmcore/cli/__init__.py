"""The command line `llmcore`: one module a command, imported when that command is called."""

import gc
import sys

__all__ = ["main"]


def main(arguments: "list[str] | None" = None) -> int:
    """Run the command line and return its exit code; None takes the process's arguments."""
    if arguments is not None:
        return _called(arguments)
    # Start-up makes many objects and hardly a cycle: looking for some costs as much as Python's own start, and
    # once more at the end, where the frozen ones are left alone.
    gc.set_threshold(100_000, *gc.get_threshold()[1:])
    try:
        return _called(sys.argv[1:])
    finally:
        gc.freeze()


def _called(arguments: "list[str]") -> int:
    if arguments[:1] in (["--version"], ["-V"]):  # before argparse, which costs as much as Python's own start
        from llmcore import __version__

        print(f"llmcore {__version__}")
        return 0
    from llmcore.cli.app import run

    return run(arguments)
