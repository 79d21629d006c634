"""`llmcore plugins check` runs each kit that needs no fixture of the author, and says what it did not run and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli_author import begin
from tests.kits.cli import CommandLine

HOST_SETTINGS = """\
        for name in ("timeout_s", "idle_s"):
            settings.pop(name, None)
"""
TRAITS = """
    def voice_traits(self, voice, settings):
        identity = {"pitch_hz": str(self._pitch_hz)}
        return VoiceTraits(voice=voice or "low", format="wav", sample_rate_hz=_RATE, identity=identity)
"""
PERMITS = """
    def request_permit(self, request, timeout):
        return PermitAnswer(granted=True, ticket=1, arrived=1)

    def return_permits(self, returns):
        pass

    def report_process(self, report):
        return 1
"""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def change(file: Path, *pairs: tuple[str, str]) -> None:
    text = file.read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    file.write_text(text)


def check(cli: CommandLine) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the failed tests with their reasons, and the whole report."""
    report = json.loads(cli("plugins", "check", "acme", "--json").stdout)
    return {each["name"]: each["why"] for each in report["tests"] if each["outcome"] == "failed"}, report


@pytest.mark.slow
def test_a_voice_whose_traits_ignore_an_option_is_found(cli: CommandLine) -> None:
    folder = begin(cli, "acme", "voice") / "llmcore_acme"
    change(
        folder / "plugin.py",
        ("    pitch_hz: float", '    loud: bool = True\n    accent: str = ""\n    pitch_hz: float'),
    )
    change(
        folder / "provider.py",
        ("import Speech, VoiceInfo", "import Speech, VoiceInfo, VoiceTraits"),
        (
            "        self._pitch_hz =",
            "        self._level = 8000 if options.loud else 4000\n        self._pitch_hz =",
        ),
        ("_make_tone(self._pitch_hz", "_make_tone(self._level, self._pitch_hz"),
        ("_make_tone(frequency_hz", "_make_tone(level: int, frequency_hz"),
        ("int(8000 *", "int(level *"),
        ("_SAMPLES = 240", "_SAMPLES = 40"),
        ("        if settings:\n", HOST_SETTINGS + "        if settings:\n"),
        ("\n    def list_voices", TRAITS + "\n    def list_voices"),
    )
    failed, report = check(cli)
    test = "test_options_that_change_the_audio_change_the_traits[sync-{}]"
    assert set(failed) == {test.format("loud")}, "the traits have no `loud`"
    assert "add every option that changes the audio to `identity`" in failed[test.format("loud")]
    assert {"name": test.format("pitch_hz"), "outcome": "passed", "why": ""} in report["tests"]
    (line,) = (line for line in report["not_run"] if "accent" in line)
    assert line == "not checked: whether `accent` changes the audio: the check knows no other value"


@pytest.mark.slow
def test_a_cache_whose_rate_limits_do_not_hold_is_found(cli: CommandLine) -> None:
    provider = begin(cli, "acme", "cache") / "llmcore_acme" / "provider.py"
    change(
        provider,
        (
            "from llmcore_acme.plugin",
            "from llmcore.support.limit_values import PermitAnswer\nfrom llmcore_acme.plugin",
        ),
    )
    provider.write_text(provider.read_text() + PERMITS)
    failed, report = check(cli)
    assert "a second request must wait for the rate" in failed["test_a_rate_of_requests_is_kept[sync]"]
    assert not [line for line in report["not_run"] if "rate limits" in line]
    assert (
        "not checked: a second instance: no option names a folder or a server, so each instance has entries of its own; "
        "the tests of the plugin can define the fixture `twin`"
    ) in report["not_run"]


@pytest.mark.slow
def test_a_ledger_that_counts_alone_is_found_if_it_has_a_place(cli: CommandLine) -> None:
    folder = begin(cli, "acme", "ledger") / "llmcore_acme"
    change(
        folder / "plugin.py",
        ("    max_rows: int", '    path: Path = Path("acme.db")\n    max_rows: int'),
        ("from typing import", "from pathlib import Path\nfrom typing import"),
    )
    failed, report = check(cli)
    assert "test_two_processes_share_budgets[sync]" in failed
    assert not [line for line in report["not_run"] if "a second instance" in line]


@pytest.mark.slow
def test_an_engine_is_closed_twice(cli: CommandLine) -> None:
    provider = begin(cli, "acme", "engines") / "llmcore_acme" / "provider.py"
    change(
        provider,
        (
            "        if pool is not None:\n            pool.shutdown",
            "        assert pool is not None\n        if pool:\n            pool.shutdown",
        ),
    )
    failed, _ = check(cli)
    assert "test_an_engine_may_be_closed_twice" in failed
