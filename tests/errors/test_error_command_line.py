"""Mistakes at a shell: the bad value, the place, what is valid, the nearest name, and a fix that works when it is pasted."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from llmcore.cli import main


class Slip(NamedTuple):
    """One mistake: the configuration, the command line, and the expected texts."""

    config: str
    arguments: list[str]
    value: str
    place: str
    valid: str
    nearest: str | None
    code: str


ECHO = '[llm]\nprovider = "echo"\n'
PROFILE = '[profiles.prod.cache]\nprovider = "memory"\n'
ASK = ["ask", "Hi"]

SLIPS = {
    "section": Slip('[lm]\nprovider = "echo"\n', ASK, "[lm]", "llmcore.toml:1:", "llm", "llm", "LC102"),
    "key": Slip('[llm]\nprovidr = "echo"\n', ASK, "`providr`", "llmcore.toml:2:1", "provider", "provider", "LC102"),
    "provider": Slip('[llm]\nprovider = "ecko"\n', ASK, "`ecko`", "llmcore.toml:2:", "", "echo", "LC103"),
    "cache": Slip('[cache]\nprovider = "fil"\n', ASK, "`fil`", "llmcore.toml:2:", "", "file", "LC103"),
    "duration": Slip('[cache]\nttl = "1 hur"\n', ASK, '"1 hur"', "llmcore.toml:2:7", "a unit", None, "LC104"),
    "attempts": Slip("[retry]\nattempts = 0\n", ASK, "0", "llmcore.toml:2:12", "1 or more", None, "LC104"),
    "deadline": Slip('[retry]\ndeadlin = "5m"\n', ASK, "`deadlin`", "llmcore.toml:2:1", "deadline", "deadline", "LC102"),
    "budget": Slip('[budget]\nlimit = "5 EUR"\n', ASK, "5 EUR", "llmcore.toml:2:9", "5.00 USD", None, "LC104"),
    "period": Slip('[budget]\nlimit = "5 USD"\nper = "dya"\n', ASK, '"dya"', "llmcore.toml:3:7", "day", None, "LC104"),
    "no limit": Slip('[budget]\nper = "day"\n', ASK, "`limit` is missing", "llmcore.toml:1:", "5.00 USD", None, "LC112"),
    "eviction": Slip('[cache]\neviction = "lur"\n', ASK, '"lur"', "llmcore.toml:2:12", "lru", None, "LC104"),
    "alias": Slip(ECHO + '[models]\nsafe = "echo:echo"\n', ["ask", "-m", "saef", "Hi"], "saef", "-m", "", "safe", "LC308"),
    "profile": Slip(PROFILE, ["--profile", "prd", "ask", "Hi"], "`prd`", "--profile", "prod", "prod", "LC108"),
    "parameter": Slip(ECHO, ["ask", "-p", "temprature=0.2", "Hi"], "`temprature`", "", "temperature", "temperature", "LC302"),
    "no value": Slip(ECHO, ["ask", "-p", "temperature", "Hi"], "`temperature`", "-p", "NAME=VALUE", None, "LC001"),
    "schema": Slip(ECHO, ["ask", "--schema", "answr.json", "Hi"], "answr.json", "--schema answr.json", "", "answer.json", "LC001"),
    "command": Slip(ECHO, ["aks", "Hi"], "`aks`", "", "ask", "ask", "LC002"),
    "action": Slip(ECHO, ["config", "shwo"], "`shwo`", "", "show", "show", "LC001"),
    "group": Slip(ECHO, ["usage", "dya"], "`dya`", "", "day", "day", "LC001"),
    "setting": Slip(ECHO, ["config", "explain", "cache.tll"], "`tll`", "", "ttl", "cache.ttl", "LC102"),
    "option": Slip(ECHO, ["ask", "--modle", "echo:echo", "Hi"], "--modle", "--modle", "-m MODEL", "--model", "LC001"),
    "parameter as option": Slip(ECHO, ["ask", "--temprature", "0.2", "Hi"], "--temprature", "--temprature", "-p NAME=VALUE", "-p temperature=VALUE", "LC001"),
    "option of an action": Slip(ECHO, ["usage", "--sinse", "7d"], "--sinse", "--sinse", "", "--since", "LC001"),
    "group before options": Slip(ECHO, ["usage", "dya", "--since", "7d"], "`dya`", "dya", "day", "day", "LC001"),
    "wait": Slip(ECHO, ["ask", "--timeout", "soon", "Hi"], "`soon`", "--timeout", '"90s"', None, "LC001"),
    "shell": Slip(ECHO, ["completion", "bsh"], "`bsh`", "", "bash", "bash", "LC001"),
}  # fmt: skip


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = main([*arguments, "--json"])
    stderr = capsys.readouterr().err
    return code, json.loads(stderr)["error"] if code else {}


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_explained_and_its_fix_mends_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    slip = SLIPS[name]
    Path("llmcore.toml").write_text(slip.config)
    Path("answer.json").write_text('{"type": "object", "properties": {"name": {"type": "string"}}}')
    code, error = run(slip.arguments, capsys)
    assert code not in (0, 1), error
    assert error["code"] == slip.code, error
    assert slip.value in error["message"] + str(error["where"]), error
    assert slip.place in str(error["where"]), error
    assert slip.valid in str(error["expected"]), error
    if slip.nearest is not None:
        assert error["suggestion"] == slip.nearest, error
    fix = error["fix"].removesuffix(" --json")
    if fix.startswith("["):  # a header to write in place of the wrong one
        Path("llmcore.toml").write_text(slip.config.replace("[lm]", fix))
        fix = shlex.join(["llmcore", *slip.arguments])
    assert fix.startswith("llmcore "), error
    assert main(shlex.split(fix)[1:]) == 0, error
    if "config set" in fix:
        assert main(slip.arguments) == 0


NAMED: dict[str, tuple[str, list[str]]] = {
    "llm.provider": ('[llm]\nprovider = "ecko"\n', ASK),
    "a section that is missing": ('[llm]\nprovider = "echo"\n[ledger]\nenabled = false\n[budget]\nlimit = "1 USD"\n', ASK),
    "a command": (ECHO, ["modles"]),
    "an action": (ECHO, ["usage", "dya"]),
    "an option": (ECHO, ["ask", "--modle", "echo:echo", "Hi"]),
    "a profile": (ECHO + PROFILE, ["--profile", "prd", "ask", "Hi"]),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("by", ["--config", "LLMCORE_CONFIG"])
def test_a_fix_uses_the_configuration_file_that_was_named(
    name: str, by: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, arguments = NAMED[name]
    Path("my app.toml").write_text(config)
    if by == "--config":
        arguments = ["--config", "my app.toml", *arguments]
    else:
        monkeypatch.setenv("LLMCORE_CONFIG", "my app.toml")
    _, error = run(arguments, capsys)
    fix = error["fix"].removesuffix(" --json")
    if by == "--config" or "config set" in fix:
        assert "--config 'my app.toml'" in fix
    assert main(shlex.split(fix)[1:]) == 0, fix
    assert not Path("llmcore.toml").exists()
    if "config set" in fix:
        assert main(arguments) == 0


def test_a_fix_keeps_the_profile(capsys: pytest.CaptureFixture[str]) -> None:
    Path("llmcore.toml").write_text(ECHO + PROFILE)
    _, error = run(["--profile", "prod", "modles"], capsys)
    assert error["fix"] == "llmcore --profile prod models --json"
    assert main(shlex.split(error["fix"])[1:]) == 0


@pytest.mark.parametrize(
    ("option", "near"),
    [("--user", None), ("--sed", "-p seed=VALUE"), ("--sys", "--system"), ("--modle", "--model")],
)
def test_an_option_is_similar_to_another_without_its_dashes(
    option: str, near: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    code, error = run(["ask", option, "1", "hi"], capsys)
    assert (code, error.get("suggestion")) == (2, near)


def test_a_missing_key_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    Path("llmcore.toml").write_text('[llm]\nprovider = "openai"\nmodel = "tiny"\n')
    code, error = run(ASK, capsys)
    assert (code, error["code"]) == (4, "LC201")
    assert "OPENAI_API_KEY is not set" in error["message"]
    assert "[llm.openai] api_key" in error["where"]
    assert error["fix"] == "export OPENAI_API_KEY=sk-..."
    assert "OPENAI_API_KEY" not in os.environ
