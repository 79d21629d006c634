"""Find each installed plugin by its entry point in the metadata of its distribution, without importing it.

`importlib.metadata` costs 40 to 60 ms of CPU. So this module reads the folders of `sys.path` directly.
`importlib.metadata` is used only for zip files and for finders other than Python's own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmcore.interrupts import is_interrupt

if TYPE_CHECKING:
    from importlib.metadata import Distribution as ForeignDistribution

__all__ = [
    "BUILTIN",
    "GROUPS",
    "HOST",
    "Claim",
    "Distribution",
    "InstalledPlugins",
    "Note",
    "discover",
    "normalise_name",
    "read_requirements",
]

GROUPS: Final = {
    f"llmcore.{kind}": kind
    for kind in ("llm", "cache", "storage", "voice", "ledger", "engines", "observers", "commands", "tables")
}
"""Entry-point group -> kind, in the order of display."""

_SUFFIXES: Final = (".dist-info", ".egg-info")
_OWN_FINDERS: Final = {"_frozen_importlib_external", "importlib_metadata"}
"""Modules whose finders search the folders of `sys.path`.

Their finders are skipped, because `discover` searches these folders itself. `importlib_metadata` is the
backport of `importlib.metadata`.
"""


class Claim(NamedTuple):
    """One entry point: a distribution claims the name of a provider, an observer, a command or a table."""

    kind: str
    name: str
    distribution: str
    version: str
    """The version of the distribution; empty if the metadata does not name it."""
    module: str
    attribute: str = ""
    fault: str = ""
    """The reason why the entry point cannot be used; empty for a usable entry point."""
    metadata: str = ""
    """The path of the distribution's metadata folder; empty if the metadata is in a zip file, for example."""

    @property
    def owner(self) -> str:
        """The distribution and its version, for display."""
        return f"{self.distribution} {self.version}".rstrip()

    @property
    def qualified(self) -> str:
        """The unique name `distribution:name`."""
        return f"{normalise_name(self.distribution)}:{self.name}"


HOST: Final = "llmcore-host"
"""The distribution of the host."""

BUILTIN: Final = tuple(
    Claim(kind=kind, name=name, distribution=HOST, version="", module="llmcore.builtin.plugin")
    for kind, name in (
        ("llm", "echo"),
        ("cache", "file"),
        ("cache", "memory"),
        ("ledger", "sqlite"),
        ("engines", "local"),
        ("tables", "chat"),
        ("tables", "log"),
        ("tables", "smtp"),
    )
)
"""The host's own providers and tables, loaded through the same hooks as plugins. No plugin can take their names."""


class Distribution(NamedTuple):
    """One installed distribution."""

    name: str
    version: str
    metadata: str
    """The path of the distribution's metadata folder."""


class Note(NamedTuple):
    """A fault in a distribution's metadata. Commands report the fault, and loading ignores the faulty entry point."""

    distribution: str
    text: str


class InstalledPlugins(NamedTuple):
    """The metadata of all installed distributions."""

    claims: tuple[Claim, ...]
    distributions: dict[str, Distribution]
    """Normalised name -> distribution."""
    notes: tuple[Note, ...]


def discover(path: Sequence[str]) -> InstalledPlugins:
    """Read the metadata of the distributions on *path*.

    If *path* has two copies of a distribution, use the first.
    """
    search = _Search()
    for entry in path:
        if not search.read_folder(entry or os.curdir):
            search.read_finder(entry, _get_path_finder(), [entry])
    for finder in sys.meta_path:
        find = getattr(finder, "find_distributions", None)
        if find is not None and _get_module(finder) not in _OWN_FINDERS:
            search.read_finder(f"the finder {finder!r}", find, path)
    return InstalledPlugins(tuple(search.claims), search.distributions, tuple(search.notes))


def normalise_name(name: str) -> str:
    """Return a distribution's name in the normalised form of PEP 503."""
    parts = name.lower().replace("_", "-").replace(".", "-").split("-")
    return "-".join(part for part in parts if part)


