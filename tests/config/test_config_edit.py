"""`config set`, `unset` and `init`: one change, nothing else touched, nothing written that would not load."""

from __future__ import annotations

import shlex
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcore.config import load_settings, set_value, unset, write_example
from llmcore.config.keys import format_key
from llmcore.config.line_endings import keep_line_endings
from llmcore.errors import ConfigError

ORIGINAL = """\
# mine
[llm]                      # the model
provider = "echo"          # a word

[llm.openai]
api_key = "env:K"

[cache]
ttl = "1h"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "llmcore.toml"
    path.write_text(ORIGINAL, encoding="utf-8")
    return path


def read_tree(path: Path) -> Any:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def test_one_word_changes_and_everything_else_stays(file: Path) -> None:
    set_value(file, "llm.provider", "openai")
    assert file.read_text() == ORIGINAL.replace('"echo"  ', '"openai"  ')


def test_new_keys_and_tables_are_added(file: Path) -> None:
    set_value(file, "llm.model", "gpt-5.6-luna")
    set_value(file, "cache.redis.url", "redis://x")
    set_value(file, "retry.attempts", "2")
    set_value(file, "models.safe", '["openai:a", "echo:b"]')
    set_value(file, "profiles.prod.cache.provider", "redis")
    loaded = load_settings(file, env={}, profile="prod")
    assert (loaded.llm.model, loaded.retry.attempts) == ("gpt-5.6-luna", 2)
    assert loaded.models["safe"] == ("openai:a", "echo:b")
    assert loaded.get_table("cache", "redis") == {"url": "redis://x"}
    assert loaded.get_table("llm", "openai") == {"api_key": "env:K"}
    assert loaded.cache.provider == "redis"
    assert "# a word" in file.read_text()


def test_a_new_file_is_readable_only_by_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "new/llmcore.toml"
    set_value(file, "llm.provider", "openai")
    assert read_tree(file) == {"llm": {"provider": "openai"}}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_mode_and_a_link_are_kept_without_temporary_files(file: Path) -> None:
    file.chmod(0o644)
    link = file.parent / "link.toml"
    link.symlink_to(file)
    set_value(link, "llm.provider", "openai")
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert read_tree(file)["llm"]["provider"] == "openai"
    assert sorted(file.parent.iterdir()) == [link, file]


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("cache.ttl", "2 parsecs", '`ttl` must be a duration, got "2 parsecs"'),
        ("cache.tll", "1h", "unknown key `tll` in [cache]"),
        ("cahce.ttl", "1h", "unknown section [cahce]"),
        ("retry.attempts", "0", "`attempts` must be a whole number of at least 1, got 0"),
        ("models.a", '["a"]', "models.a refers to itself: a -> a"),
        ("budget.limit", "5 EUR", '`limit` must be an amount in USD or characters, got "5 EUR"'),
        ("budget.per", "day", "`limit` is missing in [budget]"),
        (
            "budgets.1.limit",
            "5",
            "llmcore cannot write budgets.1.limit: the list is too short: this entry would leave a gap",
        ),
        ("cache", "redis", '`cache` must be a table, got "redis"'),
    ],
)
def test_an_invalid_value_is_rejected_and_changes_nothing(
    key: str, text: str, message: str, file: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        set_value(file, key, text)
    assert caught.value.message == message
    assert file.read_text() == ORIGINAL


@pytest.mark.parametrize("key", ["", ".", "a..b", "llm.", 'prices."x'])
def test_an_invalid_key_is_rejected(key: str, file: Path) -> None:
    with pytest.raises(ConfigError, match="a key must be"):
        set_value(file, key, "x")


@pytest.mark.parametrize(
    "text",
    [
        '[llm]\nprovider = "openai"\nmodle = "gpt-5.6-luna"  # ours\n',
        '[cache]\nttl = "2 parsecs"\n',
        "[retry]\nattempts = 0\n",
        'cache = "redis"\n',
        'model = "x"\n',
        "[budget]\nlmit = 3\n",
        '[budget]\nper = "day"\n',
        '[budget]\nlimit = 3\nper = "week"\n',
        '[budget]\nlimit = 3\nmodel = "openai:x"\n',
        '[budget]\nlimit = 3\n[[budgets]]\nlimit = 4\n[[budgets]]\nlimit = "1"\ntag = "a"\n',
        '[[budgets]]\nlimit = 3\nmdel = "openai:x"\n[[budgets]]\ntag = "b"\nlimit = "5 EUR"\n',
        '[[budgets]]\nlimit = 1\n[[budgets]]\ntag = "a"\n[cache]\neviction = "fifo"\n',
        'budgets = [{ limit = 1 }, { limit = 2, per = "week" }]\n',
        "[limits]\nconcurrency = 0\n[limits.openai]\ntoken_per_minute = 5\n[limits.':x']\nconcurrency = 1\n",
        '[ledger]\ndurability = "none"\nenabled = "yes"\npth = "x"\n',
        '[cache]\neviction = "fifo"\n',
        '[profiles.prod.cache]\nprvider = "redis"\n',
        '[models]\nfast = "gpt"\n',
        '[models]\nsafe = ["openai:a", "fsat"]\nfast = "openai:b"\n',
        '[models]\na = "b"\nb = "a"\n',
        '[prices."openai:x"]\ninput = -1\noutput = 1\n',
        '[prices."openai:x"]\ninput = 1\n',
        '[llm]\nmodle = "a"\n[cache]\ntll = "1h"\n[retry]\nattempts = "four"\n',
    ],
)
def test_the_line_that_an_error_proposes_mends_the_file(text: str, tmp_path: Path) -> None:
    file = tmp_path / "llmcore.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(file, env={})
    for fault in caught.value.faults or (caught.value,):
        assert fault.fix is not None
        for command in fault.fix.split(" && "):
            llmcore, option, named, config, verb, *arguments = shlex.split(command)
            assert (llmcore, option, named, config) == ("llmcore", "--config", str(file), "config")
            if verb == "set":
                set_value(file, *arguments)
            else:
                assert unset(file, *arguments)
    load_settings(file, env={})


def test_a_misspelt_key_is_renamed_in_its_place_with_its_comment(tmp_path: Path) -> None:
    file = tmp_path / "llmcore.toml"
    file.write_text('[llm]\nmodle = "a" # ours\nprovider = "openai"\n\n[llm.openai]\nx = 1\n')
    set_value(file, "llm.model", "b")
    assert file.read_text() == '[llm]\nmodel = "b" # ours\nprovider = "openai"\n\n[llm.openai]\nx = 1\n'


def test_in_a_pyproject_the_key_goes_below_tool_llmcore(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nname = "x"\n')
    set_value(file, "llm.provider", "openai")
    assert read_tree(file) == {"project": {"name": "x"}, "tool": {"llmcore": {"llm": {"provider": "openai"}}}}
    assert unset(file, "llm.provider")
    assert load_settings(env={}, cwd=tmp_path).llm.provider == "echo"


def test_unset_removes_a_key_or_table_and_returns_whether_it_existed(file: Path) -> None:
    assert unset(file, "llm.openai")
    assert unset(file, "cache.ttl")
    assert not unset(file, "cache.ttl")
    assert not unset(file.parent / "gone.toml", "cache.ttl")
    assert read_tree(file) == {"llm": {"provider": "echo"}, "cache": {}}


def test_a_file_that_is_not_toml_is_not_edited(file: Path) -> None:
    file.write_text("[llm\n")
    with pytest.raises(ConfigError, match="not TOML"):
        set_value(file, "llm.provider", "openai")
    assert file.read_text() == "[llm\n"


def test_an_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "in_the_way").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_example(tmp_path / "in_the_way/llmcore.toml")


def test_the_example_loads_and_is_never_written_over_a_file(tmp_path: Path) -> None:
    file = tmp_path / "llmcore.toml"
    write_example(file)
    assert load_settings(file, env={}).llm.provider == "echo"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("# mine")
    with pytest.raises(ConfigError, match="the configuration file already exists"):
        write_example(file)
    assert file.read_text() == "# mine"


def test_the_example_loads_with_every_line_of_it_switched_on(tmp_path: Path) -> None:
    file = tmp_path / "llmcore.toml"
    write_example(file)
    lines = file.read_text().splitlines()[2:]
    text = "\n".join(line.removeprefix("# ") for line in lines)
    file.write_text(text)
    loaded = load_settings(file, env={}, profile="prod")
    assert loaded.models["safe"] == ("openai:gpt-6-sol", "anthropic:claude-sonnet-5")


names = st.text("abcdefgh-_.:\u00e9 ", min_size=1, max_size=8).filter(lambda name: name.strip() == name)
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)


@pytest.mark.slow
@given(name=names, option=names, word=words, number=st.integers(-(10**9), 10**9))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_set_value_is_read_back(name: str, option: str, word: str, number: int, tmp_path: Path) -> None:
    file = tmp_path / "llmcore.toml"
    file.write_text(ORIGINAL)
    key = format_key(("cache", "x" + name, "o" + option))
    set_value(file, key, f"<{word}>")
    assert load_settings(file, env={}).get_table("cache", "x" + name) == {"o" + option: f"<{word}>"}
    set_value(file, key, str(number))
    assert load_settings(file, env={}).get_table("cache", "x" + name) == {"o" + option: number}
    assert unset(file, format_key(("cache", "x" + name)))
    assert read_tree(file) == tomllib.loads(ORIGINAL)


LINES = st.lists(st.sampled_from(["# ours", "", "[llm]  # a word", "ttl_free = 1", "\u00e9 = 2"]), max_size=6)


@given(before=LINES, after=LINES, data=st.data(), mark=st.booleans())
def test_an_unchanged_line_keeps_its_ending(
    before: list[str], after: list[str], data: st.DataObject, *, mark: bool
) -> None:
    endings = [data.draw(st.sampled_from(["\n", "\r\n"])) for _ in before]
    text = "".join(line + ending for line, ending in zip(before, endings, strict=True))
    original = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    assert keep_line_endings(original, "".join(f"{line}\n" for line in before)) == original
    written = keep_line_endings(original, "".join(f"{line}\n" for line in [*before, *after]))
    assert written.startswith(original)
    assert written.decode("utf-8-sig").replace("\r\n", "\n") == "".join(f"{x}\n" for x in [*before, *after])
    if before and set(endings) == {"\r\n"}:
        assert written.count(b"\n") == written.count(b"\r\n")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
def test_windows_endings_and_the_byte_order_mark_stay(mark: bytes, file: Path) -> None:
    original = mark + ORIGINAL.replace("\n", "\r\n").encode()
    file.write_bytes(original)
    set_value(file, "cache.ttl", "2h")
    assert file.read_bytes() == original.replace(b'"1h"', b'"2h"')
    unset(file, "cache.ttl")
    assert file.read_bytes() == original.replace(b'ttl = "1h"\r\n', b"")


@pytest.mark.parametrize(
    ("key", "value", "suggestion", "fix"),
    [
        ("llm.provider", "opnai", "openai", "llmcore config set llm.provider openai"),
        ("cache.provider", "fiel", "file", "llmcore config set cache.provider file"),
        ("voice.fallback", '["openia"]', "openai", "llmcore config set voice.fallback '[\"openai\"]'"),
        ("models.fast", "opnai:gpt-4o", "openai:gpt-4o", "llmcore config set models.fast openai:gpt-4o"),
        ("models.fast", "zork:gpt-4o", "echo:zork:gpt-4o", "llmcore config set models.fast echo:zork:gpt-4o"),
        ("budgets.0.model", "opnai:gpt-4o", "openai:gpt-4o", "llmcore config set budgets.0.model openai:gpt-4o"),
        ("limits.opnai.concurrency", "3", "openai", "[limits.openai]"),
        ("llm.local.use", "opnai", "openai", "llmcore config set llm.local.use openai"),
        ("profiles.prod.llm.provider", "opnai", "openai", "llmcore config set profiles.prod.llm.provider openai"),
    ],
)  # fmt: skip
def test_a_name_that_leads_nowhere_is_not_written(
    tmp_path: Path, key: str, value: str, suggestion: str, fix: str
) -> None:
    file = tmp_path / "llmcore.toml"
    text = "[llm]\nprovider = 'echo'\n[[budgets]]\nlimit = 1\n[profiles.prod.cache]\nttl = '1h'\n"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        set_value(file, key, value)
    assert (caught.value.suggestion, caught.value.fix) == (suggestion, fix)
    assert caught.value.where == f"{file} (not changed)"
    assert file.read_text() == text


def test_a_provider_of_ours_may_be_set_before_it_is_installed(tmp_path: Path) -> None:
    file = tmp_path / "llmcore.toml"
    set_value(file, "cache.provider", "memcached")
    set_value(file, "models.safe", "anthropic:claude-sonnet-5")
    assert "memcached" in file.read_text()


def test_an_instance_is_set_step_by_step(tmp_path: Path, empty_home: Path) -> None:
    file = tmp_path / "llmcore.toml"
    set_value(file, "llm.local.base_url", "http://localhost:8080/v1")
    set_value(file, "llm.local.use", "openai")
    set_value(file, "llm.provider", "local")
    own = empty_home / "config" / "llmcore" / "config.toml"
    set_value(own, "llm.mine.use", "openai")
    set_value(file, "models.fast", "mine:tiny")
    assert load_settings(file).models["fast"] == ("mine:tiny",)


def test_a_file_with_other_wrong_names_can_still_be_changed(tmp_path: Path) -> None:
    file = tmp_path / "llmcore.toml"
    file.write_text("[models]\nfast = 'opnai:x'\n[limits.opnai]\nconcurrency = 1\n")
    set_value(file, "models.fast", "openai:gpt-4o")
    assert "openai:gpt-4o" in file.read_text()
