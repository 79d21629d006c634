"""Contact the configured servers, storage and ledger, for `llmcore doctor`."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmcore.errors import LLMCoreError, PluginError, StorageDenied, StorageUnavailable

if TYPE_CHECKING:
    from llmcore.core import Core

__all__ = ["ConnectionCheck", "check_all"]

_LIMIT_S: Final = 10.0
"""The time limit of one answer of a server, in seconds."""
_MOST_NAMED: Final = 5
"""Maximum number of configured models that are named because the server does not list them."""


class ConnectionCheck(NamedTuple):
    """The result of one contact."""

    what: str
    ok: bool
    text: str
    fix: str | None = None


def check_all(core: Core) -> Iterator[ConnectionCheck]:
    """Yield the result of each contact. No contact costs money."""
    yield from _check_models(core)
    yield from _check_storage(core)
    yield from _check_voice(core)
    yield from _check_limits(core)
    yield from _check_ledger_file(core) if core.settings.ledger.provider == "sqlite" else _check_ledger(core)


def _check_models(core: Core) -> Iterator[ConnectionCheck]:
    """List the models of each provider in use, and look for the configured models."""
    try:
        wanted = [
            *core.llm.resolve(None),
            *(name for alias in core.settings.models for name in core.llm.resolve(alias)),
        ]
    except LLMCoreError as error:
        yield _make_failure("llm", error)
        return
    by_provider: dict[str, list[str]] = {}
    for name in dict.fromkeys(wanted):
        provider, _, model = name.partition(":")
        by_provider.setdefault(provider, []).append(model)
    for provider, models in by_provider.items():
        what = f"in use: llm {provider}"
        if core.backend("llm", provider).entry.create.__module__.startswith("llmcore.builtin"):
            yield ConnectionCheck(what, ok=True, text=f"{', '.join(models)}; built in, needs no server")
            continue
        try:
            offered = _wait_for(partial(core.llm.amodels, provider))
        except PluginError:
            yield ConnectionCheck(
                what, ok=True, text=f"{', '.join(models)}; not contacted: the provider cannot list its models"
            )
        except LLMCoreError as error:
            yield _make_failure(what, error)
        else:
            yield _compare(core, what, models, offered, core.backend("llm", provider).entry.default_model)


def _compare(
    core: Core, what: str, models: Sequence[str], offered: Sequence[str], default: str | None
) -> ConnectionCheck:
    """Look for *models* among the models that the server offers.

    *default* is a name that the server accepts in place of one of its models.
    """
    from llmcore.config.keys import find_nearest

    named = [model for model in models if model not in offered and model != default]
    for model in named:
        near = find_nearest(model, offered) if offered else None
        if near is not None:
            path = ("llm", "model")
            fix = (
                core.backend("llm").format_set_line(path, near) if core.settings.llm.model == model else None
            )
            return ConnectionCheck(
                what, ok=False, text=f"answers, but has no model `{model}`; did you mean `{near}`?", fix=fix
            )
    note = f"; {', '.join(named[:_MOST_NAMED])} not among them" if named and offered else ""
    return ConnectionCheck(
        what, ok=True, text=f"{', '.join(models)}; answers with {len(offered)} models{note}"
    )


def _check_storage(core: Core) -> Iterator[ConnectionCheck]:
    """Write a file, read it and delete it again."""
    name = core.settings.storage.provider
    if name is None:
        return
    key, what = f"llmcore-doctor-{os.urandom(6).hex()}", f"in use: storage {name}"
    try:
        core.storage.save(key, b"written by llmcore doctor")
        try:
            found = core.storage.load(key)
        finally:
            core.storage.delete(key)
    except (StorageUnavailable, StorageDenied) as error:
        others = [each for each in core.catalogue.list_names("storage") if each == "fs" != name]
        if others:  # replace the error's fix, which is `llmcore doctor` itself
            error.fix = core.backend("storage").format_set_line(("storage", "provider"), others[0])
        yield _make_failure(what, error)
    except LLMCoreError as error:
        yield _make_failure(what, error)
    else:
        ok = found == b"written by llmcore doctor"
        yield ConnectionCheck(
            what,
            ok=ok,
            text="a file was written, read and deleted" if ok else "a file was read back with other content",
        )


def _check_voice(core: Core) -> Iterator[ConnectionCheck]:
    name = core.settings.voice.provider
    if name is None:
        return
    what = f"in use: voice {name}"
    try:
        voices = _wait_for(core.voice.alist_voices)
    except PluginError:
        yield ConnectionCheck(what, ok=True, text="not contacted: the provider cannot list its voices")
    except LLMCoreError as error:
        yield _make_failure(what, error)
    else:
        yield ConnectionCheck(what, ok=True, text=f"answers with {len(voices)} voices")


def _check_limits(core: Core) -> Iterator[ConnectionCheck]:
    """Check that the store of shared rate limits answers, if the limits are shared."""
    shared = core.settings.shared_limits
    if shared is None or not core.settings.limits:
        return
    from llmcore.calls.drivers import run
    from llmcore.calls.shared_backend import make_shared_limits

    what = f"in use: limits {shared.name}"
    try:
        limits = make_shared_limits(core.settings, core.catalogue)
        try:
            limits.probe()
        finally:
            run(limits.shut_down())
    except LLMCoreError as error:
        yield _make_failure(what, error)
    else:
        yield ConnectionCheck(what, ok=True, text="answers; all processes that use it share the limits")


def _check_ledger(core: Core) -> Iterator[ConnectionCheck]:
    """Read a sum from the ledger, which may be on a server."""
    ledger = core.settings.ledger
    what = f"in use: ledger {ledger.provider}"
    if not ledger.enabled:
        yield ConnectionCheck(what, ok=True, text="[ledger] enabled is false")
        return
    try:
        core.usage.by("total", since=time.time())
    except LLMCoreError as error:
        error.fix = ledger.make_fix("provider", "sqlite")  # the error's fix is `llmcore doctor` itself
        yield _make_failure(what, error)
    else:
        yield ConnectionCheck(what, ok=True, text="answers")


def _check_ledger_file(core: Core) -> Iterator[ConnectionCheck]:
    """Run SQLite's quick check on the ledger file. A missing file is not a fault, because the first call creates it."""
    ledger = core.settings.ledger
    if not ledger.enabled or ledger.path is None or not Path(ledger.path).exists():
        text = "[ledger] enabled is false" if not ledger.enabled else "no file yet; the first call creates it"
        yield ConnectionCheck("in use: ledger", ok=True, text=text)
        return
    fault = ""
    try:
        with closing(sqlite3.connect(f"{Path(ledger.path).as_uri()}?mode=ro", uri=True)) as db:
            result = db.execute("PRAGMA quick_check").fetchone()[0]
            rows = db.execute("SELECT count(*) FROM calls").fetchone()[0]
            fault = "" if result == "ok" else str(result)
    except sqlite3.Error as error:
        fault, rows = str(error), 0
    what = "in use: ledger"
    if fault:
        aside = f"mv {ledger.path} {ledger.path}.damaged"
        yield ConnectionCheck(what, ok=False, text=f"{ledger.path} is damaged: {fault}", fix=aside)
    else:
        yield ConnectionCheck(what, ok=True, text=f"{ledger.path} is intact, {rows:,} rows")


def _wait_for(ask: Callable[[], Coroutine[Any, Any, Sequence[Any]]]) -> Sequence[Any]:
    """Return the answer of a server within `_LIMIT_S` seconds.

    Raises:
        LLMCoreError: The server failed, or did not answer in time.
    """
    import asyncio

    async def ask_within_limit() -> Sequence[Any]:
        async with asyncio.timeout(_LIMIT_S):
            return await ask()

    with suppress(TimeoutError):
        return asyncio.run(ask_within_limit())
    raise LLMCoreError(f"no answer within {_LIMIT_S:.0f} s", code="LC404")


def _make_failure(what: str, error: LLMCoreError) -> ConnectionCheck:
    where = f"{error.where}: " if error.where else ""
    return ConnectionCheck(what, ok=False, text=f"{where}{error.message} ({error.code})", fix=error.fix)
