"""A provider's table against its own options: every structure an author may write, every fault at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Required, TypedDict

import msgspec
import pytest

from llmcore.config import load_settings
from llmcore.errors import ConfigError, PluginBroken
from llmcore.hookspecs import Options, Provider
from llmcore.types import Duration, Secret, Size

TWO_SECONDS = Duration(2)


class RedisOptions(Options):
    url: str = "redis://localhost:6379/0"
    timeout: Duration = Duration(2)
    max_size: Size | None = None
    ttl: Duration | None = None
    pool: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    mode: Literal["single", "cluster"] = "single"
    nodes: tuple[str, ...] = ()
    password: Secret | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class AsDataclass:
    url: str
    timeout: Duration = TWO_SECONDS
    tags: dict[str, str] = field(default_factory=dict)
    key: Secret | None = None


class AsTuple(NamedTuple):
    url: str
    timeout: Duration = Duration(2)


class AsTypedDict(TypedDict, total=False):
    url: Required[str]
    timeout: Duration


class Paired(Options):
    low: int = 0
    high: int = 1

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("`low` is above `high`")


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: int = 1


class Outer(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    inner: Inner = Inner()
    many: dict[str, Inner] = msgspec.field(default_factory=dict)
    base_url: str = ""


def provider(options: type, name: str = "redis") -> Provider:
    return Provider(name=name, options=options, create=lambda given: given)


def read(text: str, options: type, tmp_path: Path, *, kind: str = "cache", **env: str) -> Any:
    (tmp_path / "llmcore.toml").write_text(text, encoding="utf-8")
    return load_settings(env=env, cwd=tmp_path).read_options(kind, provider(options))


def catch_faults(text: str, options: type, tmp_path: Path, **env: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(text, options, tmp_path, **env)
    return caught.value


def test_a_missing_table_gives_the_providers_defaults(tmp_path: Path) -> None:
    assert read("", RedisOptions, tmp_path) == RedisOptions()


def test_values_are_converted_to_the_types_of_the_fields(tmp_path: Path) -> None:
    options = read(
        '[cache.redis]\nurl = "redis://x"\ntimeout = "500ms"\nmax_size = "1KB"\npool = 3\nmode = "cluster"\n'
        'nodes = ["a", "b"]\nfolder = "data"\n',
        RedisOptions,
        tmp_path,
    )
    assert options == RedisOptions(
        url="redis://x",
        timeout=Duration(0.5),
        max_size=Size(1000),
        pool=3,
        mode="cluster",
        nodes=("a", "b"),
        folder=tmp_path / "data",
    )
    assert isinstance(options.timeout, Duration)


@pytest.mark.parametrize("structure", [AsDataclass, AsTuple])
def test_dataclasses_and_named_tuples_serve_as_well(structure: type, tmp_path: Path) -> None:
    options = read('[cache.redis]\nurl = "u"\ntimeout = "1m"\n', structure, tmp_path)
    assert isinstance(options, structure)
    assert (options.url, options.timeout) == ("u", 60.0)  # type: ignore[attr-defined]


def test_a_typed_dict_serves_as_well(tmp_path: Path) -> None:
    assert read('[cache.redis]\nurl = "u"\n', AsTypedDict, tmp_path) == {"url": "u"}
    assert (
        catch_faults("[cache.redis]\n", AsTypedDict, tmp_path).message == "`url` is missing in [cache.redis]"
    )


def test_all_faults_of_a_table_are_reported_together(tmp_path: Path) -> None:
    error = catch_faults(
        '[cache.redis]\nurll = "x"\ntimeout = "soon"\npool = 0\nmode = "star"\nnodes = ["a", 3]\nmax_size = "big"\n',
        RedisOptions,
        tmp_path,
    )
    assert [(fault.code, fault.where, fault.message) for fault in error.faults] == [
        ("LC102", "llmcore.toml:2:1", "unknown key `urll` in [cache.redis]"),
        ("LC104", "llmcore.toml:3:11", '`timeout` must be a duration, got "soon"'),
        ("LC104", "llmcore.toml:7:12", '`max_size` must be a size, got "big"'),
        ("LC104", "llmcore.toml:4:8", "`pool` has an invalid value: 0"),
        ("LC104", "llmcore.toml:5:8", '`mode` has an invalid value: "star"'),
        ("LC104", "llmcore.toml:6:15", '`nodes` has an invalid value: ["a", 3]'),
    ]
    assert [fault.expected for fault in error.faults[3:]] == [
        "a whole number, without quotes, at least 1, at most 64",
        'one of "single", "cluster"',
        "a list in square brackets",
    ]


def test_an_unknown_option_is_reported_with_the_nearest_name_and_a_fix(tmp_path: Path) -> None:
    assert catch_faults('[cache.redis]\nurll = "redis://x"\n', RedisOptions, tmp_path).render() == (
        "error[LC102]: unknown key `urll` in [cache.redis]\n"
        " --> llmcore.toml:2:1\n"
        '2 | urll = "redis://x"\n'
        "  | ^^^^\n"
        "  = expected: folder, max_size, mode, nodes, password, pool, timeout, ttl, url\n"
        "  = help: did you mean `url`?\n"
        "  = fix: llmcore config unset cache.redis.urll && llmcore config set cache.redis.url redis://x"
    )


def test_a_missing_option_points_at_its_table(tmp_path: Path) -> None:
    error = catch_faults('[cache.redis]\ntimeout = "1s"\n', AsDataclass, tmp_path)
    assert (error.code, error.message, error.where) == (
        "LC112",
        "`url` is missing in [cache.redis]",
        "llmcore.toml:1:8",
    )


def test_a_check_of_the_providers_own_is_a_fault_of_its_table(tmp_path: Path) -> None:
    error = catch_faults("[cache.redis]\nlow = 5\n", Paired, tmp_path)
    assert (error.message, error.where) == ("[cache.redis]: `low` is above `high`", "llmcore.toml:1:8")


def test_nested_structures_are_checked_to_their_place(tmp_path: Path) -> None:
    options = read('[cache.redis]\nbase-url = "u"\n[cache.redis.many.a]\nsize = 2\n', Outer, tmp_path)
    assert options == Outer(base_url="u", many={"a": Inner(size=2)})
    assert catch_faults('[cache.redis.inner]\nsize = "x"\n', Outer, tmp_path).where == "llmcore.toml:2:8"
    assert catch_faults('base_url = "u"\n', Outer, tmp_path).code == "LC102"


def test_generic_cache_keys_apply_if_the_provider_has_them(tmp_path: Path) -> None:
    options = read('[cache]\nttl = "2h"\nmax_size = "1GB"\n', RedisOptions, tmp_path)
    assert (options.ttl, options.max_size) == (7200.0, 10**9)
    own = read('[cache]\nttl = "2h"\n[cache.redis]\nttl = "1m"\n', RedisOptions, tmp_path)
    assert own.ttl == 60.0
    assert read('[cache]\nttl = "never"\n', RedisOptions, tmp_path).ttl is None


def test_a_built_in_default_does_not_replace_that_of_a_provider(tmp_path: Path) -> None:
    assert read("", RedisOptions, tmp_path).ttl is None


def test_generic_keys_of_other_kinds_are_not_passed_on(tmp_path: Path) -> None:
    class WithModel(Options):
        model: str = "own"

    assert read('[llm]\nmodel = "m"\n', WithModel, tmp_path, kind="llm").model == "own"


def test_a_variable_like_a_number_stays_text_for_text_options(tmp_path: Path) -> None:
    options = read(
        "", RedisOptions, tmp_path, LLMCORE__CACHE__REDIS__URL="6379", LLMCORE__CACHE__REDIS__POOL="5"
    )
    assert (options.url, options.pool) == ("6379", 5)


def test_a_fault_in_a_variable_is_reported_with_its_name(tmp_path: Path) -> None:
    error = catch_faults("", RedisOptions, tmp_path, LLMCORE__CACHE__REDIS__POOL="many")
    assert (error.where, error.message) == (
        "LLMCORE__CACHE__REDIS__POOL",
        '`pool` must be a whole number, got "many"',
    )


@pytest.mark.parametrize("structure", [int, complex, object])
def test_options_that_are_not_a_structure_are_an_error_of_the_plugin(structure: type, tmp_path: Path) -> None:
    with pytest.raises(PluginBroken, match="cannot be read"):
        read("", structure, tmp_path)


def test_a_field_type_that_cannot_be_read_is_the_plugins_fault(tmp_path: Path) -> None:
    class Odd(Options):
        both: Secret | str = ""

    with pytest.raises(PluginBroken, match="option `both`"):
        read('[cache.redis]\nboth = "x"\n', Odd, tmp_path)


def test_a_relative_path_counts_from_the_folder_of_the_file_that_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, deep, home = tmp_path / "project", tmp_path / "project" / "deep" / "er", tmp_path / "home"
    deep.mkdir(parents=True)
    (home / ".config" / "llmcore").mkdir(parents=True)
    monkeypatch.chdir(deep)

    def folder(text: str, *, profile: str | None = None, **env: str) -> Path | None:
        (project / "llmcore.toml").write_text(text, encoding="utf-8")
        options: Any = load_settings(env={"HOME": str(home)} | env, profile=profile).read_options(
            "cache", provider(RedisOptions)
        )
        return options.folder  # type: ignore[no-any-return]

    said = '[cache.redis]\nfolder = "data"'
    assert folder(said) == project / "data"
    assert folder('[profiles.p.cache.redis]\nfolder = "./p/../q"', profile="p") == project / "p" / ".." / "q"
    assert folder('[cache.redis]\nfolder = "/abs"') == Path("/abs")
    assert folder('[cache.redis]\nfolder = "~/data"') == home / "data"
    assert folder('[cache.redis]\nfolder = "env:DATA"', DATA="data") == Path("data")
    assert folder('[cache.redis]\nfolder = "env:DATA"', DATA="/abs") == Path("/abs")
    assert folder(said, LLMCORE__CACHE__REDIS__FOLDER="other") == Path("other")
    assert folder(said, LLMCORE__CACHE__REDIS__FOLDER="7") == Path("7")
    assert folder("") is None
    (home / ".config" / "llmcore" / "config.toml").write_text(said, encoding="utf-8")
    assert folder("") == home / ".config" / "llmcore" / "data"
    given: Any = load_settings({"cache": {"redis": {"folder": "data"}}}, env={}).read_options(
        "cache", provider(RedisOptions)
    )
    assert given.folder == Path("data")


@pytest.mark.parametrize("value", ['""', "5", "true", '["a"]', '"nul\\u0000"'])
def test_an_invalid_path_is_a_configuration_error(tmp_path: Path, value: str) -> None:
    error = catch_faults(f"[cache.redis]\nfolder = {value}", RedisOptions, tmp_path)
    assert error.code == "LC104"
    assert "`folder` must be a path" in str(error)
    assert error.expected == "a path in quotes, not empty"
