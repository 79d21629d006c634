"""Each term of the glossary leads to a file that exists and contains it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TERMS = re.findall(
    r"^\| ([^|]+) \| ([^|]+) \| `([^`|]+)` \|$", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE
)


def test_the_glossary_has_all_its_rows_in_order_and_is_linked() -> None:
    names = [term for term, _, _ in TERMS]
    rows = [line for line in (ROOT / "docs/glossary.md").read_text().splitlines() if line.startswith("|")]
    assert 30 <= len(names) == len(rows) - 2 <= 50
    assert names == sorted(set(names), key=str.lower)
    assert "(glossary.md)" in (ROOT / "docs/architecture.md").read_text()


@pytest.mark.parametrize(("term", "meaning", "file"), TERMS, ids=[term for term, _, _ in TERMS])
def test_a_term_is_explained_and_found_in_its_file(term: str, meaning: str, file: str) -> None:
    assert meaning.endswith(".")
    first_line = (ROOT / file).read_text().split("\n", 1)[0]
    assert re.search(rf"\b{re.escape(term)}\b", first_line, re.IGNORECASE), f"{file} begins with {first_line}"
