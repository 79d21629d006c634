"""Loads one named plugin, and turns whatever goes wrong on the way into an error that says how to mend it."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterable
from itertools import islice
from types import CoroutineType, ModuleType
from typing import Any, Final, NamedTuple

import pluggy

from llmcore import hookspecs
from llmcore.discovery import Claim, normalised, requirements
from llmcore.errors import PluginBroken
from llmcore.hookspecs import API_VERSION, Provider
from llmcore.log import logger

__all__ = ["HOOKS", "Loader"]

HOOKS: Final = {
    **{kind: f"llmcore_{kind}_providers" for kind in hookspecs.KINDS},
    "observers": "llmcore_observers",
}
"""Kind to the hook that offers it."""

_MOST_ENTRIES: Final = 1000
"""A hook that yields more than that does not end."""


class _Outcome(NamedTuple):
    value: Any
    error: PluginBroken | None = None


class Loader:
    """Loads plugins, each at most once; what failed stays failed and is not tried again."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("llmcore")
        self._manager.add_hookspecs(hookspecs)
        self._imported: dict[Any, _Outcome] = {}
        self._registered: dict[Any, _Outcome] = {}
        self._served: dict[Any, _Outcome] = {}
        self._lock = threading.RLock()

    def provider(self, claim: Claim) -> Provider:
        """Return what the claimed plugin offers under the claim's name.

        Raises:
            PluginBroken: The plugin does not load, or does not offer it.
        """
        provider: Provider = self._once(self._served, claim, lambda: self._find(claim))
        return provider

    def function(self, claim: Claim) -> Callable[..., Any]:
        """Return the function that the claim, a command's, names.

        Raises:
            PluginBroken: The module does not load, or has no such function.
        """
        function: Callable[..., Any] = self._once(self._served, claim, lambda: self._function(claim))
        return function

    def outcome(self, claim: Claim) -> PluginBroken | bool:
        """Return the error of a claim that failed, and otherwise whether it was loaded."""
        done = self._served.get(claim)
        return (done.error or True) if done else False

    def _once(self, memory: dict[Any, _Outcome], key: object, attempt: Callable[[], object]) -> Any:
        with self._lock:
            done = memory.get(key)
            if done is None:
                try:
                    done = _Outcome(attempt())
                except PluginBroken as error:
                    done = _Outcome(None, _copy(error))
                memory[key] = done
        if done.error is not None:
            raise _copy(done.error)  # not the one object: each raise would add to its traceback
        return done.value

    def _import(self, claim: Claim) -> ModuleType:
        key = (claim.distribution, claim.module)
        module: ModuleType = self._once(self._imported, key, lambda: _imported(claim))
        return module

    def _function(self, claim: Claim) -> object:
        _check_entry(claim)
        found: object = self._import(claim)
        try:
            for part in claim.attribute.split("."):
                found = getattr(found, part)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            raise _broken(claim, f"has no `{claim.module}:{claim.attribute}`", notes=[_told(exc)]) from exc
        if not callable(found):
            raise _broken(claim, f"names `{claim.module}:{claim.attribute}`, which cannot be called")
        return found

    def _find(self, claim: Claim) -> Provider:
        _check_entry(claim)
        key = (claim.distribution, claim.module)
        module: ModuleType = self._once(self._registered, key, lambda: self._register(claim))
        offers = self._offers(claim, module)
        for provider in offers:
            if provider.name == claim.name:
                return provider
        names = ", ".join(f"`{provider.name}`" for provider in offers) or "nothing"
        raise _broken(
            claim,
            f"yields {names} from `{HOOKS[claim.kind]}`, and its entry point is called `{claim.name}`",
            expected="one name in both places",
            fix=f'Provider(name="{claim.name}", ...)',
        )

    def _register(self, claim: Claim) -> ModuleType:
        module = self._import(claim)
        if self._manager.is_registered(module):  # two distributions that share one module
            return module
        try:
            self._manager.register(module, f"{claim.owner}: {claim.module}")
            self._manager.check_pending()
        except pluggy.PluginValidationError as exc:
            error = self._misspelt(claim, module) or _misshapen(claim, module, exc)
            self._forget(module)
            raise error from exc
        except KeyboardInterrupt:
            self._forget(module)
            raise
        except BaseException as exc:  # a module may be replaced by any object, and `dir()` of it may raise
            self._forget(module)
            raise _broken(claim, f"could not be registered: {_told(exc)}") from exc
        return module

    def _forget(self, module: ModuleType) -> None:
        if self._manager.is_registered(module):
            self._manager.unregister(module)

    def _misspelt(self, claim: Claim, module: ModuleType) -> PluginBroken | None:
        from difflib import get_close_matches

        for hook in self._manager.get_hookcallers(module) or ():
            if hook.has_spec():
                continue
            nearest = get_close_matches(hook.name, HOOKS.values(), n=1, cutoff=0.6)
            code = getattr(hook.get_hookimpls()[0].function, "__code__", None)
            return _broken(
                claim,
                f"implements a hook that does not exist: `{hook.name}`",
                code="LC106",
                where=f"{code.co_filename}:{code.co_firstlineno}" if code else None,
                expected=", ".join(sorted(HOOKS.values())),
                suggestion=nearest[0] if nearest else None,
                fix=f"def {nearest[0] if nearest else HOOKS[claim.kind]}():",
            )
        return None

    def _offers(self, claim: Claim, module: ModuleType) -> list[Provider]:
        hook = HOOKS[claim.kind]
        impls = [impl for impl in getattr(self._manager.hook, hook).get_hookimpls() if impl.plugin is module]
        if not impls:
            bare = hasattr(module, hook)
            raise _broken(
                claim,
                f"has `{hook}` without `@hookimpl`" if bare else f"has no hook `{hook}`",
                where=getattr(module, "__file__", None),
                expected="the hook of the entry point's kind, with the marker of llmcore.hookspecs",
                fix="@hookimpl" if bare else f"def {hook}():",
            )
        offers: list[Provider] = []
        try:
            for impl in impls:
                offers += islice(_iterable(claim, hook, impl.function()), _MOST_ENTRIES + 1)
        except (KeyboardInterrupt, PluginBroken):
            raise
        except BaseException as exc:
            _log(f"{claim.owner}: {hook} failed", exc)
            raise _broken(claim, f"failed in `{hook}`: {_told(exc)}", where=_place(claim, exc)) from exc
        _check_offers(claim, hook, offers)
        return offers


