"""A name selects one plugin, or raises an error with the available names and a fix."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from llmcore.errors import PluginConflict, PluginError, PluginNotFound
from llmcore.install_lines import make_install_line
from llmcore.plugins import Catalogue

ROOT = Path(__file__).parents[2]

MODULE = """
import pathlib
pathlib.Path(__file__).with_suffix(".imported").touch()
from llmcore.hookspecs import Provider, hookimpl

@hookimpl
def llmcore_cache_providers():
    yield Provider(name="memory", create=dict)
    yield Provider(name="redis", create=dict)
"""


@pytest.fixture(autouse=True)
def _importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every plugin here importable, so that one that is not imported was left out on purpose."""
    monkeypatch.syspath_prepend(tmp_path)


def install(folder: Path, distribution: str, version: str, entries: str | bytes) -> str:
    """Install *distribution* with *entries*, where `@` stands for its module; return the module's name."""
    module = distribution.lower().replace("-", "_")
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    text = entries.encode() if isinstance(entries, str) else entries
    (info / "entry_points.txt").write_bytes(text.replace(b"@", module.encode()))
    (folder / f"{module}.py").write_text(MODULE)
    return module


def catch_refusal(folder: Path, kind: str, name: str, **environ: str) -> PluginError:
    with pytest.raises(PluginError) as caught:
        Catalogue(env=environ, path=[folder]).load_provider(kind, name)
    assert list(folder.glob("*.imported")) == []
    return caught.value


def list_states(folder: Path, **environ: str) -> list[tuple[str, str, str]]:
    listing = Catalogue(env=environ, path=[folder]).list_plugins()
    return [
        (row.distribution, row.name, row.state) for row in listing if row.module != "llmcore.builtin.plugin"
    ]


def test_a_misspelt_name_is_reported_with_the_available_and_nearest_names(tmp_path: Path) -> None:
    install(tmp_path, "acme-redis", "1.0", "[llmcore.cache]\nredis = @\n")
    error = catch_refusal(tmp_path, "cache", "reddis")
    assert isinstance(error, PluginNotFound)
    assert error.render() == dedent("""\
        error[LC103]: unknown cache provider `reddis`
          = expected: file, memory, redis
          = help: did you mean `redis`?
          = fix: provider = "redis\"""")


def test_a_provider_of_ours_that_is_not_installed_names_its_package(tmp_path: Path) -> None:
    assert catch_refusal(tmp_path, "cache", "redis").render() == dedent(f"""\
        error[LC103]: unknown cache provider `redis`
          = expected: file, memory
          = note: `redis` is in llmcore-cache-redis, which is not installed: it is in plugins/cache_redis of the repository of llmcore, not on a package index
          = fix: {make_install_line("llmcore-cache-redis")}""")


def test_a_misspelt_provider_of_ours_that_is_not_installed_names_both(tmp_path: Path) -> None:
    assert catch_refusal(tmp_path, "voice", "elevenlab").render() == dedent(f"""\
        error[LC103]: unknown voice provider `elevenlab`
          = expected: an installed voice provider; none is installed
          = help: did you mean `elevenlabs`?
          = note: `elevenlabs` is in llmcore-voice-tts, which is not installed: it is in plugins/voice_tts of the repository of llmcore, not on a package index
          = fix: {make_install_line("llmcore-voice-tts")}""")


def test_an_unknown_name_is_reported_with_the_available_names(tmp_path: Path) -> None:
    error = catch_refusal(tmp_path, "llm", "zzz")
    assert str(error) == "unknown llm provider `zzz`\n  = expected: echo"


def test_a_name_of_another_kind_says_which(tmp_path: Path) -> None:
    assert catch_refusal(tmp_path, "llm", "memory").notes == ("`memory` is a cache provider",)
    assert catch_refusal(tmp_path, "cache", "openai").notes == (
        "`openai` is an llm provider and a voice provider",
    )


def test_a_provider_with_damaged_metadata_is_reported_when_used(tmp_path: Path) -> None:
    install(tmp_path, "llmcore-cache-redis", "0.1.0", b"[llmcore.cache]\nredis = \xff\n")
    assert catch_refusal(tmp_path, "cache", "redis").render() == dedent("""\
        error[LC103]: unknown cache provider `redis`
          = expected: file, memory
          = note: llmcore-cache-redis 0.1.0 is installed, but its metadata does not offer `redis`
          = note: llmcore-cache-redis: entry_points.txt is not UTF-8 text: invalid start byte at byte 24
          = fix: pip install --force-reinstall @""").replace("@", str(ROOT / "plugins/cache_redis"))
    (note,) = catch_refusal(tmp_path, "storage", "s3").notes
    assert note.startswith("`s3` is in llmcore-storage-object, which is not installed: ")


