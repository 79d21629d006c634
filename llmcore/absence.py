"""Says why a name leads to no plugin, or to several, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from llmcore.discovery import BUILTIN, GROUPS, Claim, Found, normalised
from llmcore.errors import PluginConflict, PluginNotFound

__all__ = ["KNOWN", "absent", "contested", "noun", "reserved", "selector"]

KNOWN: Final = {
    ("cache", "memcached"): "llmcore-cache-memcached",
    ("cache", "redis"): "llmcore-cache-redis",
    ("llm", "anthropic"): "llmcore-anthropic",
    ("llm", "any_llm"): "llmcore-any-llm",
    ("llm", "openai"): "llmcore-openai-optimized",
    ("llm", "openai_compatible"): "llmcore-openai-compatible",
    ("storage", "azure"): "llmcore-storage-object",
    ("storage", "fs"): "llmcore-storage-fs",
    ("storage", "gcs"): "llmcore-storage-object",
    ("storage", "object_memory"): "llmcore-storage-object",
    ("storage", "s3"): "llmcore-storage-object",
    ("voice", "elevenlabs"): "llmcore-voice-tts",
    ("voice", "espeak"): "llmcore-voice-espeak",
    ("voice", "openai"): "llmcore-openai-optimized",
}
"""Providers of our own plugins, and the distribution to install where one is asked for and absent."""

_NOUNS: Final = {"observers": "observer", "commands": "command"}
_ARTICLES: Final = {kind: "an " if kind in {"llm", "observers"} else "a " for kind in GROUPS.values()}


def noun(kind: str) -> str:
    """Return what one of *kind* is called."""
    return _NOUNS.get(kind, f"{kind} provider")


def absent(
    kind: str, name: str, *, names: Sequence[str], found: Found, blocked: Sequence[Claim], limit: str
) -> PluginNotFound:
    """Return the error for a name that nobody offers, or whose claimants may not load.

    Args:
        kind: What was asked for.
        name: The name, with a distribution in front or not.
        names: What is on offer instead.
        found: What the metadata says.
        blocked: Claimants of the name that `LLMCORE_PLUGINS` does not let load.
        limit: The value of `LLMCORE_PLUGINS`.
    """
    distribution, _, short = name.rpartition(":")
    expected = ", ".join(names) or f"an installed plugin that offers one; there is no {noun(kind)} here"
    notes = _notes(kind, distribution, short, found)
    if blocked:
        by_name = blocked[0].name if len(blocked) == 1 else blocked[0].qualified
        return PluginNotFound(
            f"the {noun(kind)} `{name}` may not load",
            expected=expected,
            notes=[f"{_owners(blocked)} would offer it, and LLMCORE_PLUGINS={limit} leaves it out", *notes],
            fix=f"export LLMCORE_PLUGINS={'' if limit.lower() == 'none' else f'{limit},'}{by_name}",
        )
    nearest, fix, wanted = None, None, short
    package = KNOWN.get((kind, short))
    if package is None or distribution not in {"", package}:
        nearest = _nearest(kind, name, names, found)
        package = None if nearest is None or nearest in names else KNOWN.get((kind, nearest))
        wanted = nearest or short
        fix = None if nearest is None else selector(kind, nearest)
    if package is not None:
        there = found.distributions.get(package)
        if there is None:
            notes.insert(0, f"`{wanted}` comes with {package}, which is not installed")
            fix = f"pip install {package}"
        else:
            notes.insert(
                0, f"{package} {there.version} is installed, but its metadata does not offer `{wanted}`"
            )
            fix = f"pip install --force-reinstall {package}"
    message = f"no {noun(kind)} is called `{name}`"
    return PluginNotFound(message, expected=expected, suggestion=nearest, notes=notes, fix=fix)


def contested(claims: Sequence[Claim]) -> PluginConflict:
    """Return the error for *claims*, several distributions' to one name."""
    first = claims[0]
    ours = KNOWN.get((first.kind, first.name))
    pick = next((claim for claim in claims if normalised(claim.distribution) == ours), first)
    number = "two" if len(claims) == 2 else len(claims)  # noqa: PLR2004 - two is two
    return PluginConflict(
        f"{number} plugins offer the {noun(first.kind)} `{first.name}`: {_owners(claims)}",
        expected=" or ".join(f'"{claim.qualified}"' for claim in claims),
        fix=selector(first.kind, pick.qualified),
    )


def reserved(claim: Claim) -> PluginConflict:
    """Return the error for a claim to the name of a built-in provider or command."""
    return PluginConflict(
        f"{claim.owner} offers the {noun(claim.kind)} `{claim.name}`, and that name is built in",
        expected="an entry point with a name of its own",
        notes=["a built-in name always wins, so the plugin was not imported"],
        fix=selector(claim.kind, claim.name),
    )


def selector(kind: str, name: str) -> str:
    """Return the line that selects *name*: of the configuration, or a command."""
    if kind == "commands":
        return f"llmcore {name}"
    return f'use = ["{name}"]' if kind == "observers" else f'provider = "{name}"'


def _notes(kind: str, distribution: str, short: str, found: Found) -> list[str]:
    notes = []
    if distribution:
        there = found.distributions.get(normalised(distribution))
        what = f"{there.name} {there.version} is installed and offers no such {noun(kind)}" if there else ""
        notes.append(what or f"no distribution called {distribution} is installed")
    kinds = {claim.kind for claim in (*BUILTIN, *found.claims) if claim.name == short}
    kinds |= {of_kind for of_kind, name in KNOWN if name == short}
    if kinds and kind not in kinds:
        notes.append(
            f"`{short}` is {' and '.join(_ARTICLES[other] + noun(other) for other in sorted(kinds))}"
        )
    near = {normalised(distribution), KNOWN.get((kind, short), "")} - {""}
    for note in found.notes:
        owner = normalised(note.distribution)
        if owner in near or normalised(short) in owner or f"`{short}`" in note.text:
            notes.append(f"{note.distribution}: {note.text}")
    return notes


def _nearest(kind: str, name: str, names: Sequence[str], found: Found) -> str | None:
    from difflib import get_close_matches

    distribution, _, short = name.rpartition(":")
    if distribution and short in names:
        return short
    known = [of_name for of_kind, of_name in KNOWN if of_kind == kind]
    qualified = [claim.qualified for claim in found.claims if claim.kind == kind]
    pool = qualified if distribution else [*names, *known]
    return next(iter(get_close_matches(name, pool, n=1, cutoff=0.6)), None)


def _owners(claims: Iterable[Claim]) -> str:
    owners = [claim.owner for claim in claims]
    return " and ".join([", ".join(owners[:-1]), owners[-1]] if len(owners) > 1 else owners)
