"""Characters that no editor shows, pasted into a configuration file, are named with line and code point."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import llmcore
from llmcore.config import load_settings
from llmcore.errors import ConfigError, LLMCoreError

INVISIBLE = {
    "\u200b": "U+200B ZERO WIDTH SPACE",
    "\ufeff": "U+FEFF ZERO WIDTH NO-BREAK SPACE",
    "\u00a0": "U+00A0 NO-BREAK SPACE",
    "\u00ad": "U+00AD SOFT HYPHEN",
    "\u2028": "U+2028 LINE SEPARATOR",
    "\u202e": "U+202E RIGHT-TO-LEFT OVERRIDE",
    "\x07": "U+0007 a control character",
}
PLACES = {
    "before the key": ("{}ttl = '2h'", 1),
    "after the key": ("ttl{} = '2h'", 4),
    "before the value": ("ttl ={}'2h'", 6),
    "after the value": ("ttl = '2h'{}", 11),
    "before a section": ("{}[storage]", 1),
    "after a section": ("[storage]{}", 10),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("character", INVISIBLE, ids=ascii)
def test_an_invisible_character_is_named_with_its_line(character: str, place: str, tmp_path: Path) -> None:
    line, column = PLACES[place]
    file = tmp_path / "llmcore.toml"
    file.write_text(f"[cache]\n# a comment\n{line.format(character)}\n", encoding="utf-8", newline="")
    with pytest.raises(ConfigError) as caught:
        load_settings(env={}, cwd=tmp_path)
    assert caught.value.code == "LC107"
    assert caught.value.message == f"not TOML: line 3 contains the invisible character {INVISIBLE[character]}"
    assert caught.value.where == f"llmcore.toml:3:{column}"
    assert character not in str(caught.value)


@pytest.mark.skipif(shutil.which("perl") is None, reason="this system has no perl")
@pytest.mark.parametrize("character", ["\u200b", "\ufeff", "\u00a0"], ids=ascii)
def test_the_fix_that_is_given_works_when_pasted(character: str, tmp_path: Path) -> None:
    file = tmp_path / "llmcore.toml"
    file.write_text(f"[cache]\nttl ={character}'2h'\nnamespace = 'a{character}b'\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(env={}, cwd=tmp_path)
    subprocess.run(["/bin/sh", "-c", str(caught.value.fix)], cwd=tmp_path, check=True)
    settings = load_settings(env={}, cwd=tmp_path)
    assert settings.cache.ttl == 7200
    assert settings.cache.namespace == f"a{character}b", "what stands in quotes on another line is left alone"


def test_the_same_characters_are_welcome_in_quotes_and_comments(tmp_path: Path) -> None:
    (tmp_path / "llmcore.toml").write_text(
        "# \u00a0\u200d\n[cache]\nnamespace = 'a\u200db'\n", encoding="utf-8"
    )
    assert load_settings(env={}, cwd=tmp_path).cache.namespace == "a\u200db"


def test_another_fault_on_the_line_is_reported_separately(tmp_path: Path) -> None:
    (tmp_path / "llmcore.toml").write_text("# \u200b\n[cache]\nttl = 2h\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="not TOML") as caught:
        load_settings(env={}, cwd=tmp_path)
    assert "U+200B" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[cache]\n"ttl\u200b" = "2h"\n', "llmcore.toml:2:1"),
        ('["mod\u200bels"]\nfast = "echo"\n', "llmcore.toml:1:2"),
        ('[cache]\nttl = "\u200b2 hours"\n', "llmcore.toml:2:7"),
        ('[llm]\nprovider = "echo\u200b"\n', "llmcore.toml:2:12"),
    ],
)
def test_one_within_a_name_or_a_value_is_noted(text: str, where: str, tmp_path: Path) -> None:
    file = tmp_path / "llmcore.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(LLMCoreError) as caught, llmcore.load(str(file)) as core:
        core.llm.chat("hi")
    assert "it contains the invisible character U+200B ZERO WIDTH SPACE" in str(caught.value)
    assert str(caught.value.where).endswith(where)