def test_of_two_claimants_neither_is_taken(tmp_path: Path) -> None:
    install(tmp_path, "Acme-Cache", "1.0", "[llmcore.cache]\nredis = @\n")
    install(tmp_path, "llmcore-cache-redis", "0.1.0", "[llmcore.cache]\nredis = @\n")
    error = catch_refusal(tmp_path, "cache", "redis")
    assert isinstance(error, PluginConflict)
    assert error.render() == dedent("""\
        error[LC110]: two plugins offer the cache provider `redis`: Acme-Cache 1.0 and llmcore-cache-redis 0.1.0
          = expected: "acme-cache:redis" or "llmcore-cache-redis:redis"
          = fix: provider = "llmcore-cache-redis:redis\"""")
    first, second = (row for row in Catalogue(env={}, path=[tmp_path]).list_plugins() if row.name == "redis")
    assert (first.state, first.why) == ("conflict", "also offered by llmcore-cache-redis 0.1.0")
    assert (second.state, second.why, second.fix) == (
        "conflict",
        "also offered by Acme-Cache 1.0",
        'provider = "llmcore-cache-redis:redis"',
    )


def test_the_distribution_in_front_of_the_name_settles_it(tmp_path: Path) -> None:
    taken = install(tmp_path, "Settled-One", "1.0", "[llmcore.cache]\nredis = @\n")
    other = install(tmp_path, "settled-two", "1.0", "[llmcore.cache]\nredis = @\n")
    catalogue = Catalogue(env={}, path=[tmp_path])
    assert catalogue.load_provider("cache", "settled_one:redis").name == "redis"
    assert (taken in sys.modules, other in sys.modules) == (True, False)
    assert catalogue.inspect("cache", "settled-one:redis").state == "loaded"
    assert catalogue.inspect("cache", "redis").state == "loaded"
    with pytest.raises(PluginConflict):
        catalogue.load_provider("cache", "redis")
    assert catalogue.inspect("cache", "settled-two:redis").state == "loaded"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("settled-zero:redis", ("the distribution settled-zero is not installed",)),
        ("acme-other:redis", ("acme-other 2.0 is installed, but offers no such cache provider",)),
    ],
)  # fmt: skip
def test_a_distribution_without_the_name_is_distinguished_from_a_missing_one(
    tmp_path: Path, name: str, expected: tuple[str, ...]
) -> None:
    install(tmp_path, "acme-redis", "1.0", "[llmcore.cache]\nredis = @\n")
    install(tmp_path, "acme-other", "2.0", "[llmcore.cache]\nother = @\n")
    error = catch_refusal(tmp_path, "cache", name)
    assert (error.notes, error.suggestion, error.fix) == (expected, "redis", 'provider = "redis"')


def test_a_built_in_name_always_wins_and_its_claimant_is_not_imported(tmp_path: Path) -> None:
    install(tmp_path, "acme-cache", "1.0", "[llmcore.cache]\nmemory = @\n[llmcore.commands]\nask = @:run\n")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from llmcore.plugins import Catalogue\n"
        "catalogue = Catalogue(commands=['ask'])\n"
        "print(catalogue.load_provider('cache', 'memory').create.__module__)\n"
        "print([row.state for row in catalogue.list_plugins() if row.name in ('memory', 'ask')])\n"
        "print(catalogue.inspect('cache', 'acme-cache:memory').why, 'ask' in catalogue.list_names('commands'))\n"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(arguments, env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "llmcore.builtin.plugin",
        "['shadowed', 'built in', 'shadowed']",
        "`memory` is built in, and a built-in name always wins False",
    ]
    assert list(tmp_path.glob("*.imported")) == []


def test_a_claimant_of_a_built_in_name_is_refused_under_its_full_name_too(tmp_path: Path) -> None:
    install(tmp_path, "acme-cache", "1.0", "[llmcore.cache]\nmemory = @\n")
    assert catch_refusal(tmp_path, "cache", "acme-cache:memory").render() == dedent("""\
        error[LC110]: acme-cache 1.0 offers the cache provider `memory`, but that name is built in
          = expected: an entry point with another name
          = note: a built-in name always wins, so the plugin was not imported
          = fix: provider = "memory\"""")


TWO = "[llmcore.cache]\nredis = @\n[llmcore.storage]\nredis_files = @\n"


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("", ["ready", "ready", "ready"]),
        ("none", ["blocked", "blocked", "blocked"]),
        ("None", ["blocked", "blocked", "blocked"]),
        ("redis", ["ready", "blocked", "blocked"]),
        ("Acme_Redis", ["ready", "ready", "blocked"]),
        (" redis_files , acme-other:other ", ["blocked", "ready", "ready"]),
        ("something", ["blocked", "blocked", "blocked"]),
    ],
)  # fmt: skip
def test_the_environment_restricts_the_loadable_plugins(
    tmp_path: Path, limit: str, expected: list[str]
) -> None:
    install(tmp_path, "acme-redis", "1.0", TWO)
    install(tmp_path, "acme-other", "1.0", "[llmcore.voice]\nother = @\n")
    assert [state for _, _, state in list_states(tmp_path, LLMCORE_PLUGINS=limit)] == expected


