"""`llmcore doctor`: tries everything that is installed and configured, and says how to mend what is broken."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from llmcore.cli.checking import faults_of, places
from llmcore.cli.parser import COMMANDS
from llmcore.cli.probe import Probed, probe
from llmcore.cli.show import Paint, print_json
from llmcore.plugins import Catalogue

__all__ = ["configure", "run"]

_BROKEN = 6


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    ok: bool
    text: str
    fix: str | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `doctor` takes."""
    from llmcore.cli.opening import seconds_of

    parser.epilog = "The exit code is 6 when something is broken."
    parser.add_argument(
        "--limit",
        metavar="TIME",
        type=seconds_of,
        default=20.0,
        help="how long one plugin may take to load; 20s",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look at everything, and tell each finding as it comes."""
    paint = Paint.of(sys.stdout, no_color=args.no_color)
    findings: list[Finding] = []
    for finding in _findings(args):
        findings.append(finding)
        if not args.json:
            mark = paint("green", "ok    ") if finding.ok else paint("red", "broken")
            print(f"{mark}  {paint('bold', finding.what)}: {finding.text}")
            if finding.fix:
                print(f"        fix: {paint('green', finding.fix)}")
            sys.stdout.flush()
    broken = sum(not finding.ok for finding in findings)
    if args.json:
        print_json(ok=not broken, findings=[finding._asdict() for finding in findings])
    else:
        print(f"\n{_number(broken, 'thing')} to mend" if broken else "\nAll is well.")
    return _BROKEN if broken else 0


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    from llmcore import __version__

    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("llmcore", ok=True, text=f"{__version__} on Python {version}, {sys.platform}")
    yield from _plugins(args.limit)
    yield from _configuration(args)
    yield from _folders(args)


def _plugins(limit_s: float) -> Iterator[Finding]:
    catalogue = Catalogue(commands=COMMANDS)
    for row in catalogue.listing():
        what = f"{row.kind} {row.name}"
        owner = f"{row.distribution} {row.version}".rstrip()
        if row.state == "built in":
            yield Finding(what, ok=True, text="built in")
        elif row.state in {"shadowed", "blocked"}:  # nobody asked for it to work
            yield Finding(what, ok=True, text=f"{owner}, {row.state}: {row.why}")
        elif row.state == "conflict":
            yield Finding(what, ok=False, text=f"{owner}: {row.why}", fix=row.fix or None)
        else:
            found: Probed = probe(row.kind, f"{row.distribution}:{row.name}", limit_s)
            yield Finding(
                what, ok=found.ok, text=f"{owner}{', ' if found.ok else ': '}{found.text}", fix=found.fix
            )
    for each in catalogue.notes():
        yield Finding(
            "metadata", ok=False, text=f"{each.distribution}: {each.text}" if each.distribution else each.text
        )


def _configuration(args: argparse.Namespace) -> Iterator[Finding]:
    faults = faults_of(args.config, args.profile)
    if not faults:
        yield Finding("configuration", ok=True, text="no fault, and every key is there")
    for fault in faults:
        where = f"{fault.where}: " if fault.where else ""
        yield Finding("configuration", ok=False, text=f"{where}{fault.message} ({fault.code})", fix=fault.fix)


def _folders(args: argparse.Namespace) -> Iterator[Finding]:
    for place in places(args.config):
        if place["name"] not in {"cache", "state"}:
            continue
        fault = _unwritable(Path(place["path"]))
        text = fault or f"{place['path']} can be written"
        yield Finding(
            f"{place['name']} folder", ok=not fault, text=text, fix=_mend(place["path"]) if fault else None
        )


def _unwritable(folder: Path) -> str:
    """Return why nothing can be written there, or nothing; leaves no trace where the folder does not exist yet."""
    import tempfile

    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not nearest.is_dir():
        return f"{nearest} is no folder"
    if nearest != folder:
        return "" if os.access(nearest, os.W_OK | os.X_OK) else f"{folder} cannot be made in {nearest}"
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror or type(error).__name__}"
    return ""


def _mend(path: str) -> str | None:
    return None if sys.platform == "win32" else f"mkdir -p {path} && chmod u+rwx {path}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