def read_requirements(claim: Claim) -> frozenset[str]:
    """Return the normalised names of the distributions that the claim's distribution or one of its extras requires."""
    headers = _iterate_headers(claim.metadata) if claim.metadata else ()
    return frozenset(normalise_name(_parse_name(value)) for key, value in headers if key == "requires-dist")


class _Search:
    """Collects the metadata of each searched folder and finder."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.distributions: dict[str, Distribution] = {}
        self.notes: list[Note] = []

    def read_folder(self, folder: str) -> bool:
        """Read one folder of the path. Return False if *folder* is a file, such as a zip."""
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries if entry.name.endswith((*_SUFFIXES, "EGG-INFO"))]
        except FileNotFoundError:
            return True
        except NotADirectoryError:
            return False
        except (OSError, ValueError) as exc:
            self.notes.append(Note("", f"{folder} cannot be read: {exc}"))
            return True
        for name in sorted(names, key=_make_sort_key, reverse=True):
            if name[0] not in "~-":  # the prefixes of folders that an interrupted pip leaves behind
                self._read_metadata(name, os.path.join(folder, name))  # noqa: PTH118 - pathlib costs more than the whole search
        return True

    def read_finder(
        self, source: str, find: Callable[[Any], Iterable[ForeignDistribution]], path: Sequence[str]
    ) -> None:
        """Read the distributions that *find* returns. *find* is the method `find_distributions` of a finder."""
        from importlib.metadata import DistributionFinder

        try:
            for found in find(DistributionFinder.Context(path=list(path))):
                distribution = Distribution(found.metadata["Name"] or "", found.version or "", "")
                if distribution.name and self._add(distribution):
                    self._add_entries(distribution, found.read_text("entry_points.txt") or "")
        except BaseException as exc:
            if is_interrupt(exc):
                raise
            self.notes.append(Note("", f"{source} cannot be searched: {type(exc).__name__}: {exc}"))

    def _read_metadata(self, folder_name: str, location: str) -> None:
        name, version = _read_name_and_version(folder_name, location)
        if normalise_name(name) in self.distributions:
            return  # an earlier copy on the path hides this distribution
        fault = ""
        try:
            with open(f"{location}/entry_points.txt", "rb") as file:  # noqa: PTH123 - pathlib costs more than the whole search
                data = file.read()
        except (FileNotFoundError, NotADirectoryError):
            if _find_headers_file(location) is None:
                return  # a leftover folder, not a distribution
            data = b""
        except OSError as exc:
            data, fault = b"", f"entry_points.txt cannot be read: {exc.strerror or exc}"
        if b"llmcore." not in data and b"\0" not in data and not fault:
            self._add(Distribution(name, version, location))
            return
        headers = dict(_iterate_headers(location))
        distribution = Distribution(headers.get("name", name), headers.get("version", version), location)
        if not self._add(distribution):
            return
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            text, fault = "", f"entry_points.txt is not UTF-8 text: {exc.reason} at byte {exc.start}"
        if "\0" in text:
            text, fault = "", "entry_points.txt is not text: it contains zero bytes"
        if fault:
            self.notes.append(Note(distribution.name, fault))
        self._add_entries(distribution, text)

    def _add(self, distribution: Distribution) -> bool:
        key = normalise_name(distribution.name)
        return self.distributions.setdefault(key, distribution) is distribution

    def _add_entries(self, distribution: Distribution, text: str) -> None:
        seen: set[tuple[str, str]] = set()
        for number, group, line in _iterate_lines(text):
            kind = GROUPS.get(group)
            name, equals, value = (part.strip() for part in line.partition("="))
            if kind is None:
                fault = _find_group_fault(group, line)
            elif not equals or not name or ":" in name:
                fault = f"an entry of [{group}] must be `name = module`, got `{line}`"
            elif (kind, name) in seen:
                fault = f"[{group}] has `{name}` twice; the first one counts"
            else:
                seen.add((kind, name))
                self.claims.append(_make_claim(kind, name, value, distribution))
                continue
            if fault:
                self.notes.append(Note(distribution.name, f"entry_points.txt, line {number}: {fault}"))


def _make_claim(kind: str, name: str, value: str, distribution: Distribution) -> Claim:
    module, _, attribute = (part.strip() for part in value.partition("[")[0].partition(":"))
    entry, fault = f"{name} = {value}".rstrip(), ""
    if not all(part.isidentifier() for part in module.split(".")):
        fault = f"its entry point must be `name = module`, got `{entry}`"
    elif kind == "commands" and not attribute:
        fault = f"its entry point must be `name = module:function`, got `{entry}`"
    return Claim(
        kind=kind,
        name=name,
        distribution=distribution.name,
        version=distribution.version,
        module=module,
        attribute=attribute,
        fault=fault,
        metadata=distribution.metadata,
    )


def _iterate_lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, group, line) for each entry, faulty header and unknown group `llmcore.*`.

    For an unknown group, the line is empty.
    """
    group = ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] != "[":
            yield number, group, line
        elif line[-1] == "]":
            group = line[1:-1].strip()
            if group.startswith("llmcore.") and group not in GROUPS:
                yield number, group, ""
        else:
            group = ""
            yield number, group, line


