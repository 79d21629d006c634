"""Half of the broken backends of each kind come from public reports, and each is found by a named test."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "broken_backends"
KINDS = {
    "llm": ("llm", "llm_content", "counting", "embeddings", "timing", "upstream"),
    "cache": ("cache", "cache_abilities", "cache_expiry", "cache_refusals", "server"),
    "storage": ("storage", "storage_abilities", "storage_volume", "storage_shared", "server"),
    "voice": ("voice", "voice_abilities", "voice_content"),
    "ledger": ("ledger", "ledger_counting"),
}
ENOUGH = {"llm": 112, "cache": 107, "storage": 104, "voice": 102, "ledger": 35}
"""The numbers of broken backends."""
TABLES = {
    "base", "cache", "counting", "embeddings", "expiry", "ledger", "llm", "llm_content", "racing", "rate_limits", "refusals", "server", "storage",
    "storage_volume", "timing", "upstream", "voice", "voice_content",
}  # fmt: skip
_STORAGES = (
    "Finds",
    "Lists",
    "LoadsAPart",
    "Saves",
    "StreamsEnd",
    "TakesARefusalForAnOutage",
    "TakesOutagesForMissingFiles",
)
"""The storages of server.py, by the beginnings of their names; the others there are caches."""
REPORT = re.compile(r"[\w.-]+/[\w.-]+#\d+")


def read_tables() -> dict[str, tuple[str, str]]:
    """Return the class and the named test of each broken backend."""
    found: dict[str, Any] = {}
    for name in sorted(TABLES):
        module = importlib.import_module(f"tests.testing.test_conformance_{name}")
        for table in (value for key, value in vars(module).items() if "FOUND_BY" in key):
            found |= table
    return found


def read_docstrings(kind: str, named: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in KINDS[kind]:
        for node in ast.parse((FOLDER / f"{file}.py").read_text()).body:
            if not isinstance(node, ast.ClassDef) or node.name not in named:
                continue
            if file == "server" and node.name.startswith(_STORAGES) != (kind == "storage"):
                continue
            found[f"{file}.{node.name}"] = ast.get_docstring(node) or ""
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_enough_broken_backends_and_half_come_from_public_reports(kind: str) -> None:
    found = read_docstrings(kind, set(read_tables()))
    reported = [name for name, text in found.items() if REPORT.match(text)]
    assert len(found) >= ENOUGH[kind], len(found)
    assert 2 * len(reported) >= len(found), f"{len(reported)} of {len(found)}"


def test_each_broken_backend_has_a_named_test_and_words() -> None:
    for name, (test, words) in read_tables().items():
        assert test.startswith("test_"), name
        assert words.strip(), name
