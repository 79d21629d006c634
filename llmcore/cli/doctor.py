"""`llmcore doctor`: check everything that is installed and configured, and print a fix for each fault."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from llmcore.cli.config_faults import find_faults, list_places
from llmcore.cli.instances import find_instances
from llmcore.cli.parser import COMMANDS
from llmcore.cli.probe import ProbeResult, probe
from llmcore.cli.sdk_versions import compare_versions
from llmcore.cli.show import Paint, print_json, put
from llmcore.cli.streams import get_stdout
from llmcore.install_lines import find_foreign_llmcore, make_repair_line
from llmcore.plugins import Catalogue
from llmcore.support.path_kinds import PathKind, classify_path

__all__ = ["configure", "run"]

_BROKEN = 6
"""The exit code if a check fails."""


class _Finding(NamedTuple):
    """The result of one check."""

    what: str
    ok: bool
    text: str
    fix: str | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `doctor`."""
    from llmcore.cli.command_helpers import parse_seconds

    parser.epilog = "The exit code is 6 if something is broken."
    parser.add_argument(
        "--limit",
        metavar="TIME",
        type=parse_seconds,
        default=20.0,
        help="time limit for loading one plugin; default: 20s",
    )
    parser.add_argument("--offline", action="store_true", help="contact no server and write to no storage")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run all checks. Print each finding at once."""
    paint = Paint.for_stream(get_stdout(), no_color=args.no_color)
    findings: list[_Finding] = []
    for finding in _find_all(args):
        findings.append(finding)
        if not args.json:
            mark = paint("green", "ok    ") if finding.ok else paint("red", "broken")
            put(f"{mark}  {paint('bold', finding.what)}: {finding.text}")
            if finding.fix:
                put(f"        fix: {paint('green', finding.fix)}")
            get_stdout().flush()
    broken = sum(not finding.ok for finding in findings)
    if args.json:
        print_json(ok=not broken, findings=[finding._asdict() for finding in findings])
    else:
        put(f"\n{_count_text(broken, 'thing')} to mend" if broken else "\nAll is well.")
    return _BROKEN if broken else 0


def _find_all(args: argparse.Namespace) -> Iterator[_Finding]:
    from llmcore import __version__

    version = ".".join(map(str, sys.version_info[:3]))
    yield _Finding("llmcore", ok=True, text=f"{__version__} on Python {version}, {sys.platform}")
    foreign = find_foreign_llmcore(*sys.path)
    if foreign is not None:
        text = f"the distribution {foreign} is another project, and its files replace those of llmcore-host"
        yield _Finding("llmcore", ok=False, text=text, fix=make_repair_line())
    yield from _check_plugins(args.limit)
    yield from _check_versions()
    yield from _check_instances(args)
    configured = [*_check_configuration(args)]
    yield from configured
    if not args.offline:
        yield from _try_cache(args)
        if all(finding.ok for finding in configured):
            yield from _check_servers(args)
    yield from _check_folders(args)


def _check_plugins(limit_s: float) -> Iterator[_Finding]:
    catalogue = Catalogue(commands=COMMANDS)
    for row in catalogue.list_plugins():
        what = f"{row.kind} {row.name}"
        owner = f"{row.distribution} {row.version}".rstrip()
        if row.state == "built in":
            yield _Finding(what, ok=True, text="built in")
        elif row.state in {"shadowed", "blocked"}:  # the plugin is inactive, so this is not a fault
            yield _Finding(what, ok=True, text=f"{owner}, {row.state}: {row.why}")
        elif row.state == "conflict":
            yield _Finding(what, ok=False, text=f"{owner}: {row.why}", fix=row.fix or None)
        else:
            found: ProbeResult = probe(row.kind, f"{row.distribution}:{row.name}", limit_s)
            yield _Finding(
                what, ok=found.ok, text=f"{owner}{', ' if found.ok else ': '}{found.text}", fix=found.fix
            )
    for each in catalogue.get_notes():
        yield _Finding(
            "metadata", ok=False, text=f"{each.distribution}: {each.text}" if each.distribution else each.text
        )


def _check_versions() -> Iterator[_Finding]:
    """Compare the installed dependencies of our distributions with the tested versions."""
    installed = {row.distribution for row in Catalogue().list_plugins()}
    for distribution in ("llmcore-host", *sorted(installed - {"llmcore-host"})):
        for each in compare_versions(distribution):
            yield _Finding(f"versions for {distribution}", ok=each.ok, text=each.text, fix=each.fix)


def _check_instances(args: argparse.Namespace) -> Iterator[_Finding]:
    catalogue = Catalogue()
    for each in find_instances(args):
        error = catalogue.find_missing(each.kind, each.used)
        text = f"an instance of `{each.used}`, {each.where}"
        if error is not None:
            text = f"{text}: {error.message}"
        yield _Finding(f"{each.kind} {each.name}", ok=error is None, text=text)


def _check_configuration(args: argparse.Namespace) -> Iterator[_Finding]:
    faults = find_faults(args.config, args.profile)
    if not faults:
        yield _Finding("configuration", ok=True, text="no fault, and no key is missing")
    for fault in faults:
        where = f"{fault.where}: " if fault.where else ""
        yield _Finding(
            "configuration", ok=False, text=f"{where}{fault.message} ({fault.code})", fix=fault.fix
        )


def _check_servers(args: argparse.Namespace) -> Iterator[_Finding]:
    """Contact the servers, storage and ledger in use; see `llmcore.cli.connection_checks`."""
    from llmcore.cli.connection_checks import check_all
    from llmcore.core import load

    with load(args.config, profile=args.profile) as core:
        for contact in check_all(core):
            yield _Finding(*contact)


def _try_cache(args: argparse.Namespace) -> Iterator[_Finding]:
    from llmcore.cli.cache_self_test import find_failing_operations

    tried = find_failing_operations(args.config, args.profile, args.limit)
    if tried is None:
        return
    name, failing, fix = tried
    if not failing:
        yield _Finding(f"cache {name}", ok=True, text="every operation works")
    for operation, why in failing.items():
        yield _Finding(f"cache {name}", ok=False, text=f"`{operation}` is unavailable: {why}", fix=fix)


def _check_folders(args: argparse.Namespace) -> Iterator[_Finding]:
    for place in list_places(args.config):
        if place["name"] not in {"cache", "state"}:
            continue
        what = f"{place['name']} folder"
        if place["path"] is None:
            yield _Finding(
                what,
                ok=False,
                text="the user has no home directory",
                fix=f"export XDG_{place['name'].upper()}_HOME=/path/to/a/folder",
            )
            continue
        fault = _find_write_fault(Path(place["path"]))
        text = fault or f"{place['path']} can be written"
        yield _Finding(what, ok=not fault, text=text, fix=_make_repair_line(place["path"]) if fault else None)


def _find_write_fault(folder: Path) -> str:
    """Return why *folder* cannot be written; empty if it is writable. A missing folder is not created."""
    import tempfile

    nearest = next(
        parent for parent in (folder, *folder.parents) if classify_path(parent) is not PathKind.ABSENT
    )
    if classify_path(nearest) is PathKind.NO_PERMISSION:
        return f"{folder} cannot be reached: Permission denied"
    if classify_path(nearest) is not PathKind.DIRECTORY:
        return f"{nearest} is not a folder"
    if nearest != folder:
        return "" if os.access(nearest, os.W_OK | os.X_OK) else f"{folder} cannot be created in {nearest}"
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror or type(error).__name__}"
    return ""


def _make_repair_line(path: str) -> str | None:
    return None if sys.platform == "win32" else f"mkdir -p {path} && chmod u+rwx {path}"


def _count_text(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
