"""A fix is not proposed again once it is configured, and fits the shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.cli import main
from llmcore.cli.command_errors import render_command
from llmcore.cli.connection_checks import check_all
from llmcore.cli.echo_note import explain_echo
from llmcore.config.commands import adapt_commands
from llmcore.errors import BadRequest, ConfigError, LLMCoreError, ProviderError, StorageUnavailable
from llmcore_testing import Fault, Simulator
from tests.kits.mistakes import find_closed_port


def fail(fault: Fault, **config: Any) -> ProviderError:
    with Simulator() as upstream:
        upstream.fail(fault, times=9)
        openai = {"base_url": upstream.base_url, "api_key": "sk-test"}
        llm = {"provider": "openai", "model": "tiny", "openai": openai}
        settings = {"llm": llm, "retry": {"attempts": 1}, "cache": {"provider": "memory"}, **config}
        with llmcore.load(settings) as core, pytest.raises(ProviderError) as caught:
            core.llm.chat("Hi", timeout=5)
    return caught.value


def test_a_rate_that_is_still_too_high_is_halved_and_retry_after_is_shown() -> None:
    error = fail(Fault.status(429, retry_after=20))
    assert "the server requests a pause of 20 s (Retry-After)" in error.notes
    assert '{"limits": {"openai": {"requests_per_minute": 20}}}' in error.notes[-1]
    assert error.fix == '{"retry": {"attempts": 8}}'
    most, limits = {"attempts": 8, "deadline": "2s"}, {"openai": {"requests_per_minute": 20}}
    error = fail(Fault.status(429, retry_after=20), limits=limits, retry=most)
    assert error.fix == '{"limits": {"openai": {"requests_per_minute": 10}}}'


def test_attempts_that_are_configured_are_not_proposed_again() -> None:
    assert fail(Fault.status(500)).fix == '{"retry": {"attempts": 8}}'
    error = fail(Fault.status(500, retry_after=60), retry={"attempts": 8})
    assert error.fix == "llmcore doctor"


@pytest.mark.parametrize(
    ("line", "fix"), [("[llm", "[llm]"), ("[[budgets]", "[[budgets]]"), ("[cache.redis", "[cache.redis]")]
)
def test_a_header_that_is_not_closed_is_closed(line: str, fix: str) -> None:
    Path("llmcore.toml").write_text(f"{line}\n")
    with pytest.raises(ConfigError) as caught:
        llmcore.load()
    assert caught.value.fix == fix


def test_a_file_that_is_not_there_is_looked_for_in_its_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "put", "a.txt", "nofolder/nofile.txt"]) == 2
    error = capsys.readouterr().err
    assert " --> nofolder/nofile.txt" in error
    assert "= fix: ls -l ." in error


@pytest.mark.parametrize("section", ["retry", "limits"])
def test_the_fix_for_a_file_that_code_names_changes_that_file(section: str) -> None:
    Path("app.toml").write_text(
        '[llm]\nprovider = "openai"\nmodel = "tiny"\n[llm.openai]\nbase_url = "http://127.0.0.1:1/v1"\napi_key = "env:K"\n'
    )
    with llmcore.load("app.toml") as core:
        assert (
            core.settings.format_set_line((section, "x"), "1")
            == f"llmcore --config app.toml config set {section}.x 1"
        )
        assert core.settings.format_command("doctor") == "llmcore --config app.toml doctor"


def test_the_fix_for_the_file_of_the_folder_needs_no_name() -> None:
    Path("llmcore.toml").write_text('[llm]\nprovider = "echo"\n')
    with llmcore.load() as core:
        assert (
            core.settings.format_set_line(("retry", "attempts"), "8") == "llmcore config set retry.attempts 8"
        )
        assert core.settings.format_command("doctor") == "llmcore doctor"


def test_an_option_replaces_its_opposite_and_its_other_spelling() -> None:
    assert render_command("--no-stream", [], "ask", ["--stream", "Hi"]) == "llmcore ask --no-stream Hi"
    assert render_command("--format wav", [], "say", ["-f", "wave", "Hi"]) == "llmcore say --format wav Hi"
    given = ["run", "in.csv", "--schema", "mood", "-o", "out.csv"]
    fixed = "llmcore batch run in.csv --schema mood.json -o out.csv"
    assert render_command("--schema mood.json", [], "batch", given) == fixed


@pytest.mark.parametrize(
    ("settings", "where", "fix"),
    [
        ({"format": "wave"}, "format='wave'", 'synthesize(..., format="wav")'),
        ({"sped": 1.5}, "sped=1.5", "synthesize(..., speed=1.5)"),
        ({"zzzz": 1}, "zzzz=1", "synthesize(...) without zzzz="),
    ],
)
def test_a_setting_of_a_voice_is_corrected(settings: Any, where: str, fix: str) -> None:
    with llmcore.load({"voice": {"provider": "espeak"}}) as core, pytest.raises(BadRequest) as caught:
        core.voice.synthesize("Hi", **settings)
    assert (caught.value.where, caught.value.fix) == (where, fix)


@pytest.mark.parametrize(
    ("provider", "given", "near"), [("elevenlabs", "mp4", "mp3"), ("openai", "wave", "wav")]
)
def test_a_format_is_corrected_for_every_vendor(
    provider: str, given: str, near: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-test-0123456789")
    with Simulator() as upstream:
        address = upstream.url if provider == "elevenlabs" else upstream.base_url
        Path("llmcore.toml").write_text(
            f'[voice]\nprovider = "{provider}"\n[voice.{provider}]\nbase_url = "{address}"\napi_key = "env:MY_KEY"\n'
        )
        assert main(["say", "-f", given, "-o", "a.mp3", "Hi"]) == 2
        said = capsys.readouterr().err
        assert f" --> format='{given}'" in said
        assert f"  = fix: llmcore say --format {near} -o a.mp3 Hi\n" in said
        assert upstream.requests == []


def test_a_misspelt_key_of_a_storage_names_the_nearest_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("llmcore.toml").write_text('[storage]\nprovider = "fs"\n[storage.fs]\nroot = "data"\n')
    Path("data/notes").mkdir(parents=True)
    Path("data/notes/report.txt").write_text("hello")
    assert main(["store", "get", "notes/raport.txt"]) == 1
    said = capsys.readouterr().err
    assert "  = fix: llmcore store get notes/report.txt\n" in said
    assert main(["store", "cp", "notes/raport.txt", "a b.txt"]) == 1
    assert "  = fix: llmcore store cp notes/report.txt 'a b.txt'\n" in capsys.readouterr().err
    assert main(["store", "get", "zzzz"]) == 1
    assert "  = fix: llmcore store ls\n" in capsys.readouterr().err


def test_an_object_store_that_is_away_points_at_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ID", "id-0123456789")
    monkeypatch.setenv("S3_SECRET", "secret-0123456789")
    Path("llmcore.toml").write_text(
        f'[llm]\nprovider = "echo"\n[storage]\nprovider = "s3"\n[storage.s3]\nbucket = "reports"\nregion = "us-east-1"\n'
        f'endpoint = "http://127.0.0.1:{find_closed_port()}"\naccess_key_id = "env:S3_ID"\nsecret_access_key = "env:S3_SECRET"\n'
        "retries = 0\n"
    )
    with llmcore.load() as core, pytest.raises(StorageUnavailable) as caught:
        core.storage.list_files()
    assert caught.value.where == "llmcore.toml:8:12"
    assert caught.value.fix == "llmcore doctor"
    assert any(note.startswith("requested: s3://reports") for note in caught.value.notes)
    with llmcore.load() as core:
        fixes = {contact.what: contact.fix for contact in check_all(core)}
    assert fixes["in use: storage s3"] == "llmcore config set storage.provider fs"


def test_a_misspelt_configuration_file_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    Path("llmcore.toml").write_text('[llm]\nprovider = "echo"\n')
    assert main(["--config", "llmcor.toml", "ask", "Hi"]) == 3
    assert "  = fix: llmcore ask --config llmcore.toml Hi\n" in capsys.readouterr().err
    with pytest.raises(ConfigError) as caught:
        llmcore.load("llmcor.toml")
    assert (caught.value.suggestion, caught.value.fix) == ("llmcore.toml", 'load("llmcore.toml")')


def test_an_address_that_is_not_valid_is_shown_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-test-0123456789")
    Path("llmcore.toml").write_text(
        '[llm]\nprovider = "openai"\nmodel = "tiny"\n[llm.openai]\napi_key = "env:MY_KEY"\nbase_url = "localhost:1/v1"\n'
    )
    with llmcore.load() as core, pytest.raises(ConfigError) as caught:
        core.llm.chat("Hi", cache=False)
    assert caught.value.where == "llmcore.toml:6:12"
    assert 'base_url = "localhost:1/v1"' in (caught.value.excerpt or "")


def test_a_reference_keeps_its_value_when_its_key_is_renamed() -> None:
    Path("llmcore.toml").write_text(
        '[storage]\nprovider = "s3"\n[storage.s3]\nbucket = "b"\naccess_key = "env:S3_ID"\n'
    )
    with llmcore.load() as core, pytest.raises(ConfigError) as caught:
        core.storage.exists("a")
    assert (caught.value.fix or "").endswith("config set storage.s3.access_key_id env:S3_ID")


LITERALS: dict[str, tuple[str, Any, str, str]] = {
    "no model": (
        '[llm]\nprovider = "openai"\n[llm.openai]\napi_key = "env:OPENAI_API_KEY"\n',
        lambda core: core.llm.chat("Hi"),
        "fix",
        "llmcore --config app.toml config set llm.model NAME",
    ),
    "an unknown model": (
        '[llm.openai]\napi_key = "env:OPENAI_API_KEY"\n',
        lambda core: core.llm.chat("Hi", model="openai:gpt-6-solo"),
        "notes",
        "llmcore --config app.toml config set llm.openai.extra_models '[\"gpt-6-solo\"]'",
    ),
    "no ledger": (
        "[ledger]\nenabled = false\n",
        lambda core: core.usage.budgets(),
        "fix",
        "llmcore --config app.toml config set ledger.enabled true",
    ),
    "a ledger that cannot be written": (
        '[llm]\nprovider = "echo"\nmodel = "echo"\n[ledger]\npath = "/dev/null/ledger"\n[budget]\nlimit = "1 USD"\n',
        lambda core: core.llm.chat("Hi"),
        "fix",
        "llmcore --config app.toml config set ledger.path ./ledger.sqlite3",
    ),
    "a folder that cannot be made": (
        '[cache]\nprovider = "file"\n[cache.file]\ncache_dir = "/dev/null/cache"\n',
        lambda core: core.backend("cache", "file").provider.set("key", b""),
        "fix",
        "llmcore --config app.toml config set cache.provider memory",
    ),
    "an address that is not one": (
        '[cache]\nprovider = "redis"\n[cache.redis]\nurl = "localhost"\n',
        lambda core: core.backend("cache", "redis").provider,
        "fix",
        "llmcore --config app.toml config set cache.redis.url redis://localhost",
    ),
}


@pytest.mark.parametrize("case", LITERALS)
def test_every_command_to_set_a_key_names_the_file_that_code_named(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    text, act, attribute, expected = LITERALS[case]
    Path("app.toml").write_text(text)
    with llmcore.load("app.toml") as core, pytest.raises(LLMCoreError) as caught:
        act(core)
    found = str(getattr(caught.value, attribute))
    assert expected.partition("'")[0] in found.replace("\\", ""), caught.value.render()


def test_a_command_of_a_plugin_becomes_a_dict_if_the_configuration_is_one() -> None:
    config = {"cache": {"provider": "redis", "redis": {"url": "localhost"}}}
    with llmcore.load(config) as core, pytest.raises(LLMCoreError) as caught:
        core.backend("cache", "redis").provider  # noqa: B018 - creates it
    assert caught.value.fix == '{"cache": {"redis": {"url": "redis://localhost"}}}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("llmcore config set cache.provider memory", "SET cache.provider=memory"),
        ("""llmcore config set 'prices."a:b"' '{ input = 1 }'""", "SET prices.a:b={ input = 1 }"),
        ("llmcore config set a.b 1 && llmcore config set a.c 2", "SET a.b=1 && SET a.c=2"),
        ("try it: llmcore config set a.b c", "try it: SET a.b=c"),
        ("llmcore config set a.b", "llmcore config set a.b"),
        ("llmcore config set a.b 'open", "llmcore config set a.b 'open"),
        ("llmcore doctor", "llmcore doctor"),
    ],
)  # fmt: skip
def test_commands_are_found_in_a_text(text: str, expected: str) -> None:
    assert adapt_commands(text, lambda path, value: f"SET {'.'.join(path)}={value}") == expected


def test_notes_of_the_command_line_name_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("app.toml").write_text('[llm]\nprovider = "echo"\nmodel = "echo"\n')
    assert main(["--config", "app.toml", "usage", "budget"]) == 0
    assert "llmcore --config app.toml config set budget.limit '5.00 USD'" in capsys.readouterr().err
    with llmcore.load("app.toml") as core:
        lines = explain_echo(["openai"], None, core.settings.format_set_line).splitlines()
    assert lines.count("  llmcore --config app.toml config set llm.provider openai && "
                       "llmcore --config app.toml config set llm.model NAME") == 1  # fmt: skip
