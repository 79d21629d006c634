"""The guide and the test file that `plugins new` writes name every fixture and setting of the conformance kits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from llmcore_testing import CacheConformance, LLMConformance, StorageConformance, VoiceConformance

ROOT = Path(__file__).parents[2]
KITS: dict[str, type[Any]] = {
    "llm": LLMConformance, "cache": CacheConformance, "storage": StorageConformance, "voice": VoiceConformance,
}  # fmt: skip
KINDS = {"models": "llm", "caches": "cache", "storages": "storage", "voices": "voice"}
OF_THE_KIT = {"must", "kind", "example", "failure", "away", "refusal", "stream_method"}
"""What only the kits set."""
INNER = {"no_threads", "other"}
"""Fixtures that no author overrides."""
METHODS = {"storage": {"plant"}}


def find_settings(kit: type[Any], kind: str) -> set[str]:
    found = set(METHODS.get(kind, ()))
    for base in kit.__mro__:
        for name, value in list(vars(base).items()):
            if name.startswith("_") or name in OF_THE_KIT | INNER:
                continue
            is_fixture = hasattr(value, "_pytestfixturefunction") or "Fixture" in type(value).__name__
            if is_fixture or "ClassVar" in str(getattr(base, "__annotations__", {}).get(name, "")):
                found.add(name)
    return found


def read_table() -> dict[str, set[str]]:
    """Return the names in the guide's table, by kind."""
    text = (ROOT / "docs" / "guides" / "plugins.md").read_text()
    table = text.partition("### Fixtures and settings")[2].partition("The kits of ledgers and engines")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([a-z, ]+) \|", table, re.MULTILINE)

    found: dict[str, set[str]] = {kind: set() for kind in KITS}
    for name, kits in rows:
        for kind in KINDS.values() if kits == "all" else [KINDS[each] for each in kits.split(", ")]:
            found[kind].add(name)
    return found


@pytest.mark.parametrize("kind", KITS)
def test_the_table_of_the_guide_has_the_settings_of_the_kit(kind: str) -> None:
    assert read_table()[kind] == find_settings(KITS[kind], kind)


@pytest.mark.parametrize("kind", KITS)
def test_the_test_file_of_a_new_plugin_lists_them(kind: str) -> None:
    comments = (ROOT / "llmcore" / "cli" / "templates" / f"kit_{kind}.txt").read_text()
    listed = set(re.findall(r"^    # (?:def )?(\w+)(?: =|\()", comments, re.MULTILINE))
    assert listed | {"provider"} == find_settings(KITS[kind], kind)
