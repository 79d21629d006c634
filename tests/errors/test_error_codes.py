"""One table has every code of an error: `llmcore explain` and docs/errors.md come from it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

import llmcore.errors
from llmcore.cli import main
from llmcore.error_codes import CODES, GROUPS, render_page
from llmcore.errors import LLMCoreError

ROOT = Path(__file__).parents[2]
SOURCES = [*ROOT.glob("llmcore/**/*.py"), *ROOT.glob("plugins/*/llmcore_*/**/*.py")]


def find_codes() -> set[str]:
    found = {code for path in SOURCES for code in re.findall(r'"(LC\d{3})"', path.read_text("utf-8"))}
    return found | {
        kind.code
        for kind in vars(llmcore.errors).values()
        if isinstance(kind, type) and issubclass(kind, LLMCoreError)
    }


def test_the_table_has_the_codes_that_the_source_raises() -> None:
    assert find_codes() == set(CODES)
    assert list(CODES) == sorted(CODES)
    assert all(code[:3] in GROUPS for code in CODES)


def test_every_class_of_error_is_exported_and_in_the_tree_of_the_docstring() -> None:
    kinds = {
        name
        for name, kind in vars(llmcore.errors).items()
        if isinstance(kind, type) and issubclass(kind, LLMCoreError)
    }
    assert kinds == set(llmcore.errors.__all__)
    tree = (llmcore.errors.__doc__ or "").partition("A call raises")[0]
    assert kinds - set(re.findall(r"\w+", tree)) == set()


def test_the_error_index_of_the_docs_is_the_table() -> None:
    assert (ROOT / "docs" / "errors.md").read_text("utf-8") == render_page()


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", code]) == 0
    shown = capsys.readouterr().out
    assert code in shown
    for text in CODES[code]:
        assert " ".join(text.split()) in " ".join(shown.split())


@pytest.mark.parametrize("given", ["LC604", "lc604", "604", "error[LC604]"])
def test_a_code_is_known_however_it_is_copied(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", given]) == 0
    assert capsys.readouterr().out.startswith("LC604")


@pytest.mark.parametrize(("given", "near"), [("LC614", "LC604"), ("LC6O4", "LC604"), ("LCC604", "LC604")])
def test_an_unknown_code_names_the_nearest_one(
    given: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", given, "--json"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert given in error["message"]
    assert error["suggestion"][:3] == near[:3]
    assert main(shlex.split(error["fix"])[1:]) == 0


def test_the_guide_lists_the_variables_that_users_set() -> None:
    from llmcore.config.variables import READ, find_unread

    page = (ROOT / "docs" / "guides" / "cli.md").read_text("utf-8")
    expected = find_unread({"LLMCORE_NONE": "1"}, [])[0].expected or ""
    names = re.findall(r"LLMCORE_[A-Z]+(?!_)\b", expected)
    assert len(names) > 3
    for name in names:
        assert f"| `{name}` | {READ[name]} |" in page


def test_every_command_in_a_remedy_exists() -> None:
    from llmcore.cli.parser import COMMANDS

    for code, each in CODES.items():
        for command in re.findall(r"`llmcore ([a-z]+)", each.remedy):
            assert command in COMMANDS, code
