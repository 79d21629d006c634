"""Record a plugin's side effects during import and creation, and find common mistakes, for `plugins check`."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import io
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from llmcore import contracts
from llmcore.config.fields import get_fields, has_type
from llmcore.hookspecs import API_VERSION, Provider
from llmcore.threads import OWN_THREADS
from llmcore.types import Secret

__all__ = ["Audit", "find_abilities", "find_slips"]

_CONNECTS: Final = frozenset({"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"})
"""Audit events of Python that report network use."""
_CHANGES: Final = frozenset({"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate"})
"""Audit events of Python that report a changed file or folder. The first argument of such an event is the path."""
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_MODULES: Final = {
    "llm": ("llm", "embeddings", "batches"),
    "cache": ("cache", "rate_limits"),
    "storage": ("storage", "storage_abilities"),
}
"""Kind -> the modules of `contracts` that define its protocols. For another kind, the module has the name of the kind."""
_NEAR: Final = 0.85
"""A method counts as misspelt if the similarity of its name to a known name, from 0 to 1, is at least this."""


class Audit:
    """Records network use, writes, new threads and output of plugins, by phase."""

    def __init__(self) -> None:
        """Install the audit hook. Python cannot remove an audit hook."""
        self._phase = ""
        self._allowed = ""
        self._found: dict[str, None] = {}
        sys.addaudithook(self._record_event)

    @property
    def findings(self) -> list[str]:
        """One sentence for each finding, in order."""
        return list(self._found)

    @contextlib.contextmanager
    def watch(self, phase: str, folder: str = "") -> Iterator[None]:
        """Record events inside the block as events of *phase*; writes below *folder* are allowed."""
        before = set(threading.enumerate())
        shown = io.StringIO()
        self._phase, self._allowed = phase, folder
        try:
            with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
                yield
        finally:
            self._phase = ""
            for thread in set(threading.enumerate()) - before:
                if not thread.name.startswith(OWN_THREADS):  # threads of llmcore may still be ending
                    self._add(phase, f"starts the thread `{thread.name}`")
            if text := " ".join(shown.getvalue().split()):
                self._add(phase, f"prints {text[:80]!r}")

    def _record_event(self, event: str, args: tuple[Any, ...]) -> None:
        phase = self._phase
        if not phase:
            return
        if event in _CONNECTS:
            self._add(phase, f"uses the network: {event} {_format_address(args)}")
        elif event == "open":
            path, mode, flags = args
            is_written = isinstance(mode, str) and set(mode) & set("wax+")
            if is_written or (mode is None and isinstance(flags, int) and flags & _WRITING):
                self._add_write(phase, path)
        elif event in _CHANGES:
            self._add_write(phase, args[0])

    def _add_write(self, phase: str, path: object) -> None:
        if isinstance(path, int):  # a descriptor; the event that opened it was recorded before
            return
        name = os.fsdecode(path) if isinstance(path, str | bytes) else str(path)
        is_cache = "__pycache__" in name or name == os.devnull
        if not is_cache and not (self._allowed and name.startswith(self._allowed)):
            self._add(phase, f"writes {name}")

    def _add(self, phase: str, what: str) -> None:
        self._found[f"{phase} {what}"] = None


def find_abilities(kind: str) -> dict[str, Any]:
    """Return the protocols of *kind* by their names."""
    modules = {f"llmcore.contracts.{module}" for module in _MODULES.get(kind, (kind,))}
    every = {name: getattr(contracts, name) for name in contracts.__all__}
    return {name: protocol for name, protocol in every.items() if protocol.__module__ in modules}


def find_slips(kind: str, entry: Provider, module: str, provider: object) -> list[str]:
    """Return likely mistakes: a missing LLMCORE_API, misspelt names of methods, and options that TOML cannot express."""
    found = []
    if not hasattr(sys.modules.get(module), "LLMCORE_API"):
        found.append(f"{module} has no LLMCORE_API: write LLMCORE_API = {API_VERSION}")
    found += _find_near_misses(kind, provider)
    for field in get_fields(entry.options).values():
        if fault := _find_type_fault(field.type):
            found.append(f"the option `{field.key}` cannot be set in a file: {fault}")
    return found


def _find_near_misses(kind: str, provider: object) -> Iterator[str]:
    known = {
        method
        for protocol in find_abilities(kind).values()
        for method in vars(protocol)
        if not method.startswith("_") and callable(getattr(protocol, method))
    }
    known |= {"close", "aclose"}
    for name, method in inspect.getmembers(type(provider), callable):
        if name.startswith("_"):
            continue
        if name in known:
            is_async = inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
            if is_async and f"a{name}" in known:
                yield f"the method `{name}` is asynchronous: name it `a{name}`"
            continue
        near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=_NEAR)
        if near and not hasattr(provider, near[0]):
            yield f"the method `{name}` is never called: did you mean `{near[0]}`?"


def _find_type_fault(hint: Any) -> str:
    if has_type(hint, Secret):
        return ""
    known = ("llmcore.", "pathlib")
    if isinstance(hint, type) and hint.__module__.startswith(known):
        return ""
    try:
        msgspec.json.schema(hint)
    except (TypeError, NotImplementedError) as error:
        named = [
            part for part in str(error).replace("'", " ").split() if part.startswith(("llmcore.", "pathlib."))
        ]
        return "" if named else f"a value of type {hint} does not exist in TOML"
    return ""


def _format_address(args: tuple[Any, ...]) -> str:
    parts = [arg for arg in args if isinstance(arg, str | tuple | int) and arg is not None]
    return " ".join(str(part) for part in parts[:2])