def _imported(claim: Claim) -> ModuleType:
    try:
        module = importlib.import_module(claim.module)
        version = getattr(module, "LLMCORE_API", 1)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # a plugin may even call sys.exit() when it is imported
        _log(f"{claim.owner}: {claim.module} did not load", exc)
        raise _import_fault(claim, exc) from exc
    if not isinstance(version, int) or isinstance(version, bool):
        raise _broken(
            claim,
            f"gives LLMCORE_API as {type(version).__name__}, and a whole number is expected",
            code="LC502",
            fix=f"LLMCORE_API = {API_VERSION}",
        )
    if version != API_VERSION:
        outdated = normalised(claim.distribution) if version < API_VERSION else "llmcore-host"
        raise _broken(
            claim,
            f"was built for version {version} of the hooks, and this host has version {API_VERSION}",
            code="LC502",
            where=getattr(module, "__file__", None),
            expected=f"LLMCORE_API = {API_VERSION}",
            fix=f"pip install --upgrade {outdated}",
        )
    return module


def _import_fault(claim: Claim, exc: BaseException) -> PluginBroken:
    distribution = normalised(claim.distribution)
    notes, fix = [], f"pip install --upgrade {distribution}"
    missing = exc.name if isinstance(exc, ModuleNotFoundError) and exc.name else ""
    top = missing.partition(".")[0]
    needed = normalised(top)
    if top and top == claim.module.partition(".")[0]:
        notes = [f"`{missing}` is a part of {claim.distribution} itself: its installation is not complete"]
        fix = f"pip install --force-reinstall {distribution}"
    elif top == "llmcore":
        notes = [f"`{missing}` is a part of llmcore-host, and this version of it does not have it"]
        fix = f"pip install --upgrade llmcore-host {distribution}"
    elif top and needed in requirements(claim):
        notes = [f"{claim.distribution} needs {needed}, which is not installed"]
        fix = f"pip install {needed}"
    elif top:  # never advise to install a guessed name: it may be anybody's
        notes = [
            f"the module `{top}` is missing; {claim.distribution} does not say which distribution brings it"
        ]
        fix = f"pip install --force-reinstall {distribution}"
    return _broken(claim, f"did not load: {_told(exc)}", where=_place(claim, exc), notes=notes, fix=fix)


