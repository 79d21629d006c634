"""The pages of the documentation site: links stay inside of it, and each page has a place in the navigation."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
import pytest

from scripts import stage_docs
from scripts.docstring_faults import find_docstring_faults

ROOT = Path(__file__).parents[2]


def stage(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return *text* as a page `docs/guides/x.md` of a copy of the repository would be staged."""
    monkeypatch.setattr(stage_docs, "ROOT", tmp_path)
    for name in (
        "README.md",
        "LICENSE",
        "docs/index.md",
        "plugins/storage_fs/README.md",
        "docs/guides/x.md",
        "docs/a.svg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("# Title\n")
    page = tmp_path / "docs/guides/x.md"
    page.write_text(text)
    return stage_docs.stage(page, "guides/x.md", stage_docs.list_sources())


@pytest.mark.parametrize(
    ("text", "staged"),
    [
        ("[a](../../plugins/storage_fs/README.md#keys)", "[a](../plugins/storage_fs.md#keys)"),
        ("[a](../../plugins/storage_fs)", "[a](../plugins/storage_fs.md)"),
        ("[a](../../README.md)", "[a](../index.md)"),
        ("[a](../../LICENSE)", "a (`LICENSE`)"),
        ("[a](https://example.com/x.md)", "[a](https://example.com/x.md)"),
        ("[a](#here)", "[a](#here)"),
        ("![a](../a.svg)", "![a](../a.svg)"),
        ('<img src="../a.svg" alt="a">', '<img src="../a.svg" alt="a">'),
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


@pytest.mark.parametrize(
    "text", ["![a](none.svg)", '<source srcset="none.svg">', '<img src="none.svg">', "![a](../../LICENSE)"]
)
def test_a_missing_picture_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="is not a file in docs/"):
        stage(text, tmp_path, monkeypatch)


def test_a_picture_of_another_folder_is_found_from_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage("", tmp_path, monkeypatch)
    page = tmp_path / "plugins/storage_fs/README.md"
    page.write_text("![a](../../docs/a.svg)")
    staged = stage_docs.stage(page, "plugins/storage_fs.md", stage_docs.list_sources())
    assert staged == "![a](../a.svg)\n"


@pytest.mark.parametrize(
    ("docstring", "fault"),
    [
        ("Args:\n        x: A number.", None),
        ("Args:\n        y: A number.", "'y' does not appear in the function signature"),
        ("Raises:\n        ValueError: Once.\n        and again.", "and again."),
    ],
)
def test_a_docstring_that_names_no_parameter_is_a_fault(
    docstring: str, fault: str | None, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(f'def buy(x: int) -> None:\n    """Buy.\n\n    {docstring}\n    """\n')
    faults = find_docstring_faults(tmp_path, "shop")
    assert len(faults) == (fault is not None)
    assert fault is None or (f"{tmp_path.name}/shop.py:" in faults[0] and fault in faults[0])


OWN_MEANING = re.compile(r".*[.](?:code|retryable|answered|errno)")
"""Attributes of exceptions, which the base class describes."""


def test_every_attribute_that_an_application_reads_has_a_docstring() -> None:
    loader = griffe.GriffeLoader(search_paths=[ROOT])
    loader.load("llmcore")
    lacking = []
    for page in ("core", "batches", "cache", "storage", "voice", "usage", "types", "units", "errors"):
        for name in stage_docs.list_objects(stage_docs.REFERENCE[page][1]):
            found = loader.modules_collection[name]
            owners = [found] if found.is_class else [found[each] for each in found.exports or ()]
            for owner in owners:
                members = owner.members.items() if owner.is_class else ()
                lacking += [
                    f"{owner.path}.{each}"
                    for each, member in members
                    if not each.startswith("_") and member.is_attribute and member.docstring is None
                ]
    shown = [name for name in lacking if not OWN_MEANING.fullmatch(name)]
    assert [name for name in shown if name.rpartition(".")[2] not in stage_docs.INTERNAL] == []


def list_pages(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for item in nav.values() if isinstance(nav, dict) else nav:
            yield from list_pages(item)


def test_every_page_is_in_the_navigation(tmp_path: Path) -> None:
    stage_docs.main(tmp_path / "docs")
    staged = {str(path.relative_to(tmp_path / "docs/pages")) for path in (tmp_path / "docs").rglob("*.md")}
    named = list(list_pages(tomllib.loads((ROOT / "docs/zensical.toml").read_text())["project"]["nav"]))
    linked = {name for name in staged if re.match(r"decisions/0|plugins/.*-changelog", name)}
    assert sorted(named) == sorted(staged - linked)


@pytest.mark.parametrize("page", ["architecture.md", "files.md"])
def test_each_file_that_a_page_names_exists(page: str) -> None:
    folders = [
        ROOT / "llmcore",
        *ROOT.glob("plugins/*/llmcore_*"),
        *ROOT.glob("plugins/*/tests"),
        ROOT / "tests",
    ]
    known = {str(path.relative_to(ROOT)) for folder in folders for path in folder.rglob("*.*")}
    names = re.findall(r"`([\w./-]+\.(?:py|sql))`", (ROOT / "docs" / page).read_text())
    assert len(names) > 50
    assert [name for name in names if not any(f"/{path}".endswith(f"/{name}") for path in known)] == []
