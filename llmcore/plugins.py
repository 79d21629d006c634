"""The catalogue of plugins: list every plugin from metadata, and load only the plugins that are used."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmcore import forks
from llmcore.discovery import BUILTIN, GROUPS, HOST, Claim, InstalledPlugins, Note, discover, normalise_name
from llmcore.errors import PluginConflict, PluginError, PluginNotFound
from llmcore.missing_plugin import (
    format_selector,
    make_conflict_error,
    make_not_found_error,
    make_reserved_error,
)
from llmcore.process_bound import ProcessBound

if TYPE_CHECKING:
    from llmcore.hookspecs import Provider, Table
    from llmcore.loading import Loader

__all__ = ["Catalogue", "Listed"]

_KINDS: Final = tuple(GROUPS.values())


class Listed(NamedTuple):
    """One plugin that claims a name: a row of `llmcore plugins`."""

    kind: str
    name: str
    distribution: str
    version: str
    module: str
    state: str
    """"ready", "built in" or "loaded"; or, with the reason in `why`: "shadowed", "conflict", "blocked" or "broken"."""
    why: str = ""
    fix: str = ""
    """A line to paste that repairs a broken plugin or resolves a conflict."""


class Catalogue(ProcessBound):
    """The installed plugins. Each plugin is loaded at its first use. Thread-safe.

    The constructor reads nothing. The first method that needs metadata reads it. Loading a built-in provider needs none.
    """

    def __init__(
        self,
        env: Mapping[str, str] | None = None,
        path: Sequence[str | os.PathLike[str]] | None = None,
        *,
        commands: Iterable[str] = (),
    ) -> None:
        """Make a catalogue of the plugins on *path* that `LLMCORE_PLUGINS` of *env* allows.

        Args:
            env: The environment variables. None means the variables of the process.
            path: The folders that are searched. None means the current `sys.path`.
            commands: Names of the built-in commands, which no plugin can take.
        """
        self._limit = (os.environ if env is None else env).get("LLMCORE_PLUGINS", "").strip()
        places = sys.path if path is None else path
        self._path = [os.fspath(place) for place in places if isinstance(place, str | os.PathLike)]
        self._reserved = {(claim.kind, claim.name) for claim in BUILTIN}
        self._reserved.update(("commands", name) for name in commands)
        self._allowed = _parse_limit(self._limit)
        self._found: InstalledPlugins | None = None
        self._loader: Loader | None = None
        self._lock = forks.lock()

    def load_provider(self, kind: str, name: str) -> Provider:
        """Load the plugin that offers *name*, and return its entry.

        Args:
            kind: llm, cache, storage, voice, ledger, engines or observers.
            name: The provider's name, or `distribution:name`.

        Raises:
            PluginNotFound: No plugin offers the provider, or `LLMCORE_PLUGINS` excludes the plugin.
            PluginBroken: The plugin cannot be loaded.
            PluginConflict: Several distributions offer the provider, and *name* does not choose one.
        """
        _check_kind(kind, without=("commands", "tables"))
        claim = self._choose(kind, name)
        return self._get_loader().load_provider(claim)

    def load_command(self, name: str) -> Callable[..., Any]:
        """Load the plugin that offers the command *name*, and return its function.

        Raises:
            PluginNotFound: No plugin offers the command, or `LLMCORE_PLUGINS` excludes the plugin.
            PluginBroken: The plugin cannot be loaded.
            PluginConflict: Several distributions offer the command, or the command is built in.
        """
        claim = self._choose("commands", name)
        return self._get_loader().load_function(claim)

    def load_table(self, name: str) -> Table:
        """Load the plugin that declares the table [name] of the configuration, and return its declaration.

        Raises:
            PluginNotFound: No plugin declares the table, or `LLMCORE_PLUGINS` excludes the plugin.
            PluginBroken: The plugin cannot be loaded.
            PluginConflict: Several distributions declare the table.
        """
        claim = self._choose("tables", name)
        return self._get_loader().load_table(claim)

    def list_names(self, kind: str) -> list[str]:
        """Return the names of *kind* that can be used, sorted. Only metadata is read."""
        _check_kind(kind)
        claims = [
            claim
            for claim in self._find_claims(kind)
            if self._can_load(claim) and not self._is_shadowed(claim)
        ]
        return sorted({claim.name for claim in claims} | {own.name for own in BUILTIN if own.kind == kind})

    def list_claimed_names(self, kind: str) -> frozenset[str]:
        """Return every name that is built in or that an installed distribution claims, even if `LLMCORE_PLUGINS` excludes it."""
        return frozenset(
            claim.name for claim in (*BUILTIN, *self._read_metadata().claims) if claim.kind == kind
        )

    def find_missing(self, kind: str, name: str, instances: Iterable[str] = ()) -> PluginNotFound | None:
        """Return the error for a name that no usable plugin offers.

        The result is None if at least one plugin offers the name. Only metadata is read.

        Args:
            kind: llm, cache, storage, voice, ledger, engines, observers or tables.
            name: The provider's name, or `distribution:name`.
            instances: Names that the configuration adds; the error may suggest one of these names.
        """
        _check_kind(kind, without=("commands",))
        try:
            self._choose(kind, name, instances)
        except PluginNotFound as error:
            return error
        except PluginConflict:  # the plugin is not missing; loading it will raise this error
            return None
        return None

    def list_plugins(self) -> list[Listed]:
        """Return one row for each name that a plugin claims, sorted by kind, name and distribution.

        Only metadata is read. A plugin that this catalogue has not loaded is "ready", even if loading it
        would fail.
        """
        claims = sorted(
            (*BUILTIN, *self._read_metadata().claims),
            key=_make_sort_key,
        )
        return [self._make_row(claim) for claim in claims]

    def inspect(self, kind: str, name: str) -> Listed:
        """Try to load one plugin, and return its state with the reason.

        The code of the plugin may exit or hang, so call this method in a child process.

        Raises:
            PluginNotFound: No plugin has the name.
        """
        _check_kind(kind)
        missing: PluginNotFound | None = None
        try:
            _ = (
                self.load_command(name)
                if kind == "commands"
                else self.load_table(name)
                if kind == "tables"
                else self.load_provider(kind, name)
            )
        except PluginNotFound as error:
            missing = error
        except PluginError:
            pass  # the plugin's row shows the error
        distribution, _, short = name.rpartition(":")
        for row in self.list_plugins():
            if (row.kind, row.name) == (kind, short) and _is_of(row, distribution):
                return row
        raise missing or make_not_found_error(
            kind,
            name,
            names=self.list_names(kind),
            found=self._read_metadata(),
            blocked=(),
            limit=self._limit,
        )

    def get_notes(self) -> tuple[Note, ...]:
        """Return the faults in the metadata of installed distributions."""
        return self._read_metadata().notes

    def _read_metadata(self) -> InstalledPlugins:
        if self._found is None:
            self._found = discover(self._path)
        return self._found

    def _get_loader(self) -> Loader:
        with self._lock:
            if self._loader is None:
                from llmcore.loading import Loader  # lazy: pluggy costs more than reading the metadata

                self._loader = Loader()
            return self._loader

    def _find_claims(self, kind: str) -> list[Claim]:
        return [claim for claim in self._read_metadata().claims if claim.kind == kind]

    def _can_load(self, claim: Claim) -> bool:
        names = {claim.name, normalise_name(claim.distribution), claim.qualified}
        return self._allowed is None or not names.isdisjoint(self._allowed)

    def _is_shadowed(self, claim: Claim) -> bool:
        return (claim.kind, claim.name) in self._reserved and claim not in BUILTIN

    def _choose(self, kind: str, name: str, instances: Iterable[str] = ()) -> Claim:
        distribution, _, short = name.rpartition(":")
        own = next((claim for claim in BUILTIN if (claim.kind, claim.name) == (kind, short)), None)
        if own is not None and _is_of(own, distribution):
            return own  # a built-in name needs no metadata: no plugin can take it
        claims = [
            claim for claim in self._find_claims(kind) if claim.name == short and _is_of(claim, distribution)
        ]
        if claims and self._is_shadowed(claims[0]):
            raise make_reserved_error(claims[0])
        free = [claim for claim in claims if self._can_load(claim)]
        if len(free) > 1:
            raise make_conflict_error(sorted(free, key=_make_sort_key))
        if not free:
            names, found = sorted({*self.list_names(kind), *instances}), self._read_metadata()
            raise make_not_found_error(
                kind, name, names=names, found=found, blocked=claims, limit=self._limit
            )
        return free[0]

    def _make_row(self, claim: Claim) -> Listed:
        state, why, fix = self._find_state(claim)
        version = claim.version
        if claim in BUILTIN:
            host = self._read_metadata().distributions.get(HOST)
            version = host.version if host else ""
        return Listed(claim.kind, claim.name, claim.distribution, version, claim.module, state, why, fix)

    def _find_state(self, claim: Claim) -> tuple[str, str, str]:
        if self._is_shadowed(claim):
            return "shadowed", f"`{claim.name}` is built in, and a built-in name always wins", ""
        if claim not in BUILTIN and not self._can_load(claim):
            return "blocked", f"LLMCORE_PLUGINS={self._limit} excludes it", ""
        outcome = self._loader.get_outcome(claim) if self._loader else False
        if isinstance(outcome, PluginError):
            return "broken", outcome.message, outcome.fix or ""
        return ("loaded", "", "") if outcome and claim not in BUILTIN else self._find_unloaded_state(claim)

    def _find_unloaded_state(self, claim: Claim) -> tuple[str, str, str]:
        if claim in BUILTIN:
            return "built in", "", ""
        if claim.fault:
            return "broken", claim.fault, ""
        claims = [rival for rival in self._find_claims(claim.kind) if rival.name == claim.name]
        rivals = sorted(
            (rival for rival in claims if rival != claim and self._can_load(rival)), key=_make_sort_key
        )
        if rivals:
            also = ", ".join(rival.owner for rival in rivals)
            return "conflict", f"also offered by {also}", format_selector(claim.kind, claim.qualified)
        return "ready", "", ""


def _make_sort_key(claim: Claim) -> tuple[int, str, str]:
    return _KINDS.index(claim.kind), claim.name, claim.qualified


def _is_of(claim: Claim | Listed, distribution: str) -> bool:
    return not distribution or normalise_name(claim.distribution) == normalise_name(distribution)


def _parse_limit(limit: str) -> frozenset[str] | None:
    """Return the names and distributions that `LLMCORE_PLUGINS` allows; None if it is empty, which allows all."""
    if not limit:
        return None
    if limit.lower() == "none":
        return frozenset()
    parts = [part.strip() for part in limit.split(",")]
    return frozenset({*parts, *(normalise_name(part) for part in parts)} - {""})


def _check_kind(kind: str, *, without: Iterable[str] = ()) -> None:
    kinds = [known for known in _KINDS if known not in without]
    if kind not in kinds:
        raise ValueError(f"kind must be one of {', '.join(kinds)}, got {kind!r}")
