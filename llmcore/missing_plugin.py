"""Make the errors for a name that no plugin offers, or that several plugins offer. They have the reason and a fix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from llmcore.discovery import BUILTIN, GROUPS, Claim, InstalledPlugins, normalise_name
from llmcore.errors import PluginConflict, PluginNotFound
from llmcore.install_lines import FOLDERS, is_on_index, make_install_line, make_reinstall_line
from llmcore.support.text import describe_invisible

__all__ = [
    "DEFAULTS",
    "KNOWN",
    "describe_missing_table",
    "format_selector",
    "get_noun",
    "make_conflict_error",
    "make_not_found_error",
    "make_reserved_error",
    "require_testing",
]

DEFAULTS: Final = {"cache": "file", "engines": "local", "ledger": "sqlite"}
"""Kind -> the built-in provider that an error suggests if no name is similar to the unknown one."""
KNOWN: Final = {
    ("cache", "memcached"): "llmcore-cache-memcached",
    ("cache", "redis"): "llmcore-cache-redis",
    ("commands", "dashboard"): "llmcore-dashboard",
    ("commands", "keys"): "llmcore-gateway",
    ("commands", "serve"): "llmcore-gateway",
    ("tables", "dashboard"): "llmcore-dashboard",
    ("tables", "gateway"): "llmcore-gateway",
    ("engines", "dask"): "llmcore-engine-dask",
    ("engines", "ray"): "llmcore-engine-ray",
    ("ledger", "postgres"): "llmcore-ledger-postgres",
    ("llm", "any_llm"): "llmcore-any-llm",
    ("llm", "anthropic"): "llmcore-anthropic",
    **{
        ("llm", name): "llmcore-openai-compatible"
        for name in (
            "deepseek", "gemini", "groq", "llama_cpp", "lmstudio", "mistral", "ollama", "openrouter", "together", "vllm",
        )
    },
    ("llm", "openai"): "llmcore-openai-optimized",
    ("observers", "otel"): "llmcore-observer-otel",
    ("storage", "azure"): "llmcore-storage-object",
    ("storage", "fs"): "llmcore-storage-fs",
    ("storage", "gcs"): "llmcore-storage-object",
    ("storage", "object_memory"): "llmcore-storage-object",
    ("storage", "s3"): "llmcore-storage-object",
    ("voice", "elevenlabs"): "llmcore-voice-tts",
    ("voice", "espeak"): "llmcore-voice-espeak",
    ("voice", "openai"): "llmcore-openai-optimized",
}  # fmt: skip
"""Kind and name of everything that this project's plugins offer -> the distribution to install."""

_CONTENTS: Final = {
    "llmcore-openai-optimized": "the provider `openai`",
    "llmcore-storage-fs": "the storage `fs`",
    "llmcore-testing": "the simulated servers and the conformance kits",
}
"""Distribution -> what a command needs of it."""
_NOUNS: Final = {"engines": "engine", "observers": "observer", "commands": "command", "tables": "table"}
_ARTICLES: Final = {
    kind: "an " if kind in {"engines", "llm", "observers"} else "a " for kind in GROUPS.values()
}


def get_noun(kind: str) -> str:
    """Return the noun for one plugin of *kind*, such as "cache provider"."""
    return _NOUNS.get(kind, f"{kind} provider")


def make_not_found_error(
    kind: str,
    name: str,
    *,
    names: Sequence[str],
    found: InstalledPlugins,
    blocked: Sequence[Claim],
    limit: str,
) -> PluginNotFound:
    """Return the error for a name that no plugin offers, or that is offered only by plugins that `LLMCORE_PLUGINS` excludes.

    Args:
        kind: The requested kind.
        name: The requested name, with or without a distribution in front.
        names: The available names.
        found: The metadata of all installed distributions.
        blocked: The plugins that offer the name and that `LLMCORE_PLUGINS` excludes.
        limit: The value of `LLMCORE_PLUGINS`.
    """
    distribution, _, short = name.rpartition(":")
    expected = ", ".join(names) or f"an installed {get_noun(kind)}; none is installed"
    notes = [*_make_notes(kind, distribution, short, found), *describe_invisible(name)]
    if blocked:
        by_name = blocked[0].name if len(blocked) == 1 else blocked[0].qualified
        return PluginNotFound(
            f"the {get_noun(kind)} `{name}` may not be loaded",
            expected=expected,
            notes=[f"{_join_owners(blocked)} offers it, but LLMCORE_PLUGINS={limit} excludes it", *notes],
            fix=f"export LLMCORE_PLUGINS={'' if limit.lower() == 'none' else f'{limit},'}{by_name}",
        )
    nearest, fix, wanted = None, None, short
    package = KNOWN.get((kind, short))
    if package is None or distribution not in {"", package}:
        nearest = _find_nearest(kind, name, names, found)
        package = None if nearest is None or nearest in names else KNOWN.get((kind, nearest))
        wanted = nearest or short
        chosen = nearest or _find_default(kind, names)
        fix = None if chosen is None else format_selector(kind, chosen)
    if package is not None:
        there = found.distributions.get(package)
        if there is None:
            notes.insert(
                0, f"`{wanted}` is in {package}, which is not installed: {_describe_source(package)}"
            )
            fix = make_install_line(package)
        else:
            notes.insert(
                0, f"{package} {there.version} is installed, but its metadata does not offer `{wanted}`"
            )
            fix = make_reinstall_line(package, there.metadata, "--force-reinstall")
    message = f"unknown {get_noun(kind)} `{name}`"
    return PluginNotFound(message, expected=expected, suggestion=nearest, notes=notes, fix=fix)


