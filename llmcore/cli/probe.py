"""Tries one plugin in a process of its own, where it may exit, hang or write what it likes.

`python -m llmcore.cli.probe KIND NAME` is that process; it writes what it found to the file that LLMCORE_PROBE names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from llmcore.cli.parser import COMMANDS
from llmcore.hookspecs import KINDS
from llmcore.plugins import Catalogue

__all__ = ["Probed", "probe"]

_RESULT = "LLMCORE_PROBE"


class Probed(NamedTuple):
    """What came of it."""

    ok: bool
    text: str
    fix: str | None = None


def probe(kind: str, name: str, limit_s: float) -> Probed:
    """Load the provider *name* in a child process, and return what came of it within *limit_s* seconds."""
    with tempfile.TemporaryDirectory(prefix="llmcore-probe-") as folder:
        result = Path(folder, "result.json")
        env = os.environ | {_RESULT: str(result), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            child = subprocess.run(  # noqa: S603 - this module, by this interpreter
                [sys.executable, "-m", __name__, kind, name],
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            distribution = name.rpartition(":")[0]
            return Probed(
                ok=False, text=f"did not load within {limit_s:g} s", fix=f"pip uninstall {distribution}"
            )
        try:
            row = json.loads(result.read_bytes())
        except (OSError, ValueError):
            return Probed(
                ok=False, text=f"ended the process that tried it, with exit code {child.returncode}"
            )
    if row["state"] in {"loaded", "built in"}:
        return Probed(ok=True, text="loads")
    return Probed(ok=False, text=row["why"] or row["state"], fix=row["fix"] or None)


def _created(catalogue: Catalogue, kind: str, name: str) -> dict[str, str]:
    """Return what is wrong with a provider that loads and cannot be created: it is then that it imports its SDK."""
    from llmcore.calls.backend import Backend
    from llmcore.config import load_settings
    from llmcore.errors import ConfigError, LLMCoreError

    try:
        _ = Backend(kind, catalogue.provider(kind, name), load_settings()).provider
    except ConfigError:
        return {}  # told apart, with the configuration
    except LLMCoreError as error:
        return {"state": "broken", "why": error.message, "fix": error.fix or ""}
    except BaseException as error:  # noqa: BLE001 - a plugin may even call sys.exit()
        return {"state": "broken", "why": f"could not be created: {type(error).__name__}: {error}"}
    return {}


def _main() -> None:
    kind, name = sys.argv[1:]
    catalogue = Catalogue(commands=COMMANDS)
    told = catalogue.inspect(kind, name)._asdict()
    if told["state"] == "loaded" and kind in KINDS:
        told |= _created(catalogue, kind, name)
    Path(os.environ[_RESULT]).write_text(json.dumps(told), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # a plugin's threads must not keep the process


if __name__ == "__main__":
    _main()