def _find_group_fault(group: str, line: str) -> str:
    if not group and line:
        return f"`{line}` is not in a group"
    if line:
        return ""  # a group of another program, or a group whose header was already reported
    from difflib import get_close_matches

    nearest = get_close_matches(group, GROUPS, n=1, cutoff=0.8)
    return f"[{group}] is not a group of llmcore; did you mean [{nearest[0]}]?" if nearest else ""


def _read_name_and_version(folder_name: str, location: str) -> tuple[str, str]:
    """Return name and version from the name of the metadata folder.

    If the folder's name has no version, read the headers in METADATA.
    """
    stem, suffix = os.path.splitext(folder_name)  # noqa: PTH122 - pathlib costs more than the whole search
    if suffix == ".egg-info":
        stem = stem.partition("-py")[0]
    name, _, version = stem.rpartition("-")
    if name and folder_name != "EGG-INFO":
        return name, version
    headers = dict(_iterate_headers(location))
    return headers.get("name", stem), headers.get("version", "")


def _make_sort_key(folder_name: str) -> list[tuple[int, str]]:
    """Return a key by which 0.10 sorts after 0.9.

    An interrupted upgrade leaves two versions of a distribution in one folder, of which the newer one is used.
    """
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in folder_name.replace("-", ".").split(".")
    ]


def _find_headers_file(location: str) -> str | None:
    for name in ("METADATA", "PKG-INFO", ""):
        file = os.path.join(location, name) if name else location  # noqa: PTH118 - pathlib costs more than the whole search
        if os.path.isfile(file):  # noqa: PTH113 - pathlib costs more than the whole search
            return file
    return None


def _iterate_headers(location: str) -> Iterator[tuple[str, str]]:
    """Yield (name in lower case, value) of each header in METADATA; yield nothing if the file cannot be read."""
    file = _find_headers_file(location)
    if file is None:
        return
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:  # noqa: PTH123 - pathlib costs more than the whole search
            for line in lines:
                if not line.strip():
                    return
                key, colon, value = line.partition(":")
                if colon and value.strip():
                    yield key.strip().lower(), value.strip()
    except OSError:
        return


def _parse_name(requirement: str) -> str:
    for index, character in enumerate(requirement):
        if not (character.isalnum() or character in "-_."):
            return requirement[:index]
    return requirement


def _get_module(finder: object) -> str:
    return str(getattr(finder, "__module__", "")).partition(".")[0]


def _get_path_finder() -> Callable[[Any], Iterable[ForeignDistribution]]:
    from importlib.metadata import MetadataPathFinder

    return MetadataPathFinder.find_distributions
