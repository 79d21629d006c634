"""The catalogue of plugins: lists every one from metadata alone, and loads only the one that is named."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmcore.absence import absent, contested, reserved, selector
from llmcore.discovery import BUILTIN, GROUPS, HOST, Claim, Found, Note, discover, normalised
from llmcore.errors import PluginError, PluginNotFound

if TYPE_CHECKING:
    from llmcore.hookspecs import Provider
    from llmcore.loading import Loader

__all__ = ["Catalogue", "Listed"]

_KINDS: Final = tuple(GROUPS.values())


class Listed(NamedTuple):
    """One claimant of a name, as `llmcore plugins` shows it."""

    kind: str
    name: str
    distribution: str
    version: str
    module: str
    state: str
    """ready, built in, loaded; or, with a reason, shadowed, conflict, blocked, broken."""
    why: str = ""
    fix: str = ""
    """A line to paste that mends a claimant that is broken, blocked or in conflict."""


class Catalogue:
    """Knows every plugin that is installed, and loads those that are asked for.

    Making one costs nothing; metadata is read at the first question that needs it, and never for a built-in.
    May be used from any thread.
    """

    def __init__(
        self,
        env: Mapping[str, str] | None = None,
        path: Sequence[str | os.PathLike[str]] | None = None,
        *,
        commands: Iterable[str] = (),
    ) -> None:
        """Look at the folders of *path*, within what `LLMCORE_PLUGINS` of *env* lets load.

        Args:
            env: The environment; None takes the process's.
            path: Where distributions are searched; None takes `sys.path` as it is now.
            commands: Names of the command line's own commands, which no plugin may claim.
        """
        self._limit = (os.environ if env is None else env).get("LLMCORE_PLUGINS", "").strip()
        places = sys.path if path is None else path
        self._path = [os.fspath(place) for place in places if isinstance(place, str | os.PathLike)]
        self._reserved = {(claim.kind, claim.name) for claim in BUILTIN}
        self._reserved.update(("commands", name) for name in commands)
        self._allowed = _allowed(self._limit)
        self._found: Found | None = None
        self._loader: Loader | None = None
        self._lock = threading.Lock()

    def provider(self, kind: str, name: str) -> Provider:
        """Load the one plugin that offers *name*, and return its entry.

        Args:
            kind: llm, cache, storage, voice or observers.
            name: The provider's name, or `distribution:name`.

        Raises:
            PluginNotFound: Nobody offers it, or `LLMCORE_PLUGINS` does not let it load.
            PluginBroken: The plugin that offers it cannot serve.
            PluginConflict: Several distributions offer it, and none is named.
        """
        _check_kind(kind, without="commands")
        claim = self._chosen(kind, name)
        return self._loading().provider(claim)

    def command(self, name: str) -> Callable[..., Any]:
        """Load the plugin that offers the command *name*, and return its function.

        Raises:
            PluginNotFound: Nobody offers it, or `LLMCORE_PLUGINS` does not let it load.
            PluginBroken: The plugin that offers it cannot serve.
            PluginConflict: Several distributions offer it, or it is the command line's own.
        """
        claim = self._chosen("commands", name)
        return self._loading().function(claim)

    def names(self, kind: str) -> list[str]:
        """Return the names on offer, sorted, from metadata alone; plugins that may not load are left out."""
        _check_kind(kind)
        claims = [
            claim for claim in self._claims(kind) if self._may_load(claim) and not self._shadowed(claim)
        ]
        return sorted({claim.name for claim in claims} | {own.name for own in BUILTIN if own.kind == kind})

    def listing(self) -> list[Listed]:
        """Return every claimant of every name, from metadata alone, in the order of kind, name, distribution.

        State and reason are those of this catalogue: what it has not loaded yet is "ready".
        """
        claims = sorted(
            (*BUILTIN, *self._metadata().claims),
            key=_order,
        )
        return [self._listed(claim) for claim in claims]

    def inspect(self, kind: str, name: str) -> Listed:
        """Try to load one claimant, and return its state with the reason.

        It runs the plugin's code: in a child process, where the plugin may exit or hang as it likes.

        Raises:
            PluginNotFound: There is no such claimant.
        """
        _check_kind(kind)
        missing: PluginNotFound | None = None
        try:
            _ = self.command(name) if kind == "commands" else self.provider(kind, name)
        except PluginNotFound as error:
            missing = error
        except PluginError:
            pass  # the listing tells it
        distribution, _, short = name.rpartition(":")
        for row in self.listing():
            if (row.kind, row.name) == (kind, short) and _fits(row, distribution):
                return row
        raise missing or absent(
            kind, name, names=self.names(kind), found=self._metadata(), blocked=(), limit=self._limit
        )

    def notes(self) -> tuple[Note, ...]:
        """Return what is wrong with the metadata of installed distributions; none of it stops anything."""
        return self._metadata().notes

    def _metadata(self) -> Found:
        if self._found is None:
            self._found = discover(self._path)
        return self._found

    def _loading(self) -> Loader:
        with self._lock:
            if self._loader is None:
                from llmcore.loading import Loader  # with pluggy, which costs more than all of this

                self._loader = Loader()
            return self._loader

    def _claims(self, kind: str) -> list[Claim]:
        return [claim for claim in self._metadata().claims if claim.kind == kind]

    def _may_load(self, claim: Claim) -> bool:
        names = {claim.name, normalised(claim.distribution), claim.qualified}
        return self._allowed is None or not names.isdisjoint(self._allowed)

    def _shadowed(self, claim: Claim) -> bool:
        return (claim.kind, claim.name) in self._reserved and claim not in BUILTIN

    def _chosen(self, kind: str, name: str) -> Claim:
        distribution, _, short = name.rpartition(":")
        own = next((claim for claim in BUILTIN if (claim.kind, claim.name) == (kind, short)), None)
        if own is not None and _fits(own, distribution):
            return own  # without a look at the metadata: whoever claims the name does not get it
        claims = [claim for claim in self._claims(kind) if claim.name == short and _fits(claim, distribution)]
        if claims and self._shadowed(claims[0]):
            raise reserved(claims[0])
        free = [claim for claim in claims if self._may_load(claim)]
        if len(free) > 1:
            raise contested(sorted(free, key=_order))
        if not free:
            names, found = self.names(kind), self._metadata()
            raise absent(kind, name, names=names, found=found, blocked=claims, limit=self._limit)
        return free[0]

    def _listed(self, claim: Claim) -> Listed:
        state, why, fix = self._state(claim)
        version = claim.version
        if claim in BUILTIN:
            host = self._metadata().distributions.get(HOST)
            version = host.version if host else ""
        return Listed(claim.kind, claim.name, claim.distribution, version, claim.module, state, why, fix)

    def _state(self, claim: Claim) -> tuple[str, str, str]:
        if self._shadowed(claim):
            return "shadowed", f"`{claim.name}` is built in, and a built-in name always wins", ""
        if claim not in BUILTIN and not self._may_load(claim):
            return "blocked", f"LLMCORE_PLUGINS={self._limit} leaves it out", ""
        outcome = self._loader.outcome(claim) if self._loader else False
        if isinstance(outcome, PluginError):
            return "broken", outcome.message, outcome.fix or ""
        return ("loaded", "", "") if outcome and claim not in BUILTIN else self._state_at_rest(claim)

    def _state_at_rest(self, claim: Claim) -> tuple[str, str, str]:
        if claim in BUILTIN:
            return "built in", "", ""
        if claim.fault:
            return "broken", claim.fault, ""
        claims = [rival for rival in self._claims(claim.kind) if rival.name == claim.name]
        rivals = sorted((rival for rival in claims if rival != claim and self._may_load(rival)), key=_order)
        if rivals:
            also = ", ".join(rival.owner for rival in rivals)
            return "conflict", f"also offered by {also}", selector(claim.kind, claim.qualified)
        return "ready", "", ""


def _order(claim: Claim) -> tuple[int, str, str]:
    return _KINDS.index(claim.kind), claim.name, claim.qualified


def _fits(claim: Claim | Listed, distribution: str) -> bool:
    return not distribution or normalised(claim.distribution) == normalised(distribution)


def _allowed(limit: str) -> frozenset[str] | None:
    """Return what `LLMCORE_PLUGINS` lets load, None for everything."""
    if not limit:
        return None
    if limit.lower() == "none":
        return frozenset()
    parts = [part.strip() for part in limit.split(",")]
    return frozenset({*parts, *(normalised(part) for part in parts)} - {""})


def _check_kind(kind: str, *, without: str = "") -> None:
    kinds = [known for known in _KINDS if known != without]
    if kind not in kinds:
        raise ValueError(f"no kind of plugin is called {kind!r}; there are {', '.join(kinds)}")
