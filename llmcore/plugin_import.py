"""Import the module of a plugin within the deadline of the call, and check the version of its hooks."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Final

from llmcore.deprecations import warn_deprecated
from llmcore.discovery import Claim, normalise_name, read_requirements
from llmcore.errors import PluginBroken, Timeout
from llmcore.frames import get_frames
from llmcore.hookspecs import API_CHANGES, API_VERSION, OLDEST_API
from llmcore.install_lines import make_install_line, make_reinstall_line
from llmcore.log import get_logger
from llmcore.plugin_faults import find_place, format_exception, log_exception, make_error
from llmcore.support.errors import raise_unchained
from llmcore.threads import OWN_THREADS, TIME_LEFT, Overdue, run_bounded, start_thread

__all__ = ["SLOW_IMPORT_S", "import_plugin", "make_import_timeout"]

_OWN_MODULES: Final = "llmcore.builtin."
SLOW_IMPORT_S = 5.0
"""If the import of a plugin has no deadline and takes longer than this many seconds, a warning in the log names the plugin."""


def import_plugin(claim: Claim) -> ModuleType:
    """Return the module of the plugin.

    Raises:
        PluginBroken: The module cannot be imported, or was built for another version of the hooks.
        Timeout: The module was still being imported when the deadline of the call passed.
    """
    try:
        module = _import_within_deadline(claim)
        version = getattr(module, "LLMCORE_API", 1)
    except KeyboardInterrupt:
        raise
    except Overdue as overdue:
        raise_unchained(make_import_timeout(claim, _find_running_place(claim, overdue.thread)))
    except BaseException as exc:  # a plugin may even call sys.exit() during its import
        log_exception(f"{claim.owner}: {claim.module} did not load", exc)
        raise _make_import_error(claim, exc) from exc
    if not isinstance(version, int) or isinstance(version, bool):
        raise make_error(
            claim,
            f"has an invalid LLMCORE_API: it must be a whole number, got {type(version).__name__}",
            code="LC502",
            fix=f"LLMCORE_API = {API_VERSION}",
        )
    if OLDEST_API <= version < API_VERSION:
        warn_deprecated(
            f"version {version} of the hooks, for which plugin `{claim.owner}` was built,",
            f"LLMCORE_API = {API_VERSION} ({'; '.join(_list_changes(version))})",
            "the next version of the hooks",
        )
    elif version != API_VERSION:
        upgrade = (
            make_reinstall_line(normalise_name(claim.distribution), claim.metadata, "--upgrade")
            if version < API_VERSION
            else make_install_line("llmcore-host")
        )
        raise make_error(
            claim,
            f"was built for version {version} of the hooks, but this host has version {API_VERSION}",
            code="LC502",
            where=getattr(module, "__file__", None),
            expected=f"LLMCORE_API = {API_VERSION}"
            + (f", or from {OLDEST_API}" if OLDEST_API < API_VERSION else ""),
            notes=_list_changes(version),
            fix=upgrade,
        )
    return module


def make_import_timeout(claim: Claim, where: str | None = None) -> Timeout:
    """Return the error for a call whose deadline passed while the plugin was being imported, maybe by another call."""
    return Timeout(
        f"plugin `{claim.owner}` was still being imported when the deadline of the call passed",
        where=where,
        expected="a plugin that imports its SDK inside of `create` or later, or a longer timeout",
        sent=False,
    )


def _list_changes(version: int) -> list[str]:
    """Return the changes of the hooks after *version*."""
    return [
        f"version {number}: {change}" for number, change in sorted(API_CHANGES.items()) if number > version
    ]


def _import_within_deadline(claim: Claim) -> ModuleType:
    name, left = claim.module, TIME_LEFT.get()
    if name.startswith(_OWN_MODULES) or _is_imported(name):
        return importlib.import_module(name)
    if left is None:
        with _report_slow_import(claim):
            return importlib.import_module(name)
    # Limit the import even if the deadline has passed: another thread may hold the lock of the module for ever.
    return run_bounded(lambda: importlib.import_module(name), max(left(), 0.001))


@contextlib.contextmanager
def _report_slow_import(claim: Claim) -> Iterator[None]:
    """Log a warning if the block takes longer than `SLOW_IMPORT_S`."""

    def report() -> None:
        place = _find_running_place(claim, thread)
        text = "plugin `%s` is still being imported after %g s%s: it should import its SDK inside of `create`"
        get_logger(__name__).warning(text, claim.owner, SLOW_IMPORT_S, f" ({place})" if place else "")

    thread, timer = threading.current_thread(), threading.Timer(SLOW_IMPORT_S, report)
    timer.name, timer.daemon = f"{OWN_THREADS}slow-import", True
    start_thread(timer)
    try:
        yield
    finally:
        timer.cancel()


def _is_imported(name: str) -> bool:
    """Return whether the module is complete. A module that another thread still imports is in sys.modules too."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    return module is not None and not getattr(spec, "_initializing", False)


def _find_running_place(claim: Claim, thread: threading.Thread) -> str | None:
    """Return the innermost line of the plugin's package that *thread* is executing."""
    frame = get_frames().get(thread.ident or 0)
    top = claim.module.partition(".")[0]
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] == top:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return None


def _make_import_error(claim: Claim, exc: BaseException) -> PluginBroken:
    if isinstance(exc, ImportError | AttributeError):
        from llmcore.hidden_modules import find_hidden_module

        if hidden := find_hidden_module(claim.module):
            notes = [f"{hidden.message}: rename it"]
            return make_error(
                claim,
                f"did not load: {format_exception(exc)}",
                where=hidden.file,
                notes=notes,
                fix=hidden.fix,
            )
    distribution = normalise_name(claim.distribution)
    again = make_reinstall_line(distribution, claim.metadata, "--force-reinstall")
    notes, fix = [], make_reinstall_line(distribution, claim.metadata, "--upgrade")
    missing = exc.name if isinstance(exc, ModuleNotFoundError) and exc.name else ""
    top = missing.partition(".")[0]
    needed = normalise_name(top)
    if top and top == claim.module.partition(".")[0]:
        notes = [f"`{missing}` is a part of {claim.distribution}: its installation is incomplete"]
        fix = again
    elif top == "llmcore":
        notes = [f"`{missing}` is not in this version of llmcore-host"]
        fix = make_install_line("llmcore-host")
    elif top and needed in read_requirements(claim):
        notes = [f"{claim.distribution} needs {needed}, which is not installed"]
        fix = f"pip install {needed}"
    elif top:  # never suggest installing a guessed name: anyone may own that name on a package index
        notes = [
            f"the module `{top}` is missing; the metadata of {claim.distribution} does not name its distribution"
        ]
        fix = again
    return make_error(
        claim, f"did not load: {format_exception(exc)}", where=find_place(claim, exc), notes=notes, fix=fix
    )
