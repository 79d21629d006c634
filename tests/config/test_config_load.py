"""Layers, profiles, the environment, and where each value comes from."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from llmcore.config import Settings, load_settings
from llmcore.errors import ConfigError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home")}


def test_nothing_at_all_gives_the_defaults(tmp_path: Path) -> None:
    for settings in (load_settings(env={}, cwd=tmp_path), load_settings({}, env={})):
        assert (settings.llm.provider, settings.llm.model) == ("echo", None)
        cache = settings.cache
        assert (cache.provider, cache.ttl, cache.namespace, cache.max_size) == (
            "file",
            3600.0,
            "default",
            None,
        )
        assert (settings.storage.provider, settings.voice.provider) == (None, None)
        assert dict(settings.models) == {}
        retry = settings.retry
        assert (retry.attempts, retry.deadline_s, retry.idle_s) == (4, 600.0, 60.0)
        assert dict(settings.prices) == {}
        assert settings.observers == ()


def test_every_section_of_a_file_is_read(tmp_path: Path) -> None:
    write(
        tmp_path / "llmcore.toml",
        """
        [llm]
        provider = "openai"
        model = "gpt-5.6-luna"
        [models]
        fast = "openai:gpt-5.6-luna"
        safe = ["openai:gpt-6-sol", "anthropic:claude-sonnet-5", "fast"]
        [cache]
        ttl = "2h"
        max_size = "1GB"
        namespace = "mine"
        [storage]
        provider = "fs"
        [voice]
        provider = "elevenlabs"
        [prices."openai:my-deployment"]
        input = 0.25
        output = 2
        cached_input = 0.1
        [retry]
        attempts = 2
        deadline = "1m"
        idle = 5
        [observers]
        use = ["log"]
        """,
    )
    settings = load_settings(env={}, cwd=tmp_path)
    assert (settings.llm.provider, settings.llm.model) == ("openai", "gpt-5.6-luna")
    assert dict(settings.models) == {
        "fast": ("openai:gpt-5.6-luna",),
        "safe": ("openai:gpt-6-sol", "anthropic:claude-sonnet-5", "openai:gpt-5.6-luna"),
    }
    assert (settings.cache.ttl, settings.cache.max_size, settings.cache.namespace) == (7200.0, 10**9, "mine")
    assert (settings.storage.provider, settings.voice.provider) == ("fs", "elevenlabs")
    price = settings.prices["openai:my-deployment"]
    assert (price.input, price.output, price.cached_input) == (Decimal("0.25"), Decimal(2), Decimal("0.1"))
    assert price.cache_write is None
    assert (settings.retry.attempts, settings.retry.deadline_s, settings.retry.idle_s) == (2, 60.0, 5.0)
    assert settings.observers == ("log",)


def test_a_ttl_of_never_is_read_as_none() -> None:
    assert load_settings({"cache": {"ttl": "never"}}, env={}).cache.ttl is None


def test_each_layer_wins_over_the_one_before_and_explain_shows_them_all(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    write(tmp_path / ".config/llmcore/config.toml", '[cache]\nprovider = "user"\n')
    work = tmp_path / "work"
    write(
        work / "llmcore.toml",
        '[cache]\nprovider = "project"\n\n[profiles.prod.cache]\nprovider = "profile"\n',
    )
    env["LLMCORE_PROFILE"] = "prod"
    env["LLMCORE__CACHE__PROVIDER"] = "env"
    settings = load_settings(env=env, cwd=work, arguments={"cache": {"provider": "argument"}})
    assert settings.cache.provider == "argument"
    assert [tuple(row) for row in settings.explain("cache.provider")] == [
        ("built-in", None, '"file"', False),
        ("user file", "~/.config/llmcore/config.toml:2:1", '"user"', False),
        ("project file", "llmcore.toml:2:1", '"project"', False),
        ("profile prod", "llmcore.toml:5:1", '"profile"', False),
        ("environment", "LLMCORE__CACHE__PROVIDER", '"env"', False),
        ("arguments", 'load(arguments=...)["cache"]["provider"]', '"argument"', True),
    ]
    without_argument = load_settings(env=env, cwd=work)
    assert without_argument.cache.provider == "env"
    del env["LLMCORE__CACHE__PROVIDER"]
    assert load_settings(env=env, cwd=work).cache.provider == "profile"
    assert load_settings(env={"HOME": str(tmp_path)}, cwd=work).cache.provider == "project"
    assert load_settings(env={"HOME": str(tmp_path)}, cwd=tmp_path).cache.provider == "user"


def test_tables_merge_key_by_key(home: dict[str, str], tmp_path: Path) -> None:
    write(
        Path(home["HOME"]) / ".config/llmcore/config.toml", '[cache.redis]\nurl = "redis://a"\ntimeout = 1\n'
    )
    write(tmp_path / "llmcore.toml", '[cache.redis]\nurl = "redis://b"\n')
    settings = load_settings(env=home, cwd=tmp_path)
    assert settings.get_table("cache", "redis") == {"url": "redis://b", "timeout": 1}
    assert settings.list_tables("cache") == ("redis",)
    assert settings.find_position("cache.redis.timeout") == "home/.config/llmcore/config.toml:3:1"


def test_xdg_config_home_of_the_call_is_honoured(tmp_path: Path) -> None:
    write(tmp_path / "xdg/llmcore/config.toml", '[llm]\nprovider = "mine"\n')
    settings = load_settings(env={"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": "/nowhere"}, cwd=tmp_path)
    assert settings.llm.provider == "mine"


def test_the_real_environment_is_read_when_none_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("LLMCORE__LLM__PROVIDER", "from_env")
    monkeypatch.chdir(tmp_path)
    assert load_settings().llm.provider == "from_env"
    assert load_settings({}).llm.provider == "from_env"


def test_the_nearest_project_file_going_up_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "llmcore.toml", '[llm]\nprovider = "far"\n')
    write(tmp_path / "a/pyproject.toml", '[project]\nname = "llmcore-user"\n')
    deep = tmp_path / "a/b/c"
    deep.mkdir(parents=True)
    assert load_settings(env={}, cwd=deep).llm.provider == "far"
    write(tmp_path / "a/pyproject.toml", '[tool.llmcore.llm]\nprovider = "near"\n')
    settings = load_settings(env={}, cwd=deep)
    assert settings.llm.provider == "near"
    assert settings.find_position("llm.provider") == f"{tmp_path}/a/pyproject.toml:2:1"
    write(tmp_path / "a/llmcore.toml", '[llm]\nprovider = "own"\n')
    assert load_settings(env={}, cwd=deep).llm.provider == "own"


def test_a_broken_pyproject_without_our_table_is_ignored(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", 'dependencies = ["llmcore-host"\n')
    assert load_settings(env={}, cwd=tmp_path).llm.provider == "echo"
    write(tmp_path / "pyproject.toml", "[tool.llmcore.llm]\nprovider = \n")
    with pytest.raises(ConfigError, match="not TOML"):
        load_settings(env={}, cwd=tmp_path)


def test_a_path_and_llmcore_config_take_the_project_files_place(tmp_path: Path) -> None:
    write(tmp_path / "llmcore.toml", '[llm]\nprovider = "found"\n')
    other = write(tmp_path / "other.toml", '[llm]\nprovider = "other"\n')
    env = {"LLMCORE_CONFIG": "other.toml"}
    assert load_settings(env=env, cwd=tmp_path).llm.provider == "other"
    assert load_settings(other, env={}, cwd=tmp_path).llm.provider == "other"
    assert load_settings("llmcore.toml", env=env, cwd=tmp_path).llm.provider == "found"
    assert load_settings({}, env=env, cwd=tmp_path).llm.provider == "echo"


def test_a_missing_file_is_reported_with_the_source_of_its_name(tmp_path: Path) -> None:
    write(tmp_path / "llmcore.toml", "")
    with pytest.raises(ConfigError) as caught:
        load_settings("llmcor.toml", env={}, cwd=tmp_path)
    assert str(caught.value).splitlines()[:3] == [
        "there is no configuration file llmcor.toml",
        " --> argument",
        "  = expected: the path of a TOML file that exists; in the same folder: llmcore.toml",
    ]
    with pytest.raises(ConfigError) as caught:
        load_settings(env={"LLMCORE_CONFIG": "gone.toml"}, cwd=tmp_path)
    assert caught.value.where == "LLMCORE_CONFIG"


def test_a_byte_order_mark_and_crlf_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "llmcore.toml").write_bytes(b'\xef\xbb\xbf[llm]\r\nprovider = "openai"\r\n')
    settings = load_settings(env={}, cwd=tmp_path)
    assert settings.llm.provider == "openai"
    assert settings.find_position("llm.provider") == "llmcore.toml:2:1"


@pytest.mark.parametrize(
    ("text", "read"),
    [("7", 7.0), ('"7s"', 7.0), ("7m", 420.0)],
)
def test_environment_values_are_parsed_as_toml_if_possible(text: str, read: float) -> None:
    assert load_settings({}, env={"LLMCORE__RETRY__IDLE": text}).retry.idle_s == read


def test_environment_values_stay_text_for_text_settings() -> None:
    settings = load_settings({}, env={"LLMCORE__CACHE__NAMESPACE": "007", "LLMCORE__LLM__MODEL": ""})
    assert settings.cache.namespace == "007"
    assert settings.llm.model is None


def test_environment_values_cannot_smuggle_in_other_keys() -> None:
    settings = load_settings({}, env={"LLMCORE__LLM__ECHO__X": '1\n[llm]\nprovider = "evil"'})
    assert settings.llm.provider == "echo"
    assert settings.get_table("llm", "echo") == {"x": '1\n[llm]\nprovider = "evil"'}


def test_a_profile_may_come_from_the_user_file_the_project_and_a_dict(
    home: dict[str, str], tmp_path: Path
) -> None:
    write(
        Path(home["HOME"]) / ".config/llmcore/config.toml",
        '[profiles.prod.llm]\nprovider = "u"\nmodel = "m"\n[profiles.dev.llm]\nmodel = "d"\n',
    )
    write(tmp_path / "llmcore.toml", '[profiles.prod.llm]\nprovider = "p"\n')
    settings = load_settings(profile="prod", env=home, cwd=tmp_path)
    assert (settings.llm.provider, settings.llm.model) == ("p", "m")
    given = load_settings({"profiles": {"prod": {"llm": {"model": "g"}}}}, profile="prod", env=home)
    assert (given.llm.provider, given.llm.model) == ("u", "g")


def test_an_argument_chooses_the_profile_over_the_environment(tmp_path: Path) -> None:
    source = {"profiles": {"a": {"llm": {"model": "a"}}, "b": {"llm": {"model": "b"}}}}
    assert load_settings(source, profile="b", env={"LLMCORE_PROFILE": "a"}, cwd=tmp_path).llm.model == "b"


def test_an_unknown_profile_names_the_nearest() -> None:
    source = {"profiles": {"prod": {"llm": {"model": "a"}}, "test": {}}}
    with pytest.raises(ConfigError) as caught:
        load_settings(source, env={"LLMCORE_PROFILE": "pord"})
    assert caught.value.render() == (
        "error[LC108]: unknown profile `pord`\n"
        " --> LLMCORE_PROFILE\n"
        "  = expected: prod, test\n"
        "  = help: did you mean `prod`?\n"
        "  = fix: export LLMCORE_PROFILE=prod"
    )


def test_settings_do_not_change_with_their_source() -> None:
    source = {"llm": {"echo": {"words": ["a"]}}}
    settings = load_settings(source, env={})
    source["llm"]["echo"]["words"].append("b")
    settings.get_table("llm", "echo")["words"].append("c")
    assert settings.get_table("llm", "echo") == {"words": ["a"]}
    with pytest.raises(AttributeError):
        settings.llm = load_settings({}, env={}).llm
    with pytest.raises(AttributeError):
        settings.cache.provider = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.models["x"] = ()  # type: ignore[index]


def test_items_lists_every_effective_key_with_its_source(tmp_path: Path) -> None:
    write(tmp_path / "llmcore.toml", '[prices."openai:x"]\ninput = 1\noutput = 2\n[cache.redis]\nurl = "r"\n')
    items = {item.key: item for item in load_settings(env={}, cwd=tmp_path).list_settings()}
    assert items['prices."openai:x".input'][1:] == ("1", "project file", "llmcore.toml:2:1")
    assert items["cache.redis.url"][1:] == ('"r"', "project file", "llmcore.toml:5:1")
    assert items["llm.provider"][1:] == ('"echo"', "built-in", None)


def test_explain_takes_quoted_keys_and_whole_tables(tmp_path: Path) -> None:
    write(tmp_path / "llmcore.toml", '[prices."openai:x"]\ninput = 1\noutput = 2\n')
    settings = load_settings(env={}, cwd=tmp_path)
    assert settings.explain('prices."openai:x".input')[0].source == "llmcore.toml:2:1"
    assert settings.explain('prices."openai:x"')[0].value == "{ input = 1, output = 2 }"
    assert settings.explain("llm.model") == []
    with pytest.raises(ConfigError) as caught:
        settings.explain("cache.tll")
    assert caught.value.suggestion == "cache.ttl"
    with pytest.raises(ConfigError) as caught:
        settings.explain("cahce.ttl")
    assert caught.value.suggestion == "cache.ttl"


def located(tmp_path: Path) -> Settings:
    write(tmp_path / "llmcore.toml", '[llm]\nprovider = "opnai"\n\n[llm.opnai]\n')
    return load_settings(env={}, cwd=tmp_path)


def test_others_can_raise_errors_that_point_into_the_file(tmp_path: Path) -> None:
    fault = located(tmp_path).make_error(
        "llm.provider",
        "no llm provider is named `opnai`",
        code="LC101",
        expected="echo, openai",
        suggestion="openai",
    )
    assert fault.render() == (
        "error[LC101]: no llm provider is named `opnai`\n"
        " --> llmcore.toml:2:12\n"
        '2 | provider = "opnai"\n'
        "  |            ^^^^^^^\n"
        "  = expected: echo, openai\n"
        "  = help: did you mean `openai`?\n"
        "  = fix: llmcore config set llm.provider openai"
    )


def test_a_fault_of_a_key_that_is_not_set_points_at_the_table_around_it(tmp_path: Path) -> None:
    settings = located(tmp_path)
    assert settings.make_error("llm.opnai.api_key", "missing").where == "llmcore.toml:4:6"
    assert settings.make_error("voice.provider", "nothing is configured").where is None
    assert settings.find_position("llm.opnai.api_key") is None
