"""The command `llmcore`. It stands outside the package, to explain the one fault that breaks the package's import.

`pip install llmcore` installs another project, whose files replace ours.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        from llmcore.cli import main as run

        return run()
    except (ImportError, AttributeError) as error:
        if not _explain(error):
            raise
        return 6


def _explain(error: Exception) -> bool:
    """Print what replaced our files and how to repair it; return False if it was something else."""
    import importlib.util
    from pathlib import Path

    path = Path(__file__).with_name("llmcore") / "install_lines.py"
    spec = importlib.util.spec_from_file_location("llmcore_install_lines", path)
    if spec is None or spec.loader is None or not path.is_file():
        return False
    lines = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lines)
    found = lines.find_foreign_llmcore(*sys.path)
    if found is None:
        return False
    sys.stderr.write(
        f"error[LC501]: the distribution {found} is another project: its files replace those of llmcore-host\n"
        f"  = note: {type(error).__name__}: {error}\n"
        f"  = expected: llmcore-host alone\n"
        f"  = fix: {lines.make_repair_line()}\n"
    )
    return True
