"""What mistakes look like at a shell, as golden texts. Each fix works when it is pasted, or shows what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.cli import main

ECHO = '[llm]\nprovider = "echo"\nmodel = "tiny"\n'
STORAGE = ECHO + '[storage]\nprovider = "fs"\n'

SCREENS: list[tuple[str, list[str], str]] = [
    (ECHO + '[cache]\nprovider = "dynamodb"\n', ["ask", "Hi"], """error[LC103]: unknown cache provider `dynamodb`
 --> llmcore.toml:5:12
5 | provider = "dynamodb"
  |            ^^^^^^^^^^
  = expected: ...
  = fix: llmcore config set cache.provider file
"""),
    (ECHO, ["ask", "Hi", "--profile", "prod"], """error[LC108]: unknown profile `prod`
 --> --profile
  = expected: a table [profiles.prod.SECTION] in a configuration file
  = fix: llmcore config set profiles.prod.llm.model tiny
"""),
    (ECHO, ["ask", "Hi", "--schema", "person.json"], """error[LC001]: person.json is not JSON: it ends inside an object: a } is missing
 --> person.json:2:17
2 |  "properties": {
  |                 ^
  = expected: an object such as {"type": "object", "properties": {"name": {"type": "string"}}}
  = fix: llmcore ask Hi --schema 'name, age int, bio: one sentence'
"""),
    (STORAGE, ["store", "get", "../etc/passwd"], """error[LC801]: the key is not acceptable: ".." is not allowed in a key
 --> key '../etc/passwd'
  = expected: parts joined by "/", such as "reports/2026/november.txt"
  = fix: llmcore store get etc/passwd
"""),
    (STORAGE, ["store", "get", "a.txt"], """error[LC802]: nothing is stored under 'a.txt'
 --> FOLDER/data/a.txt
  = expected: a key that was saved before; the storage is empty
  = fix: echo Hello | llmcore store put a.txt
"""),
    (ECHO, ["ask", "-a", "cat.png", "Hi"], """error[LC311]: the file cannot be read: No such file or directory: FOLDER/cat.png
 --> -a cat.png
  = expected: a file that can be read
  = fix: ls .
"""),
    (ECHO, ["ask", "-p", "max_tokens=many", "Hi"], """error[LC308]: max_tokens must be a whole number, got 'many'
 --> max_tokens='many'
  = expected: a whole number, 1 or more
  = fix: llmcore ask -p max_tokens=1000 Hi
"""),
    (ECHO + '[cache]\nprovider = "redis"\n[cache.redis]\nurl = "127.0.0.1:6379"\n', ["ask", "Hi"],
     """error[LC100]: the address of the Redis server cannot be read: '127.0.0.1:6379' has no scheme
 --> llmcore.toml:7:7
7 | url = "127.0.0.1:6379"
  |       ^^^^^^^^^^^^^^^^
  = expected: redis://127.0.0.1:6379
  = help: did you mean `redis://127.0.0.1:6379`?
  = note: in a password, write %40 for @, %2F for /, %3A for :, %23 for #
  = fix: llmcore config set cache.redis.url redis://127.0.0.1:6379
"""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "arguments", "expected"), SCREENS, ids=[" ".join(row[1]) for row in SCREENS]
)
def test_a_mistake_is_shown_with_its_place_and_a_fix(
    config: str, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("llmcore.toml").write_text(config)
    Path("person.json").write_text('{"type": "object",\n "properties": {')
    assert main(arguments) != 0
    shown = capsys.readouterr().err.replace(str(Path.cwd()), "FOLDER")
    if "expected: ..." in expected:  # the installed plugins
        line = next(line for line in shown.splitlines() if line.startswith("  = expected: "))
        shown = shown.replace(line, "  = expected: ...")
    assert shown == expected


@pytest.mark.parametrize(
    ("text", "inside"),
    [('{"type": "obj', "a text"), ('{"required": ["a"', "a list: a ] is missing"), ('{"a": {}, "b"', "an object: a } is missing")],
)  # fmt: skip
def test_a_schema_that_ends_early_says_what_is_open(
    text: str, inside: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("llmcore.toml").write_text(ECHO)
    Path("person.json").write_text(text)
    assert main(["ask", "Hi", "--schema", "person.json"]) == 2
    assert f"is not JSON: it ends inside {inside}\n" in capsys.readouterr().err


def test_doctor_says_what_a_redis_that_is_away_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMCORE_PLUGINS", "redis")  # doctor starts a process for each plugin
    url = "redis://127.0.0.1:1/0"
    Path("llmcore.toml").write_text(ECHO + f'[cache]\nprovider = "redis"\n[cache.redis]\nurl = "{url}"\n')
    assert main(["doctor"]) == 6
    shown = capsys.readouterr().out
    assert "; expected: a server that answers" in shown
    assert "redis-cli -u redis://127.0.0.1:1" in shown


def test_an_unknown_voice_is_replaced_by_a_listed_one(capsys: pytest.CaptureFixture[str]) -> None:
    Path("llmcore.toml").write_text(ECHO + '[voice]\nprovider = "espeak"\n')
    assert main(["say", "Hello", "--voice", "xx-zz", "-o", "x.wav"]) == 1
    assert "  = fix: llmcore say Hello --voice en-us -o x.wav\n" in capsys.readouterr().err
    assert main(["say", "Hello", "--voice", "en-us", "-o", "x.wav"]) == 0
