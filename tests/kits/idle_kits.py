"""Find the conformance kits that a run of pytest has skipped as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

__all__ = ["find_idle_kits"]


def find_idle_kits(report: Path, files: Sequence[str]) -> list[str]:
    """Return the classes and files of *files* of which no test passed in pytest's *report*, with their reasons.

    A file without any test in the report was left out on purpose, by `-k` or `-m`. At least one file must have a test.
    """
    modules = {_name_module(file) for file in files}
    reasons: dict[str, list[str]] = {}
    passed: set[str] = set()
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest wrote it
        name = case.attrib["classname"] or case.attrib["name"]  # a skipped file has only the name
        skipped = case.find("skipped")
        file = next((each for each in files if f"{name}.".startswith(f"{_name_module(each)}.")), None)
        if file is None:
            continue
        for kit in {name, _name_module(file)}:
            reasons.setdefault(kit, [])
            if skipped is None:
                passed.add(kit)
            else:
                reasons[kit].append(_find_reason(skipped))
    if not reasons:
        return [f"no test of {', '.join(files)} ran"]
    return [
        f"{kit}: no test ran, {len(found)} were skipped: {'; '.join(sorted(set(found)))}"
        for kit, found in sorted(reasons.items())
        if kit not in passed and (kit in modules or kit.rpartition(".")[0] in passed)
    ]


def _find_reason(skipped: ET.Element) -> str:
    said = skipped.attrib.get("message", "")
    return (skipped.text or "").strip("()'") if said == "collection skipped" else said


def _name_module(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")
