"""Load one named plugin, and turn each failure into an error with a fix."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from types import CoroutineType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmcore import forks, hookspecs
from llmcore.discovery import Claim, normalize_name, read_requirements
from llmcore.errors import PluginBroken, Timeout
from llmcore.hookspecs import API_VERSION, Provider, Table
from llmcore.install_lines import make_install_line, make_reinstall_line
from llmcore.log import logger
from llmcore.plain_hooks import find_plain_hooks
from llmcore.support.errors import raise_unchained
from llmcore.threads import TIME_LEFT, Overdue, run_bounded

if TYPE_CHECKING:
    import pluggy

__all__ = ["HOOKS", "Loader"]

HOOKS: Final = {
    **{kind: f"llmcore_{kind}_providers" for kind in hookspecs.KINDS},
    "observers": "llmcore_observers",
    "tables": "llmcore_tables",
}
"""Kind -> the name of the kind's hook."""

_OWN_MODULES: Final = "llmcore.builtin."
_MOST_ENTRIES: Final = 1000
"""The maximum number of entries to read from a hook: a hook that yields more is probably endless."""


class _Outcome(NamedTuple):
    value: Any
    error: PluginBroken | None = None


class Loader:
    """Loads each plugin at most once. A failed plugin is not loaded again.

    Built-in modules have plain hooks and need no check. Pluggy checks other modules.
    """

    def __init__(self) -> None:
        self._manager: pluggy.PluginManager | None = None
        self._plain: dict[str, dict[str, list[Callable[[], object]]]] = {}
        """Module name -> its hooks and their implementations."""
        self._imported: dict[Any, _Outcome] = {}
        self._registered: dict[Any, _Outcome] = {}
        self._loaded: dict[Any, _Outcome] = {}
        self._lock = forks.lock()

    def load_provider(self, claim: Claim) -> Provider:
        """Return the entry that the plugin offers under the name of the claim.

        Raises:
            PluginBroken: The plugin does not load, or does not offer the name.
        """
        provider: Provider = self._run_once(self._loaded, claim, lambda: self._find_entry(claim))
        return provider

    def load_table(self, claim: Claim) -> Table:
        """Return the table that the plugin declares under the name of the claim.

        Raises:
            PluginBroken: The plugin does not load, or does not declare the table.
        """
        table: Table = self._run_once(self._loaded, claim, lambda: self._find_entry(claim))
        return table

    def load_function(self, claim: Claim) -> Callable[..., Any]:
        """Return the function of a command.

        Raises:
            PluginBroken: The module does not load, or has no such function.
        """
        function: Callable[..., Any] = self._run_once(self._loaded, claim, lambda: self._find_function(claim))
        return function

    def get_outcome(self, claim: Claim) -> PluginBroken | bool:
        """Return the error if the claim failed to load, otherwise whether the claim was loaded."""
        done = self._loaded.get(claim)
        return (done.error or True) if done else False

    def _run_once(self, memory: dict[Any, _Outcome], key: object, attempt: Callable[[], object]) -> Any:
        with self._lock:
            done = memory.get(key)
            if done is None:
                try:
                    done = _Outcome(attempt())
                except PluginBroken as error:
                    done = _Outcome(None, _copy(error))
                memory[key] = done
        if done.error is not None:
            raise _copy(done.error)  # raising the same object again would extend its traceback
        return done.value

    def _import(self, claim: Claim) -> ModuleType:
        key = (claim.distribution, claim.module)
        module: ModuleType = self._run_once(self._imported, key, lambda: _import_module(claim))
        return module

    def _find_function(self, claim: Claim) -> object:
        _check_entry(claim)
        found: object = self._import(claim)
        try:
            for part in claim.attribute.split("."):
                found = getattr(found, part)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            raise _make_error(
                claim, f"has no `{claim.module}:{claim.attribute}`", notes=[_format_exception(exc)]
            ) from exc
        if not callable(found):
            raise _make_error(claim, f"names `{claim.module}:{claim.attribute}`, which is not callable")
        return found

    def _find_entry(self, claim: Claim) -> Provider | Table:
        _check_entry(claim)
        key = (claim.distribution, claim.module)
        module: ModuleType = self._run_once(self._registered, key, lambda: self._register(claim))
        entries = self._call_hook(claim, module)
        for entry in entries:
            if entry.name == claim.name:
                return entry
        names = ", ".join(f"`{entry.name}`" for entry in entries) or "nothing"
        raise _make_error(
            claim,
            f"yields {names} from `{HOOKS[claim.kind]}`, but its entry point has the name `{claim.name}`",
            expected="the same name in both",
            fix=f'{_get_type(claim).__name__}(name="{claim.name}", ...)',
        )

    def _register(self, claim: Claim) -> ModuleType:
        module = self._import(claim)
        plain = find_plain_hooks(module, HOOKS.values())
        if plain is not None:
            self._plain[claim.module] = plain
            return module
        import pluggy  # lazy: with inspect, it costs more than a cached answer

        if self._manager is None:
            self._manager = pluggy.PluginManager("llmcore")
            self._manager.add_hookspecs(hookspecs)
        manager = self._manager
        if manager.is_registered(module):  # two distributions share one module
            return module
        try:
            manager.register(module, f"{claim.owner}: {claim.module}")
            manager.check_pending()
        except pluggy.PluginValidationError as exc:
            error = _find_misspelt_hook(manager, claim, module) or _make_hook_error(claim, module, exc)
            _forget(manager, module)
            raise error from exc
        except KeyboardInterrupt:
            _forget(manager, module)
            raise
        except BaseException as exc:
            # Any object can replace a module in sys.modules, and its `dir()` may raise.
            _forget(manager, module)
            raise _make_error(claim, f"could not be registered: {_format_exception(exc)}") from exc
        return module

    def _get_functions(self, claim: Claim, module: ModuleType, hook: str) -> Sequence[Callable[[], object]]:
        """Return the implementations of *hook* in *module*."""
        if claim.module in self._plain:
            return self._plain[claim.module].get(hook, ())
        if self._manager is None:
            return ()
        impls = getattr(self._manager.hook, hook).get_hookimpls()
        return [impl.function for impl in impls if impl.plugin is module]

    def _call_hook(self, claim: Claim, module: ModuleType) -> list[Provider | Table]:
        hook = HOOKS[claim.kind]
        functions = self._get_functions(claim, module, hook)
        if not functions:
            bare = hasattr(module, hook)
            raise _make_error(
                claim,
                f"has `{hook}` without `@hookimpl`" if bare else f"has no hook `{hook}`",
                where=getattr(module, "__file__", None),
                expected="the hook for the kind of the entry point, decorated with @hookimpl of llmcore.hookspecs",
                fix="@hookimpl" if bare else f"def {hook}():",
            )
        entries: list[Provider | Table] = []
        try:
            for function in functions:
                entries += islice(_check_iterable(claim, hook, function()), _MOST_ENTRIES + 1)
        except (KeyboardInterrupt, PluginBroken):
            raise
        except BaseException as exc:
            _log(f"{claim.owner}: {hook} failed", exc)
            raise _make_error(
                claim, f"failed in `{hook}`: {_format_exception(exc)}", where=_find_place(claim, exc)
            ) from exc
        _check_entries(claim, hook, entries)
        return entries