def _find_default(kind: str, names: Sequence[str]) -> str | None:
    """Return the built-in provider of *kind* to use in place of an unknown one; None if there is none."""
    default = DEFAULTS.get(kind)
    return default if default in names else None


def make_conflict_error(claims: Sequence[Claim]) -> PluginConflict:
    """Return the error for *claims*, the entry points of several distributions with the same name."""
    first = claims[0]
    ours = KNOWN.get((first.kind, first.name))
    pick = next((claim for claim in claims if normalise_name(claim.distribution) == ours), first)
    number = "two" if len(claims) == 2 else len(claims)  # noqa: PLR2004 - only the number 2 is written as a word
    return PluginConflict(
        f"{number} plugins offer the {get_noun(first.kind)} `{first.name}`: {_join_owners(claims)}",
        expected=" or ".join(f'"{claim.qualified}"' for claim in claims),
        fix=format_selector(first.kind, pick.qualified),
    )


def make_reserved_error(claim: Claim) -> PluginConflict:
    """Return the error for a plugin that uses the name of a built-in provider or command."""
    return PluginConflict(
        f"{claim.owner} offers the {get_noun(claim.kind)} `{claim.name}`, but that name is built in",
        expected="an entry point with another name",
        notes=["a built-in name always wins, so the plugin was not imported"],
        fix=format_selector(claim.kind, claim.name),
    )


def describe_missing_table(name: str) -> tuple[str, str | None] | None:
    """Return a note and a fix for the table *name*, whose plugin is not installed.

    The result is None if the table does not belong to a plugin of this project.
    """
    package = KNOWN.get(("tables", name))
    if package is None:
        return None
    note = f"[{name}] is the table of {package}, which is not installed: {_describe_source(package)}"
    return note, make_install_line(package)


def require_testing(user: str, *others: str) -> None:
    """Check that llmcore-testing is installed, which contains the simulator and the conformance kits.

    Args:
        user: The command or module that needs llmcore-testing. The error names it.
        others: Further distributions of this project that *user* needs.

    Raises:
        PluginNotFound: A distribution is not installed. The error names all that are missing.
    """
    from importlib.util import find_spec

    missing = [each for each in ("llmcore-testing", *others) if find_spec(each.replace("-", "_")) is None]
    if not missing:
        return
    is_one = len(missing) == 1
    expected = [f"{each}: {_CONTENTS.get(each, 'a plugin')}" for each in missing]
    sources = [_describe_source(each) for each in missing]
    raise PluginNotFound(
        f"{user} needs {_join(missing)}, which {'is' if is_one else 'are'} not installed",
        expected="; ".join(expected),
        notes=sources
        if is_one
        else [f"{each}: {source}" for each, source in zip(missing, sources, strict=True)],
        fix=make_install_line(*missing),
    )


def format_selector(kind: str, name: str) -> str:
    """Return the line of the configuration, or the command, that selects *name*."""
    if kind == "commands":
        return f"llmcore {name}"
    if kind == "tables":
        return f"[{name}]"
    if kind == "engines":
        return f'engine = "{name}"'
    return f'use = ["{name}"]' if kind == "observers" else f'provider = "{name}"'


def _describe_source(package: str) -> str:
    if is_on_index():
        return "it is on the package index, like llmcore-host"
    return f"it is in {FOLDERS[package]} of the repository of llmcore, not on a package index"


def _make_notes(kind: str, distribution: str, short: str, found: InstalledPlugins) -> list[str]:
    notes = []
    if distribution:
        there = found.distributions.get(normalise_name(distribution))
        what = (
            f"{there.name} {there.version} is installed, but offers no such {get_noun(kind)}" if there else ""
        )
        notes.append(what or f"the distribution {distribution} is not installed")
    kinds = {claim.kind for claim in (*BUILTIN, *found.claims) if claim.name == short}
    kinds |= {of_kind for of_kind, name in KNOWN if name == short}
    if kinds and kind not in kinds:
        notes.append(
            f"`{short}` is {' and '.join(_ARTICLES[other] + get_noun(other) for other in sorted(kinds))}"
        )
    near = {normalise_name(distribution), KNOWN.get((kind, short), "")} - {""}
    for note in found.notes:
        owner = normalise_name(note.distribution)
        if owner in near or normalise_name(short) in owner or f"`{short}`" in note.text:
            notes.append(f"{note.distribution}: {note.text}")
    return notes


def _find_nearest(kind: str, name: str, names: Sequence[str], found: InstalledPlugins) -> str | None:
    from difflib import get_close_matches

    distribution, _, short = name.rpartition(":")
    if distribution and short in names:
        return short
    known = [of_name for of_kind, of_name in KNOWN if of_kind == kind]
    qualified = [claim.qualified for claim in found.claims if claim.kind == kind]
    pool = qualified if distribution else [*names, *known]
    return next(iter(get_close_matches(name, pool, n=1, cutoff=0.6)), None)


def _join_owners(claims: Iterable[Claim]) -> str:
    return _join([claim.owner for claim in claims])


def _join(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
