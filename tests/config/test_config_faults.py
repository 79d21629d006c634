"""All faults of a file are reported together, each with its place, the expected value and a fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmcore.config import load_settings
from llmcore.config.schema import SECTIONS
from llmcore.config.sources import MAX_BYTES
from llmcore.config.tables import list_table_names
from llmcore.errors import ConfigError


def catch_faults(text: str | bytes, tmp_path: Path, **env: str) -> ConfigError:
    file = tmp_path / "llmcore.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_settings(env=env, cwd=tmp_path)
    return caught.value


def test_an_unknown_key_is_reported_in_the_documented_format(tmp_path: Path) -> None:
    error = catch_faults('[llm]\nprovider = "openai"\nmodle = "gpt-5.6-luna"\n', tmp_path)
    assert error.render() == (
        "error[LC102]: unknown key `modle` in [llm]\n"
        " --> llmcore.toml:3:1\n"
        '3 | modle = "gpt-5.6-luna"\n'
        "  | ^^^^^\n"
        "  = expected: model, provider\n"
        "  = help: did you mean `model`?\n"
        "  = fix: llmcore config set llm.model gpt-5.6-luna"
    )
    assert (error.code, error.where, error.expected, error.suggestion, error.fix) == (
        "LC102",
        "llmcore.toml:3:1",
        "model, provider",
        "model",
        "llmcore config set llm.model gpt-5.6-luna",
    )
    assert isinstance(error, ValueError)


def test_a_bad_duration_points_at_the_value(tmp_path: Path) -> None:
    assert catch_faults('[cache]\nttl = "2 parsecs"', tmp_path).render() == (
        'error[LC104]: `ttl` must be a duration, got "2 parsecs"\n'
        " --> llmcore.toml:2:7\n"
        '2 | ttl = "2 parsecs"\n'
        "  |       ^^^^^^^^^^^\n"
        '  = expected: a number of seconds, or a number and a unit: "500ms", "90s", "10m", "2h", "7d"; or "never"\n'
        "  = fix: llmcore config set cache.ttl 1h"
    )


def test_all_faults_of_all_layers_are_reported_together(tmp_path: Path) -> None:
    error = catch_faults(
        '[llm]\nmodle = "x"\n[cahce]\nttl = 1\n[retry]\nattempts = 0\n[profiles.p.cache]\nttl = -1\n',
        tmp_path,
        LLMCORE__CACHE__TLL="1h",
        LLMCORE__RETRY="5",
    )
    assert [(fault.code, fault.where) for fault in error.faults] == [
        ("LC102", "llmcore.toml:2:1"),
        ("LC102", "llmcore.toml:3:2"),
        ("LC104", "llmcore.toml:6:12"),
        ("LC104", "llmcore.toml:8:7"),
        ("LC102", "LLMCORE__CACHE__TLL"),
        ("LC104", "LLMCORE__RETRY"),
    ]
    assert str(error).startswith(
        "6 faults in the configuration:\n\nerror[LC102]: unknown key `modle` in [llm]\n"
    )


def test_a_misspelt_variable_is_mended_by_a_line_for_the_shell(tmp_path: Path) -> None:
    error = catch_faults("", tmp_path, LLMCORE__CACHE__TLL="1h")
    assert error.fix == "unset LLMCORE__CACHE__TLL; export LLMCORE__CACHE__TTL=1h"


def test_a_misspelt_section_is_reported_with_the_nearest_name(tmp_path: Path) -> None:
    assert catch_faults('[cahce]\nprovider = "redis"\n', tmp_path).render() == (
        "error[LC102]: unknown section [cahce]\n"
        " --> llmcore.toml:1:2\n"
        "1 | [cahce]\n"
        "  |  ^^^^^\n"
        f"  = expected: {', '.join(sorted([*SECTIONS, *list_table_names(), 'profiles']))}\n"
        "  = help: did you mean `cache`?\n"
        "  = fix: [cache]"
    )


def test_a_key_outside_its_section_is_reported_with_the_right_section(tmp_path: Path) -> None:
    error = catch_faults('model = "x"\n', tmp_path)
    assert error.suggestion == "llm.model"
    assert error.fix == "llmcore config unset model && llmcore config set llm.model x"


def test_an_unknown_eviction_is_reported_with_the_known_ones(tmp_path: Path) -> None:
    error = catch_faults('[cache]\neviction = "fifo"\n', tmp_path)
    assert error.message == '`eviction` must be "lru" or "lfu", got "fifo"'
    assert (
        error.expected
        == '"lru", evict the least recently used entry; or "lfu", evict the least frequently used entry'
    )
    assert error.fix == "llmcore config set cache.eviction lru"


def test_a_loop_in_models_is_reported_with_both_ends(tmp_path: Path) -> None:
    error = catch_faults(
        '[models]\nfast = ["openai:a", "smart"]\nsmart = "fast"\nother = "smart"\n', tmp_path
    )
    assert error.render() == (
        "error[LC105]: models.fast refers to itself: fast -> smart -> fast\n"
        " --> llmcore.toml:3:9\n"
        '3 | smart = "fast"\n'
        "  |         ^^^^^^\n"
        "  = expected: a chain that ends in models\n"
        "  = note: models.fast is at llmcore.toml:2:1\n"
        "  = fix: llmcore config set models.smart echo:MODEL"
    )


def test_a_model_without_its_provider_is_reported(tmp_path: Path) -> None:
    error = catch_faults(
        '[llm]\nprovider = "openai"\n[models]\nfast = "gpt"\nsafe = ["openai:a", "fsat"]\n', tmp_path
    )
    first, second = error.faults
    assert first.message == '`fast` in [models] must refer to a model, got "gpt"'
    assert first.fix == "llmcore config set models.fast openai:gpt"
    assert (second.where, second.suggestion) == ("llmcore.toml:5:21", "fast")
    assert second.fix == """llmcore config set models.safe '["openai:a", "fast"]'"""


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ("[retry]\nattempts = true", "`attempts` must be a whole number of at least 1, got true", "2:12"),
        ("[retry]\nattempts = 1.5", "`attempts` must be a whole number of at least 1, got 1.5", "2:12"),
        ("[retry]\ndeadline = 0", "`deadline` must be a duration, got 0", "2:12"),
        ("[retry]\nidle = nan", "`idle` must be a duration, got nan", "2:8"),
        ("[retry]\nidle = inf", "`idle` must be a duration, got inf", "2:8"),
        ("[cache]\nttl = -5", "`ttl` must be a duration, got -5", "2:7"),
        ("[cache]\nttl = 0", "`ttl` must be a duration, got 0", "2:7"),
        ('[cache]\nmax_size = "1 heap"', '`max_size` must be a size, got "1 heap"', "2:12"),
        ("[cache]\nmax_size = inf", "`max_size` must be a size, got inf", "2:12"),
        ("[cache]\nprovider = 5", "`provider` must be text, got 5", "2:12"),
        ('[llm]\nmodel = ""', '`model` must be text, got ""', "2:9"),
        ("[llm.model]\nx = 1", "`model` must be text, got { x = 1 }", "1:6"),
        ("[models]\nfast = []", "`fast` must be a model or a list of models, got []", "2:8"),
        ('[models]\nfast = ["a:b", 3]', "`fast` must be a model or a list of models, got 3", "2:16"),
        ('[models]\nfast = ":b"', '`fast` must be a model or a list of models, got ":b"', "2:8"),
        ('[models]\nfast = "a:"', '`fast` must be a model or a list of models, got "a:"', "2:8"),
        ('[observers]\nuse = "log"', '`use` must be a list of names, got "log"', "2:7"),
        ('[prices."a:b"]\ninput = -1\noutput = 1', "`input` must be a price, got -1", "2:9"),
        ('[prices."a:b"]\ninput = 1\noutput = nan', "`output` must be a price, got nan", "3:10"),
        ('[prices."a:b"]\ninput = 1', '`output` is missing in [prices."a:b"]', "1:9"),
        ('[prices."a:b"]\ninput = 1\noutptu = 1', 'unknown key `outptu` in [prices."a:b"]', "3:1"),
        ("[prices.mine]\ninput = 1\noutput = 1", "a name in [prices] must be a model, got `mine`", "1:9"),
        ('cache = "redis"', '`cache` must be a table, got "redis"', "1:9"),
        ('[cache]\nredis = "redis://x"', "unknown key `redis` in [cache]", "2:1"),
        ("[profiles]\nprod = 3", "`prod` must be a profile, got 3", "2:8"),
        ("[profiles.prod.profiles.x]", "unknown section [profiles.prod.profiles]", "1:16"),
        ("retry.attempts = 0", "`attempts` must be a whole number of at least 1, got 0", "1:18"),
        (
            "retry = {idle = 1, attempts = 0}",
            "`attempts` must be a whole number of at least 1, got 0",
            "1:31",
        ),
    ],
)
def test_an_invalid_value_is_reported_with_its_place(
    text: str, message: str, where: str, tmp_path: Path
) -> None:
    error = catch_faults(text, tmp_path)
    assert not error.faults, str(error)
    assert (error.message, error.where) == (message, f"llmcore.toml:{where}")


def test_invalid_toml_is_reported_with_line_and_pointer(tmp_path: Path) -> None:
    assert catch_faults("[llm]\nprovider = openai\n", tmp_path).render() == (
        "error[LC107]: not TOML: invalid value\n"
        " --> llmcore.toml:2:12\n"
        "2 | provider = openai\n"
        "  |            ^\n"
        '  = expected: [section] or key = value, with text in quotes: provider = "openai"\n'
        '  = fix: provider = "openai"'
    )


def test_toml_that_breaks_off_points_at_its_end(tmp_path: Path) -> None:
    error = catch_faults("[cache]\nttl =\n\n", tmp_path)
    assert error.code == "LC107"
    assert error.where == "llmcore.toml:2:6"
    error = catch_faults("[models]\na = [\n'x:y'\n", tmp_path)
    assert (error.message, error.where) == ("not TOML: unclosed array", "llmcore.toml:3:6")


def test_a_file_that_is_not_utf8_is_reported_with_the_byte(tmp_path: Path) -> None:
    error = catch_faults(b'[llm]\n# caf\xe9\nprovider = "echo"\n', tmp_path)
    assert (error.code, error.where) == ("LC107", "llmcore.toml:2:6")
    assert error.message == "the file is not UTF-8: byte 0xe9"
    error = catch_faults('[llm]\nprovider = "echo"\n'.encode("utf-16"), tmp_path)
    assert error.message == "the file is not UTF-8, but UTF-16"


def test_a_huge_file_a_folder_and_deep_nesting_are_refused(tmp_path: Path) -> None:
    assert "too large" in catch_faults(b"# " + b"x" * MAX_BYTES, tmp_path).message
    assert "nested too deeply" in catch_faults("x = " + "[" * 100_000, tmp_path).message
    with pytest.raises(ConfigError, match="the configuration file must be a file, got a directory"):
        load_settings(str(tmp_path), env={}, cwd=tmp_path)


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "llmcore/config.toml").mkdir(parents=True)
    with pytest.raises(ConfigError) as caught:
        load_settings({}, env={"XDG_CONFIG_HOME": str(tmp_path)}, cwd=tmp_path)
    assert caught.value.message == "the configuration file cannot be read: it is a directory"
    assert caught.value.where == "llmcore/config.toml"


def test_long_lines_are_cut_around_the_fault_and_control_characters_do_not_reach_the_terminal(
    tmp_path: Path,
) -> None:
    error = catch_faults(f'[cache]\nnamespace = "{"x" * 300}", ttl = 5', tmp_path)
    assert error.excerpt is not None
    assert all(len(line) < 110 for line in error.excerpt.splitlines())
    error = catch_faults("[llm]\nmodle = 'a\u202eb\x7f'" + "\n", tmp_path)
    assert error.code == "LC107"
    error = catch_faults("[llm]\nmodle = 'a\u202eb'" + "\n", tmp_path)
    assert "\u202e" not in (error.excerpt or "")


def test_the_pointer_is_below_its_key_after_wide_characters(tmp_path: Path) -> None:
    error = catch_faults('llm = { "\u6a21\u578b" = 1 }', tmp_path)
    assert error.excerpt == '1 | llm = { "\u6a21\u578b" = 1 }\n  |         ^^^^^^'


@pytest.mark.parametrize(
    ("source", "message", "where"),
    [
        ({"llm": {"modle": "x"}}, "unknown key `modle` in [llm]", '["llm"]["modle"]'),
        ({"llm": "openai"}, '`llm` must be a table, got "openai"', '["llm"]'),
        ({"cache": {"ttl": object}}, "`ttl` must be a duration, got <class 'object'>", '["cache"]["ttl"]'),
        ({3: {}}, "a key of the configuration must be text, got 3", ""),
        ({"models": []}, "`models` must be a table, got []", '["models"]'),
        (
            {"prices": {"a:b": {"input": float("nan"), "output": 1}}},
            "`input` must be a price, got nan",
            '["prices"]["a:b"]["input"]',
        ),
    ],
)
def test_a_dict_is_checked_like_a_file(source: Any, message: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(source, env={})
    assert (caught.value.message, caught.value.where) == (message, f"load(...){where}")


def test_an_invalid_source_is_rejected() -> None:
    with pytest.raises(ConfigError, match="the configuration must be a path, a dict or None, got int"):
        load_settings(3, env={})  # type: ignore[arg-type]


def test_variables_without_a_key_or_in_conflict_are_reported(tmp_path: Path) -> None:
    error = catch_faults("", tmp_path, LLMCORE__="x", LLMCORE__LLM__ECHO="1", LLMCORE__LLM__ECHO__X="2")
    assert [fault.where for fault in error.faults] == [
        "LLMCORE__",
        "LLMCORE__LLM__ECHO__X",
        "LLMCORE__LLM__ECHO",
    ]


def test_fixes_for_the_user_file_change_that_file(tmp_path: Path) -> None:
    file = tmp_path / "llmcore/config.toml"
    file.parent.mkdir()
    file.write_text('[llm]\nmodle = "x"\n')
    with pytest.raises(ConfigError) as caught:
        load_settings({}, env={"XDG_CONFIG_HOME": str(tmp_path)})
    assert caught.value.fix == "llmcore config set --user llm.model x"
