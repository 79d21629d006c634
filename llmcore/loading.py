"""Load one named plugin, and turn each failure into an error with a fix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from types import CoroutineType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmcore import forks, hookspecs
from llmcore.discovery import Claim, normalise_name
from llmcore.errors import PluginBroken
from llmcore.hookspecs import Provider, Table
from llmcore.install_lines import make_reinstall_line
from llmcore.plain_hooks import find_plain_hooks
from llmcore.plugin_faults import find_place, format_exception, log_exception, make_error
from llmcore.plugin_import import import_plugin, make_import_timeout
from llmcore.threads import TIME_LEFT, acquire_within

if TYPE_CHECKING:
    import pluggy

__all__ = ["HOOKS", "Loader"]

HOOKS: Final = {
    **{kind: f"llmcore_{kind}_providers" for kind in hookspecs.KINDS},
    "engines": "llmcore_engine_providers",
    "observers": "llmcore_observers",
    "tables": "llmcore_tables",
}
"""Kind -> the name of the kind's hook."""

_MOST_ENTRIES: Final = 1000
"""The maximum number of entries to read from a hook: a hook that yields more is probably endless."""


class _Outcome(NamedTuple):
    value: Any
    error: PluginBroken | None = None


class Loader:
    """Loads each plugin at most once. A failed plugin is not loaded again.

    A module with plain hooks (see `find_plain_hooks`), such as a built-in one, needs no check. Pluggy checks
    other modules.
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
        provider: Provider = self._run_once(self._loaded, claim, claim, lambda: self._find_entry(claim))
        return provider

    def load_table(self, claim: Claim) -> Table:
        """Return the table that the plugin declares under the name of the claim.

        Raises:
            PluginBroken: The plugin does not load, or does not declare the table.
        """
        table: Table = self._run_once(self._loaded, claim, claim, lambda: self._find_entry(claim))
        return table

    def load_function(self, claim: Claim) -> Callable[..., Any]:
        """Return the function of a command.

        Raises:
            PluginBroken: The module does not load, or has no such function.
        """
        function: Callable[..., Any] = self._run_once(
            self._loaded, claim, claim, lambda: self._find_function(claim)
        )
        return function

    def get_outcome(self, claim: Claim) -> PluginBroken | bool:
        """Return the error of a claim that failed to load, True for a loaded claim, or False for one not loaded yet."""
        done = self._loaded.get(claim)
        return (done.error or True) if done else False

    def _run_once(
        self, memory: dict[Any, _Outcome], key: object, claim: Claim, attempt: Callable[[], object]
    ) -> Any:
        if not acquire_within(self._lock, TIME_LEFT.get()):
            raise make_import_timeout(claim)
        try:
            done = memory.get(key)
            if done is None:
                try:
                    done = _Outcome(attempt())
                except PluginBroken as error:
                    done = _Outcome(None, _copy(error))
                memory[key] = done
        finally:
            self._lock.release()
        if done.error is not None:
            raise _copy(done.error)  # raising the same object again would extend its traceback
        return done.value

    def _import(self, claim: Claim) -> ModuleType:
        key = (claim.distribution, claim.module)
        module: ModuleType = self._run_once(self._imported, key, claim, lambda: import_plugin(claim))
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
            raise make_error(
                claim, f"has no `{claim.module}:{claim.attribute}`", notes=[format_exception(exc)]
            ) from exc
        if not callable(found):
            raise make_error(claim, f"names `{claim.module}:{claim.attribute}`, which is not callable")
        return found

    def _find_entry(self, claim: Claim) -> Provider | Table:
        _check_entry(claim)
        key = (claim.distribution, claim.module)
        module: ModuleType = self._run_once(self._registered, key, claim, lambda: self._register(claim))
        entries = self._call_hook(claim, module)
        for entry in entries:
            if entry.name == claim.name:
                return entry
        names = ", ".join(f"`{entry.name}`" for entry in entries) or "nothing"
        raise make_error(
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
        import pluggy  # lazy: importing pluggy and inspect takes longer than a cached answer

        if self._manager is None:
            self._manager = pluggy.PluginManager("llmcore")
            self._manager.add_hookspecs(hookspecs)
        manager = self._manager
        if manager.is_registered(module):  # another distribution has registered the same module
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
            raise make_error(claim, f"could not be registered: {format_exception(exc)}") from exc
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
            raise make_error(
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
            log_exception(f"{claim.owner}: {hook} failed", exc)
            raise make_error(
                claim, f"failed in `{hook}`: {format_exception(exc)}", where=find_place(claim, exc)
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
        return make_error(
            claim,
            f"implements a hook that does not exist: `{hook.name}`",
            code="LC106",
            where=f"{code.co_filename}:{code.co_firstlineno}" if code else None,
            expected=", ".join(sorted(HOOKS.values())),
            suggestion=nearest[0] if nearest else None,
            fix=f"def {nearest[0] if nearest else HOOKS[claim.kind]}():",
        )
    return None


def _make_hook_error(claim: Claim, module: ModuleType, exc: Exception) -> PluginBroken:
    return make_error(
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
        fix = make_reinstall_line(normalise_name(claim.distribution), claim.metadata, "--force-reinstall")
        raise make_error(claim, f"cannot be used: {claim.fault}", fix=fix)


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
            raise make_error(claim, f"{fault} from `{hook}`", expected=expected)
        names.add(entry.name)


def _check_iterable(claim: Claim, hook: str, result: object) -> Iterable[Any]:
    if isinstance(result, CoroutineType):
        result.close()  # close the coroutine: otherwise Python warns that it was never awaited
    if not isinstance(result, Iterable):
        raise make_error(
            claim,
            f"returns an object of type {type(result).__name__} from `{hook}`",
            expected=f"an iterable of {_get_type(claim).__name__}",
            fix=f'yield {_get_type(claim).__name__}(name="{claim.name}", ...)',
        )
    return result


def _copy(error: PluginBroken) -> PluginBroken:
    """Return a copy without traceback and cause, because their frames may contain an API key."""
    return PluginBroken(
        error.message,
        code=error.code,
        where=error.where,
        expected=error.expected,
        suggestion=error.suggestion,
        fix=error.fix,
        notes=error.notes,
    )
