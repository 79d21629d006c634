"""Reads from the metadata of installed distributions which plugins there are, and imports none of them.

`importlib.metadata` costs 40 to 60 ms of CPU; the folders of `sys.path` are read directly, and it is asked only
about what is no folder: zip files, and finders other than Python's own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import Distribution as ForeignDistribution

__all__ = [
    "BUILTIN",
    "GROUPS",
    "HOST",
    "Claim",
    "Distribution",
    "Found",
    "Note",
    "discover",
    "normalised",
    "requirements",
]

GROUPS: Final = {
    f"llmcore.{kind}": kind for kind in ("llm", "cache", "storage", "voice", "observers", "commands")
}
"""Entry-point group to kind, in the order in which people read them."""

_SUFFIXES: Final = (".dist-info", ".egg-info")
_OWN_FINDERS: Final = {"_frozen_importlib_external", "importlib_metadata"}
"""Finders that look at the folders of `sys.path`, as is done here (the second is the backport's)."""


class Claim(NamedTuple):
    """One entry point: a distribution says that it offers a provider, an observer or a command."""

    kind: str
    name: str
    distribution: str
    version: str
    """Empty where the metadata does not say it."""
    module: str
    attribute: str = ""
    fault: str = ""
    """Why the entry cannot be used; empty where it can."""
    metadata: str = ""
    """The distribution's metadata folder; empty where it is no folder."""

    @property
    def owner(self) -> str:
        """The distribution and its version, as people are told."""
        return f"{self.distribution} {self.version}".rstrip()

    @property
    def qualified(self) -> str:
        """The name that means this claim and no other's."""
        return f"{normalised(self.distribution)}:{self.name}"


HOST: Final = "llmcore-host"
"""The host's own distribution."""

BUILTIN: Final = tuple(
    Claim(kind=kind, name=name, distribution=HOST, version="", module="llmcore.builtin.plugin")
    for kind, name in (("llm", "echo"), ("cache", "file"), ("cache", "memory"))
)
"""What the host itself offers, through the same hooks. Such a name is never somebody else's."""


class Distribution(NamedTuple):
    """One installed distribution."""

    name: str
    version: str
    metadata: str
    """Where its metadata stands."""


class Note(NamedTuple):
    """Something wrong with a distribution's metadata; it stops nothing."""

    distribution: str
    text: str


class Found(NamedTuple):
    """What the metadata says."""

    claims: tuple[Claim, ...]
    distributions: dict[str, Distribution]
    """By normalised name."""
    notes: tuple[Note, ...]


def discover(path: Sequence[str]) -> Found:
    """Read the metadata of what is installed on *path*; of two copies of a distribution the first counts."""
    search = _Search()
    for entry in path:
        if not search.folder(entry or os.curdir):
            search.foreign(entry, _path_finder(), [entry])
    for finder in sys.meta_path:
        find = getattr(finder, "find_distributions", None)
        if find is not None and _module_of(finder) not in _OWN_FINDERS:
            search.foreign(f"the finder {finder!r}", find, path)
    return Found(tuple(search.claims), search.distributions, tuple(search.notes))


def normalised(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    parts = name.lower().replace("_", "-").replace(".", "-").split("-")
    return "-".join(part for part in parts if part)


def requirements(claim: Claim) -> frozenset[str]:
    """Return the normalised names of what the claim's distribution says it needs, extras included."""
    headers = _headers(claim.metadata) if claim.metadata else ()
    return frozenset(normalised(_leading_name(value)) for key, value in headers if key == "requires-dist")


class _Search:
    """Collects what the places searched so far hold."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.distributions: dict[str, Distribution] = {}
        self.notes: list[Note] = []

    def folder(self, folder: str) -> bool:
        """Take in one folder of the path; return False where it is a file, such as a zip."""
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
        for name in sorted(names, key=_newest_last, reverse=True):
            if name[0] not in "~-":  # what pip leaves behind when it is stopped half-way
                self._metadata(name, os.path.join(folder, name))  # noqa: PTH118 - pathlib costs more than all of this
        return True

    def foreign(
        self, source: str, find: Callable[[Any], Iterable[ForeignDistribution]], path: Sequence[str]
    ) -> None:
        """Take in what *find*, a finder's `find_distributions`, knows."""
        from importlib.metadata import DistributionFinder

        try:
            for found in find(DistributionFinder.Context(path=list(path))):
                distribution = Distribution(found.metadata["Name"] or "", found.version or "", "")
                if distribution.name and self._add(distribution):
                    self._entries(distribution, found.read_text("entry_points.txt") or "")
        except Exception as exc:  # noqa: BLE001 - a finder is a stranger's code
            self.notes.append(Note("", f"{source} cannot be searched: {type(exc).__name__}: {exc}"))

    def _metadata(self, folder_name: str, location: str) -> None:
        name, version = _name_and_version(folder_name, location)
        if normalised(name) in self.distributions:
            return  # hidden by an earlier copy: its files need no reading
        fault = ""
        try:
            with open(f"{location}/entry_points.txt", "rb") as file:  # noqa: PTH123 - see folder()
                data = file.read()
        except (FileNotFoundError, NotADirectoryError):
            if _headers_file(location) is None:
                return  # left over: there is no distribution here
            data = b""
        except OSError as exc:
            data, fault = b"", f"entry_points.txt cannot be read: {exc.strerror or exc}"
        if b"llmcore." not in data and b"\0" not in data and not fault:
            self._add(Distribution(name, version, location))
            return
        headers = dict(_headers(location))
        distribution = Distribution(headers.get("name", name), headers.get("version", version), location)
        if not self._add(distribution):
            return
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            text, fault = "", f"entry_points.txt is not UTF-8 text: {exc.reason} at byte {exc.start}"
        if "\0" in text:
            text, fault = "", "entry_points.txt is not text: it holds zero bytes"
        if fault:
            self.notes.append(Note(distribution.name, fault))
        self._entries(distribution, text)

    def _add(self, distribution: Distribution) -> bool:
        key = normalised(distribution.name)
        return self.distributions.setdefault(key, distribution) is distribution

    def _entries(self, distribution: Distribution, text: str) -> None:
        seen: set[tuple[str, str]] = set()
        for number, group, line in _lines(text):
            kind = GROUPS.get(group)
            name, equals, value = (part.strip() for part in line.partition("="))
            if kind is None:
                fault = _group_fault(group, line)
            elif not equals or not name or ":" in name:
                fault = f"`{line}` is no entry of [{group}]: `name = module` is expected"
            elif (kind, name) in seen:
                fault = f"[{group}] names `{name}` twice; the first one counts"
            else:
                seen.add((kind, name))
                self.claims.append(_claim(kind, name, value, distribution))
                continue
            if fault:
                self.notes.append(Note(distribution.name, f"entry_points.txt, line {number}: {fault}"))


def _claim(kind: str, name: str, value: str, distribution: Distribution) -> Claim:
    module, _, attribute = (part.strip() for part in value.partition("[")[0].partition(":"))
    entry, fault = f"{name} = {value}".rstrip(), ""
    if not all(part.isidentifier() for part in module.split(".")):
        fault = f"its entry point `{entry}` names no module"
    elif kind == "commands" and not attribute:
        fault = f"its entry point `{entry}` names no function: `module:function` is expected"
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


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, group, line) of what is neither empty nor a comment nor a sound head of a group."""
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


def _group_fault(group: str, line: str) -> str:
    if not group and line:
        return f"`{line}` belongs to no group"
    if line:
        return ""  # another program's group, or one of which its head told already
    from difflib import get_close_matches

    nearest = get_close_matches(group, GROUPS, n=1, cutoff=0.8)
    return f"[{group}] is no group of llmcore; did you mean [{nearest[0]}]?" if nearest else ""


def _name_and_version(folder_name: str, location: str) -> tuple[str, str]:
    """Read both from the name of the metadata folder, or from inside where it does not say them."""
    stem, suffix = os.path.splitext(folder_name)  # noqa: PTH122 - see folder()
    if suffix == ".egg-info":
        stem = stem.partition("-py")[0]
    name, _, version = stem.rpartition("-")
    if name and folder_name != "EGG-INFO":
        return name, version
    headers = dict(_headers(location))
    return headers.get("name", stem), headers.get("version", "")


def _newest_last(folder_name: str) -> list[tuple[int, str]]:
    """Order versions as people count: 0.10 after 0.9. Two in one folder are left by a broken upgrade."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in folder_name.replace("-", ".").split(".")
    ]


def _headers_file(location: str) -> str | None:
    for name in ("METADATA", "PKG-INFO", ""):
        file = os.path.join(location, name) if name else location  # noqa: PTH118 - see _Search.folder
        if os.path.isfile(file):  # noqa: PTH113 - see _Search.folder
            return file
    return None


def _headers(location: str) -> Iterator[tuple[str, str]]:
    """Yield (name in lower case, value) of the header of METADATA; nothing where it cannot be read."""
    file = _headers_file(location)
    if file is None:
        return
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:  # noqa: PTH123 - see _Search.folder
            for line in lines:
                if not line.strip():
                    return
                key, colon, value = line.partition(":")
                if colon and value.strip():
                    yield key.strip().lower(), value.strip()
    except OSError:
        return


def _leading_name(requirement: str) -> str:
    for index, character in enumerate(requirement):
        if not (character.isalnum() or character in "-_."):
            return requirement[:index]
    return requirement


def _module_of(finder: object) -> str:
    return str(getattr(finder, "__module__", "")).partition(".")[0]


def _path_finder() -> Callable[[Any], Iterable[ForeignDistribution]]:
    from importlib.metadata import MetadataPathFinder

    return MetadataPathFinder.find_distributions
