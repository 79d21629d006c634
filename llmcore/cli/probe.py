"""Load one plugin in a child process, where exiting, hanging and printing do no harm.

The child runs `python -m llmcore.cli.probe KIND NAME` and writes the result to the file that LLMCORE_PROBE names.
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

__all__ = ["ProbeResult", "probe"]

_RESULT = "LLMCORE_PROBE"


class ProbeResult(NamedTuple):
    """The result of loading a plugin."""

    ok: bool
    text: str
    fix: str | None = None


def probe(kind: str, name: str, limit_s: float) -> ProbeResult:
    """Load the provider *name* in a child process; return the result within *limit_s* seconds."""
    with tempfile.TemporaryDirectory(prefix="llmcore-probe-") as folder:
        result = Path(folder, "result.json")
        env = os.environ | {_RESULT: str(result), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            child = subprocess.run(  # noqa: S603 - the command is this module in this interpreter
                [sys.executable, "-m", __name__, kind, name],
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            distribution = name.rpartition(":")[0]
            return ProbeResult(
                ok=False, text=f"did not load within {limit_s:g} s", fix=f"pip uninstall {distribution}"
            )
        try:
            row = json.loads(result.read_bytes())
        except (OSError, ValueError):
            return ProbeResult(
                ok=False, text=f"ended the process that loaded it, with exit code {child.returncode}"
            )
    if row["state"] in {"loaded", "built in"}:
        return ProbeResult(ok=True, text="loads")
    return ProbeResult(ok=False, text=row["why"] or row["state"], fix=row["fix"] or None)


def _try_create(catalogue: Catalogue, kind: str, name: str) -> dict[str, str]:
    """Create the provider, which also imports its SDK; return the fault, or an empty dict."""
    from llmcore.calls.backend import Backend
    from llmcore.config import load_settings
    from llmcore.errors import ConfigError, LLMCoreError

    provider = catalogue.load_provider(kind, name)
    try:
        _ = Backend(kind, provider, load_settings()).provider
    except ConfigError:  # the check of the configuration reports this error; import only the SDK here
        return _import_sdk(provider.create.__module__)
    except LLMCoreError as error:
        return {"state": "broken", "why": error.message, "fix": error.fix or ""}
    except BaseException as error:  # noqa: BLE001 - a plugin may even call sys.exit()
        return {"state": "broken", "why": f"could not be created: {type(error).__name__}: {error}"}
    return {}


def _import_sdk(module: str) -> dict[str, str]:
    """Import the packages that the distribution of *module* needs; return the fault, or an empty dict."""
    import importlib

    from llmcore.hidden_modules import find_hidden_module, list_sdk_modules

    if hidden := find_hidden_module(module):
        return {"state": "broken", "why": hidden.message, "fix": hidden.fix}
    for name in list_sdk_modules(module):
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 - a package may even call sys.exit()
            why = f"the package `{name}` cannot be imported: {type(error).__name__}: {error}"
            return {"state": "broken", "why": why}
    return {}


def _run() -> None:
    kind, name = sys.argv[1:]
    catalogue = Catalogue(commands=COMMANDS)
    report = catalogue.inspect(kind, name)._asdict()
    if report["state"] == "loaded" and kind in KINDS:
        report |= _try_create(catalogue, kind, name)
    Path(os.environ[_RESULT]).write_text(json.dumps(report), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # threads of the plugin must not keep the process alive


if __name__ == "__main__":
    _run()
