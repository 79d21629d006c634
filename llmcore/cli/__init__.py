"""The command line `llmcore`: one module per command, imported when the command runs."""

import gc
import sys

__all__ = ["main"]


def main(arguments: "list[str] | None" = None) -> int:
    """Run the command line and return its exit code; None means the process's arguments."""
    if arguments is not None:
        return _run(arguments)
    # Start-up creates many objects and few reference cycles, so collect garbage rarely: the collections would
    # take as long as Python's own start. The objects are frozen at the end, because the collection at exit
    # skips frozen objects.
    gc.set_threshold(100_000, *gc.get_threshold()[1:])
    try:
        return _run(sys.argv[1:], claim=True)
    finally:
        gc.freeze()


def _run(arguments: "list[str]", *, claim: bool = False) -> int:
    # Look for --version before the import of argparse, which takes as long as Python's own start.
    if arguments[:1] in (["--version"], ["-V"]):
        from llmcore import __version__

        try:
            print(f"llmcore {__version__}", flush=True)
        except OSError:
            pass  # `run` prints the version again, and reports the error
        else:
            return 0
    from llmcore.cli.app import run

    if not claim:
        return run(arguments)
    from llmcore.cli.streams import claim_stdout, flush_streams

    claim_stdout()
    try:
        return run(arguments)
    finally:
        flush_streams()