def _forget(manager: pluggy.PluginManager, module: ModuleType) -> None:
    if manager.is_registered(module):
        manager.unregister(module)


def _find_misspelt_hook(
    manager: pluggy.PluginManager, claim: Claim, module: ModuleType
) -> PluginBroken | None:
    from difflib import get_close_matches

    for hook in manager.get_hookcallers(module) or ():
        if hook.has_spec():
            continue
        nearest = get_close_matches(hook.name, HOOKS.values(), n=1, cutoff=0.6)
        code = getattr(hook.get_hookimpls()[0].function, "__code__", None)
        return _make_error(
            claim,
            f"implements a hook that does not exist: `{hook.name}`",
            code="LC106",
            where=f"{code.co_filename}:{code.co_firstlineno}" if code else None,
            expected=", ".join(sorted(HOOKS.values())),
            suggestion=nearest[0] if nearest else None,
            fix=f"def {nearest[0] if nearest else HOOKS[claim.kind]}():",
        )
    return None


def _import_module(claim: Claim) -> ModuleType:
    try:
        module = _import_within_deadline(claim.module)
        version = getattr(module, "LLMCORE_API", 1)
    except KeyboardInterrupt:
        raise
    except Overdue as overdue:
        raise_unchained(
            Timeout(
                f"plugin `{claim.owner}` was still being imported when the deadline of the call passed",
                where=_find_running_place(claim, overdue.thread),
                expected="a plugin that imports its SDK inside of `create` or later, or a longer timeout",
                sent=False,
            )
        )
    except BaseException as exc:  # a plugin may even call sys.exit() during its import
        _log(f"{claim.owner}: {claim.module} did not load", exc)
        raise _make_import_error(claim, exc) from exc
    if not isinstance(version, int) or isinstance(version, bool):
        raise _make_error(
            claim,
            f"has an invalid LLMCORE_API: it must be a whole number, got {type(version).__name__}",
            code="LC502",
            fix=f"LLMCORE_API = {API_VERSION}",
        )
    if version != API_VERSION:
        upgrade = (
            make_reinstall_line(normalize_name(claim.distribution), claim.metadata, "--upgrade")
            if version < API_VERSION
            else make_install_line("llmcore-host")
        )
        raise _make_error(
            claim,
            f"was built for version {version} of the hooks, but this host has version {API_VERSION}",
            code="LC502",
            where=getattr(module, "__file__", None),
            expected=f"LLMCORE_API = {API_VERSION}",
            fix=upgrade,
        )
    return module