@pytest.mark.parametrize(
    ("limit", "fix"),
    [("none", "export LLMCORE_PLUGINS=redis"), ("a,b", "export LLMCORE_PLUGINS=a,b,redis")],
)
def test_a_blocked_plugin_is_not_imported_and_reported_with_the_reason(
    tmp_path: Path, limit: str, fix: str
) -> None:
    install(tmp_path, "acme-redis", "1.0", TWO)
    assert catch_refusal(tmp_path, "cache", "redis", LLMCORE_PLUGINS=limit).render() == dedent(f"""\
        error[LC103]: the cache provider `redis` may not be loaded
          = expected: file, memory
          = note: acme-redis 1.0 offers it, but LLMCORE_PLUGINS={limit} excludes it
          = fix: {fix}""")
    catalogue = Catalogue(env={"LLMCORE_PLUGINS": limit}, path=[tmp_path])
    assert catalogue.inspect("cache", "redis").why == f"LLMCORE_PLUGINS={limit} excludes it"
    assert list(tmp_path.glob("*.imported")) == []
    assert catalogue.list_names("cache") == ["file", "memory"]


def test_a_blocked_plugin_causes_no_conflict(tmp_path: Path) -> None:
    for name in ("acme-one", "acme-two"):
        install(tmp_path, name, "1.0", "[llmcore.cache]\nredis = @\n")
    assert list_states(tmp_path) == [("acme-one", "redis", "conflict"), ("acme-two", "redis", "conflict")]
    limited = list_states(tmp_path, LLMCORE_PLUGINS="acme-two")
    assert limited == [("acme-one", "redis", "blocked"), ("acme-two", "redis", "ready")]


def test_environment_and_path_are_read_when_the_catalogue_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "acme-redis", "1.0", "[llmcore.cache]\nredis = @\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setenv("LLMCORE_PLUGINS", "none")
    catalogue = Catalogue()
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delenv("LLMCORE_PLUGINS")
    assert [row.state for row in catalogue.list_plugins() if row.name == "redis"] == ["blocked"]
    assert Catalogue().list_names("cache") == ["file", "memory"]


def test_built_in_plugins_have_the_version_of_the_host(tmp_path: Path) -> None:
    assert {row.version for row in Catalogue(env={}, path=[tmp_path]).list_plugins()} == {""}
    install(tmp_path, "llmcore-host", "0.1.0", "")
    listing = Catalogue(env={}, path=[tmp_path]).list_plugins()
    assert [(row.kind, row.name, row.version, row.state) for row in listing] == [
        ("llm", "echo", "0.1.0", "built in"),
        ("cache", "file", "0.1.0", "built in"),
        ("cache", "memory", "0.1.0", "built in"),
        ("ledger", "sqlite", "0.1.0", "built in"),
        ("engines", "local", "0.1.0", "built in"),
        ("tables", "chat", "0.1.0", "built in"),
        ("tables", "log", "0.1.0", "built in"),
        ("tables", "smtp", "0.1.0", "built in"),
    ]


def test_observers_and_commands_have_their_own_messages(tmp_path: Path) -> None:
    entries = "[llmcore.observers]\nwatch = @\n[llmcore.commands]\nhello = @:run\n"
    for name in ("acme-one", "acme-two"):
        install(tmp_path, name, "1.0", entries)
    assert catch_refusal(tmp_path, "observers", "watch").fix == 'use = ["acme-one:watch"]'
    catalogue = Catalogue(env={}, path=[tmp_path], commands=["ask"])
    for name, message, fix in [
        (
            "hello",
            "two plugins offer the command `hello`: acme-one 1.0 and acme-two 1.0",
            "llmcore acme-one:hello",
        ),
        ("helo", "unknown command `helo`", "llmcore hello"),
    ]:
        with pytest.raises(PluginError) as caught:
            catalogue.load_command(name)
        assert (caught.value.message, caught.value.fix) == (message, fix)


def test_a_kind_that_does_not_exist_is_the_callers_mistake(tmp_path: Path) -> None:
    catalogue = Catalogue(env={}, path=[tmp_path])
    with pytest.raises(ValueError, match=r"kind must be one of llm, cache, .*, got 'caches'$"):
        catalogue.list_names("caches")
    with pytest.raises(
        ValueError,
        match=r"must be one of llm, cache, storage, voice, ledger, engines, observers, got 'commands'$",
    ):
        catalogue.load_provider("commands", "hello")


def test_asking_about_a_claimant_that_is_absent_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PluginNotFound, match="unknown storage provider `fs`"):
        Catalogue(env={}, path=[tmp_path]).inspect("storage", "fs")
