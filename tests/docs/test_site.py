"""The pages of the documentation site: links stay inside of it, and each page has a place in the navigation."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts import stage_docs

ROOT = Path(__file__).parents[2]


def stage(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return *text* as a page `docs/guides/x.md` of a copy of the repository would be staged."""
    monkeypatch.setattr(stage_docs, "ROOT", tmp_path)
    for name in ("README.md", "LICENSE", "docs/index.md", "plugins/storage_fs/README.md", "docs/guides/x.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("# Title\n")
    page = tmp_path / "docs/guides/x.md"
    page.write_text(text)
    return stage_docs.stage(page, "guides/x.md", stage_docs.sources())


@pytest.mark.parametrize(
    ("text", "staged"),
    [
        ("[a](../../plugins/storage_fs/README.md#keys)", "[a](../plugins/storage_fs.md#keys)"),
        ("[a](../../plugins/storage_fs)", "[a](../plugins/storage_fs.md)"),
        ("[a](../../README.md)", "[a](../index.md)"),
        ("[a](../../LICENSE)", "a (`LICENSE`)"),
        ("[a](https://example.com/x.md)", "[a](https://example.com/x.md)"),
        ("[a](#here)", "[a](#here)"),
        ("```text\n[a](none.md)\n```", "```text\n[a](none.md)\n```"),
        ("```python poet.py\n```", '```python title="poet.py"\n```'),
        ("```text output\n```", "```text\n```"),
    ],
)
def test_a_page_is_written_as_the_generator_wants_it(
    text: str, staged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stage(text, tmp_path, monkeypatch) == staged + "\n"


def test_a_link_to_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="leads to no file"):
        stage("[a](none.md)", tmp_path, monkeypatch)


def pages_of(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for item in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of(item)


def test_every_page_is_in_the_navigation(tmp_path: Path) -> None:
    stage_docs.main(tmp_path / "docs")
    staged = {str(path.relative_to(tmp_path / "docs/pages")) for path in (tmp_path / "docs").rglob("*.md")}
    named = list(pages_of(tomllib.loads((ROOT / "docs/zensical.toml").read_text())["project"]["nav"]))
    linked = {name for name in staged if re.match(r"decisions/0|plugins/.*-changelog", name)}
    assert sorted(named) == sorted(staged - linked)


def test_the_reference_covers_every_public_name() -> None:
    import llmcore

    text = "\n".join(stage_docs.reference(heading, names) for heading, names in stage_docs.REFERENCE.values())
    modules = [getattr(llmcore, name) for name in ("types", "errors")]
    from llmcore import hookspecs

    inside = {name for module in (*modules, hookspecs) for name in module.__all__}
    public = set(llmcore.__all__) - inside - {"__version__"}
    assert [
        name for name in sorted(public) if not re.search(rf"::: llmcore\.{name}$", text, re.MULTILINE)
    ] == []