def _misshapen(claim: Claim, module: ModuleType, exc: Exception) -> PluginBroken:
    return _broken(
        claim,
        "implements a hook otherwise than it is specified",
        code="LC106",
        where=getattr(module, "__file__", None),
        expected=f"def {HOOKS[claim.kind]}():",
        notes=str(exc).splitlines()[1:],
        fix=f"def {HOOKS[claim.kind]}():",
    )


def _check_entry(claim: Claim) -> None:
    if claim.fault:
        fix = f"pip install --force-reinstall {normalised(claim.distribution)}"
        raise _broken(claim, f"cannot be used: {claim.fault}", fix=fix)


def _check_offers(claim: Claim, hook: str, offers: list[Provider]) -> None:
    fault, names = "", set()
    for number, provider in enumerate(offers, start=1):
        if number > _MOST_ENTRIES:
            fault = f"yields more than {_MOST_ENTRIES} entries"
        elif not isinstance(provider, Provider):
            fault = f"yields an object of type {type(provider).__name__}"
        elif not isinstance(provider.name, str):
            fault = f"yields a Provider whose name is of type {type(provider.name).__name__}"
        elif provider.name in names:
            fault = f"yields `{provider.name}` twice"
        elif not callable(provider.create):
            fault = f"yields `{provider.name}`, whose `create` cannot be called"
        elif not isinstance(provider.options, type):
            fault = f"yields `{provider.name}`, whose `options` is no class"
        if fault:
            expected = "Provider(name=..., options=<a class>, create=<a function>), each name once"
            raise _broken(claim, f"{fault} from `{hook}`", expected=expected)
        names.add(provider.name)


def _iterable(claim: Claim, hook: str, result: object) -> Iterable[Any]:
    if isinstance(result, CoroutineType):
        result.close()  # else Python warns that nobody awaited it
    if not isinstance(result, Iterable):
        raise _broken(
            claim,
            f"returns an object of type {type(result).__name__} from `{hook}`",
            expected="an iterable of Provider",
            fix=f'yield Provider(name="{claim.name}", ...)',
        )
    return result


def _broken(claim: Claim, what: str, **parts: Any) -> PluginBroken:
    return PluginBroken(f"plugin `{claim.owner}` {what}", **parts)


def _copy(error: PluginBroken) -> PluginBroken:
    """Return the same error without traceback and cause, whose frames may hold a key."""
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
    """Leave the whole traceback, which the error does without, to whoever listens at DEBUG."""
    logger(__name__).debug(what, exc_info=exc)


def _told(exc: BaseException) -> str:
    try:
        text = " ".join(str(exc).split())
    except Exception:  # noqa: BLE001 - an exception of a stranger's may fail to describe itself
        text = ""
    return f"{type(exc).__name__}: {text[:500]}" if text else type(exc).__name__


def _place(claim: Claim, exc: BaseException) -> str | None:
    """Return the innermost line of the plugin's own package that led to *exc*."""
    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{exc.filename}:{exc.lineno}"
    top, place, step = claim.module.partition(".")[0], None, exc.__traceback__
    while step is not None:
        if str(step.tb_frame.f_globals.get("__name__")).partition(".")[0] == top:
            place = f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}"
        step = step.tb_next
    return place