def _import_within_deadline(name: str) -> ModuleType:
    left = TIME_LEFT.get()
    if left is None or name in sys.modules or name.startswith(_OWN_MODULES):
        return importlib.import_module(name)
    return run_bounded(lambda: importlib.import_module(name), left())


def _find_running_place(claim: Claim, thread: threading.Thread) -> str | None:
    """Return the innermost line of the plugin's package at which *thread* is."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the documented way to see other threads
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
            return _make_error(
                claim,
                f"did not load: {_format_exception(exc)}",
                where=hidden.file,
                notes=notes,
                fix=hidden.fix,
            )
    distribution = normalize_name(claim.distribution)
    again = make_reinstall_line(distribution, claim.metadata, "--force-reinstall")
    notes, fix = [], make_reinstall_line(distribution, claim.metadata, "--upgrade")
    missing = exc.name if isinstance(exc, ModuleNotFoundError) and exc.name else ""
    top = missing.partition(".")[0]
    needed = normalize_name(top)
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
    return _make_error(
        claim, f"did not load: {_format_exception(exc)}", where=_find_place(claim, exc), notes=notes, fix=fix
    )


def _make_hook_error(claim: Claim, module: ModuleType, exc: Exception) -> PluginBroken:
    return _make_error(
        claim,
        "implements a hook with other arguments than specified",
        code="LC106",
        where=getattr(module, "__file__", None),
        expected=f"def {HOOKS[claim.kind]}():",
        notes=str(exc).splitlines()[1:],
        fix=f"def {HOOKS[claim.kind]}():",
    )


def _check_entry(claim: Claim) -> None:
    if claim.fault:
        fix = make_reinstall_line(normalize_name(claim.distribution), claim.metadata, "--force-reinstall")
        raise _make_error(claim, f"cannot be used: {claim.fault}", fix=fix)


def _get_type(claim: Claim) -> type[Provider | Table]:
    """Return the type that the hook of the claim's kind yields."""
    return Table if claim.kind == "tables" else Provider


def _check_entries(claim: Claim, hook: str, entries: list[Provider | Table]) -> None:
    wanted = _get_type(claim)
    parts = "name=..., options=<a class>" + (", create=<a function>" if wanted is Provider else "")
    fault, names = "", set()
    for number, entry in enumerate(entries, start=1):
        if number > _MOST_ENTRIES:
            fault = f"yields more than {_MOST_ENTRIES} entries"
        elif not isinstance(entry, wanted):
            fault = f"yields an object of type {type(entry).__name__}"
        elif not isinstance(entry.name, str):
            fault = f"yields a {wanted.__name__} whose name is of type {type(entry.name).__name__}"
        elif entry.name in names:
            fault = f"yields `{entry.name}` twice"
        elif isinstance(entry, Provider) and not callable(entry.create):
            fault = f"yields `{entry.name}`, whose `create` is not callable"
        elif not isinstance(entry.options, type):
            fault = f"yields `{entry.name}`, whose `options` is not a class"
        if fault:
            expected = f"{wanted.__name__}({parts}), each name once"
            raise _make_error(claim, f"{fault} from `{hook}`", expected=expected)
        names.add(entry.name)


def _check_iterable(claim: Claim, hook: str, result: object) -> Iterable[Any]:
    if isinstance(result, CoroutineType):
        result.close()  # close the coroutine: otherwise Python warns that it was never awaited
    if not isinstance(result, Iterable):
        raise _make_error(
            claim,
            f"returns an object of type {type(result).__name__} from `{hook}`",
            expected=f"an iterable of {_get_type(claim).__name__}",
            fix=f'yield {_get_type(claim).__name__}(name="{claim.name}", ...)',
        )
    return result


def _make_error(claim: Claim, what: str, **parts: Any) -> PluginBroken:
    return PluginBroken(f"plugin `{claim.owner}` {what}", **parts)


def _copy(error: PluginBroken) -> PluginBroken:
    """Return a copy without traceback and cause: their frames may contain a key."""
    return PluginBroken(
        error.message,
        code=error.code,
        where=error.where,
        expected=error.expected,
        suggestion=error.suggestion,
        fix=error.fix,
        notes=error.notes,
    )


def _log(what: str, exc: BaseException) -> None:
    """Log the full traceback, which the error omits, at level DEBUG."""
    logger(__name__).debug(what, exc_info=exc)


def _format_exception(exc: BaseException) -> str:
    try:
        text = " ".join(str(exc).split())
    except Exception:  # noqa: BLE001 - a foreign exception may fail in its `__str__`
        text = ""
    return f"{type(exc).__name__}: {text[:500]}" if text else type(exc).__name__


def _find_place(claim: Claim, exc: BaseException) -> str | None:
    """Return the innermost line of the plugin's package in the traceback of *exc*."""
    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{exc.filename}:{exc.lineno}"
    top, place, step = claim.module.partition(".")[0], None, exc.__traceback__
    while step is not None:
        if str(step.tb_frame.f_globals.get("__name__")).partition(".")[0] == top:
            place = f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}"
        step = step.tb_next
    return place
