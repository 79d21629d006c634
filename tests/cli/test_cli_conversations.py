"""`llmcore chat` and `ask -c` keep conversations: they survive kills, other terminals and storages that fail."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore_testing import Fault, Simulator
from tests.kits.cli import CommandLine

PLAIN_STORAGE = """
from pathlib import Path
from llmcore.errors import StorageNotFound
from llmcore.hookspecs import Options, Provider, hookimpl


class PlainOptions(Options):
    root: Path


class Plain:
    '''A storage without any optional ability.'''

    def __init__(self, options):
        self.root = options.root

    def save(self, key, data):
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return True

    def load(self, key):
        try:
            return (self.root / key).read_bytes()
        except FileNotFoundError:
            raise StorageNotFound(key) from None

    def exists(self, key):
        return (self.root / key).exists()

    def delete(self, key):
        if not self.exists(key):
            return False
        (self.root / key).unlink()
        return True

    def list_files(self, prefix="", pattern=None):
        found = (str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())
        return sorted(key for key in found if key.startswith(prefix))

    def create_directory(self, key):
        return True

    def get_file_size(self, key):
        return len(self.load(key))

    def get_modified_time(self, key):
        return (self.root / key).stat().st_mtime


@hookimpl
def llmcore_storage_providers():
    yield Provider(name="plain", options=PlainOptions, create=Plain)
"""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def upstream(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    with Simulator() as simulator:
        (cli.folder / "llmcore.toml").write_text(
            '[llm]\nprovider = "openai"\nmodel = "first"\n'
            f'[llm.openai]\nbase_url = "{simulator.base_url}"\n[retry]\nattempts = 1\n'
        )
        yield simulator


def read_state(cli: CommandLine) -> dict[str, Any]:
    """Return the files of the user's state folder by name."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in find_folder(cli).glob("*.json")}


def find_folder(cli: CommandLine) -> Path:
    return Path(cli.env["XDG_STATE_HOME"], "llmcore/conversations")


def list_texts(conversation: dict[str, Any]) -> list[str]:
    return [message["content"] for message in conversation["messages"]]


def wait_for_answer(process: subprocess.Popen[str], file: Path, answer: str) -> None:
    """Wait until *file* has *answer*, which is printed before it is saved."""
    while f'"{answer}"' not in file.read_text("utf-8"):
        assert process.poll() is None, "the command has ended"


def list_sent(upstream: Simulator) -> list[list[str]]:
    return [[message["content"] for message in request.body["messages"]] for request in upstream.requests]


def test_the_last_conversation_goes_on_tomorrow(cli: CommandLine, upstream: Simulator) -> None:
    upstream.replies("One.", "Two.", "Three.")
    assert cli("chat", "-s", "Be brief", "-m", "second", stdin="a\n").returncode == 0
    assert cli("ask", "-c", "b").stdout == "Two.\n"
    assert cli("chat", "--continue", stdin="c\n").stdout == "Three.\n"
    assert list_sent(upstream)[-1] == ["Be brief", "a", "One.", "b", "Two.", "c"]
    assert {request.body["model"] for request in upstream.requests} == {"second"}
    (found,) = read_state(cli).values()
    assert list_texts(found) == ["a", "One.", "b", "Two.", "c", "Three."]


def test_ask_begins_a_conversation_where_there_is_none(cli: CommandLine, upstream: Simulator) -> None:
    upstream.replies("One.", "Two.")
    assert cli("ask", "-c", "a").stdout == "One.\n"
    assert cli("ask", "-c", "--no-stream", "b").stdout == "Two.\n"
    assert list_sent(upstream) == [["a"], ["a", "One.", "b"]]


def test_a_plain_question_is_kept_nowhere(cli: CommandLine) -> None:
    assert cli("ask", "very secret").returncode == 0
    home = Path(cli.env["HOME"])
    found = [path for path in home.rglob("*") if path.is_file() and b"very secret" in path.read_bytes()]
    assert not [path for path in found if not path.is_relative_to(cli.env["XDG_CACHE_HOME"])]
    assert read_state(cli) == {}


def test_a_name_selects_a_conversation_and_so_does_its_beginning(cli: CommandLine) -> None:
    assert cli("chat", "--name", "pirates", stdin="a\n").returncode == 0
    assert cli("chat", stdin="other\n").returncode == 0
    assert cli("chat", "pirates", stdin="b\n").returncode == 0
    assert cli("chat", "pir", stdin="c\n").returncode == 0
    assert list_texts(read_state(cli)["pirates"])[::2] == ["a", "b", "c"]


def test_a_misspelt_name_is_an_error_with_the_nearest(cli: CommandLine) -> None:
    cli("chat", "--name", "pirates", stdin="a\n")
    done = cli("chat", "pirtes", stdin="b\n")
    assert (done.stdout, done.returncode) == ("", 1)
    assert "= fix: llmcore chat pirates" in done.stderr
    again = cli("chat", "--name", "pirates", stdin="b\n")
    assert (again.stdout, again.returncode) == ("", 1)
    assert "= fix: llmcore chat pirates" in again.stderr
    assert "= fix: llmcore chat --name a-b" in cli("chat", "--name", "a b", stdin="b\n").stderr


def test_a_kill_during_an_answer_loses_that_answer_alone(cli: CommandLine, upstream: Simulator) -> None:
    upstream.replies("One.", "Two.")
    with subprocess.Popen(
        [*cli.command, "chat"], cwd=cli.folder, env=cli.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"a\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"One.\n"
        upstream.fail(Fault.stall(after=0))
        process.stdin.write(b"b\n")
        process.stdin.flush()
        while upstream.counts["requests"] < 2:
            assert process.poll() is None
        process.kill()
    (found,) = read_state(cli).values()
    assert list_texts(found) == ["a", "One.", "b"]
    upstream.replies("Three.")
    assert cli("ask", "-c", "c").stdout == "Three.\n"
    assert list_sent(upstream)[-1] == ["a", "One.", "c"]


def test_two_terminals_do_not_overwrite_each_other(cli: CommandLine) -> None:
    cli("chat", "--name", "shared", stdin="a\n")
    with subprocess.Popen(
        [*cli.command, "chat", "shared"],
        cwd=cli.folder, env=cli.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("b\n")
        process.stdin.flush()
        assert process.stdout.readline() == "You said: b\n"
        wait_for_answer(process, find_folder(cli) / "shared.json", "You said: b")
        assert cli("chat", "shared", stdin="from the other\n").returncode == 0
        _, said = process.communicate("c\n")
    assert "shared was continued elsewhere; this conversation goes on as shared-" in said
    found = read_state(cli)
    other = next(name for name in found if name != "shared")
    assert list_texts(found["shared"])[::2] == ["a", "b", "from the other"]
    assert list_texts(found[other])[::2] == ["a", "b", "c"]


def test_a_failed_first_question_leaves_nothing(cli: CommandLine, upstream: Simulator) -> None:
    upstream.fail(Fault.status(500))
    assert cli("chat", stdin="lost\n").returncode == 1
    assert read_state(cli) == {}
    upstream.fail(Fault.status(500))
    assert cli("ask", "-c", "lost").returncode == 7
    assert read_state(cli) == {}


def test_new_begins_another_conversation(cli: CommandLine) -> None:
    cli("chat", "-s", "Be brief", stdin="a\n/new\nb\n")
    assert sorted(list_texts(each)[0] for each in read_state(cli).values()) == ["a", "b"]
    assert {each["system"] for each in read_state(cli).values()} == {"Be brief"}


@pytest.mark.parametrize("provider", ["fs", "plain"])
def test_conversations_are_files_of_the_configured_storage(cli: CommandLine, provider: str) -> None:
    if provider == "plain":
        cli.install("acme-plain", {"llmcore.storage": "plain = acme_plain"}, {"acme_plain": PLAIN_STORAGE})
    (cli.folder / "llmcore.toml").write_text(
        f'[storage]\nprovider = "{provider}"\n[storage.{provider}]\nroot = "files"\n'
    )
    assert cli("chat", "--name", "rain", stdin="a\nb\n").returncode == 0
    assert cli("ask", "-c", "c").returncode == 0
    assert cli("chat", "--name", "rain", stdin="d\n").returncode == 1, "the name is taken"
    file = cli.folder / "files/conversations/rain.json"
    assert list_texts(json.loads(file.read_text()))[::2] == ["a", "b", "c"]
    assert read_state(cli) == {}
    with subprocess.Popen(
        [*cli.command, "chat", "rain"],
        cwd=cli.folder, env=cli.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("d\n")
        process.stdin.flush()
        process.stdout.readline()
        wait_for_answer(process, file, "You said: d")
        assert cli("chat", "rain", stdin="e\n").returncode == 0
        process.communicate("f\n")
    assert list_texts(json.loads(file.read_text()))[::2] == ["a", "b", "c", "d", "e"]
    assert cli("chat", "--search", "f").stdout.count("rain-") == 1


def test_a_storage_that_is_away_is_an_error_before_a_paid_call(cli: CommandLine, upstream: Simulator) -> None:
    with (cli.folder / "llmcore.toml").open("a") as file:
        file.write(
            '[storage]\nprovider = "s3"\n[storage.s3]\nbucket = "b"\nendpoint = "http://127.0.0.1:9"\n'
            'access_key_id = "env:S3_KEY"\nsecret_access_key = "env:S3_KEY"\nretries = 0\ntimeout = "5s"\n'
        )
    for arguments in (["chat"], ["ask", "-c", "a"], ["chat", "--list"]):
        done = cli(*arguments, stdin="a\n", S3_KEY="any")
        assert (done.stdout, done.returncode) == ("", 7), done.stderr
        assert "error[LC807]" in done.stderr
    assert upstream.counts["requests"] == 0
    assert cli("chat", "--no-keep", stdin="a\n", S3_KEY="any").returncode == 0


def test_a_folder_that_cannot_be_written_is_an_error_before_a_paid_call(
    cli: CommandLine, upstream: Simulator
) -> None:
    state = Path(cli.env["XDG_STATE_HOME"], "llmcore")
    state.mkdir(parents=True, exist_ok=True)
    (state / "conversations").write_text("a file in the place of the folder")
    done = cli("chat", stdin="a\n")
    assert done.returncode == 1
    assert "conversations cannot be kept" in done.stderr
    assert upstream.counts["requests"] == 0


def test_conversations_are_not_kept_where_the_user_does_not_want_it(cli: CommandLine) -> None:
    assert cli("chat", "--no-keep", stdin="a\n").stdout == "You said: a\n"
    assert cli("chat", stdin="a\n", LLMCORE__CHAT__KEEP="false").stdout == "You said: a\n"
    assert cli("config", "set", "chat.keep", "false").returncode == 0
    assert cli("chat", stdin="a\n").stdout == "You said: a\n"
    assert read_state(cli) == {}
    assert "did you mean `keep`?" in cli("config", "set", "chat.kep", "true").stderr


def test_search_finds_all_words_in_any_case_and_order(cli: CommandLine) -> None:
    cli("chat", "--name", "weather", stdin="What is RAIN?\nAnd Straßen?\n")
    cli("chat", "--name", "food", stdin="What is soup?\n")
    assert cli("chat", "--list").stdout.splitlines()[1].startswith("food")
    shown = json.loads(cli("chat", "--search", "strassen", "rain", "--json").stdout)["conversations"]
    assert [(each["name"], each["messages"]) for each in shown] == [("weather", 4)]
    assert cli("chat", "--search", "rain soup").stdout == ""
    assert len(json.loads(cli("chat", "--list", "-n", "1", "--json").stdout)["conversations"]) == 1


def test_a_file_that_is_not_a_conversation_hides_no_other(cli: CommandLine) -> None:
    cli("chat", "--name", "good", stdin="a\n")
    folder = Path(cli.env["XDG_STATE_HOME"], "llmcore/conversations")
    (folder / "bad.json").write_text('{"messages": [{"role": "user"}]}')
    done = cli("chat", "--list")
    assert "good" in done.stdout
    assert (
        "warning: conversations/bad.json is not a conversation: message 1 has no role or content"
        in done.stderr
    )
    assert cli("chat", "bad", stdin="a\n").returncode == 1


@pytest.mark.parametrize(
    "arguments", [["--list", "--search", "x"], ["name", "-c"], ["--no-keep", "-c"], ["-n", "-1", "--list"]]
)
def test_options_that_exclude_each_other(cli: CommandLine, arguments: list[str]) -> None:
    assert cli("chat", *arguments).returncode == 2


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_list_is_as_it_was_looked_at(width: int, cli: CommandLine) -> None:
    folder = Path(cli.env["XDG_STATE_HOME"], "llmcore/conversations")
    folder.mkdir(parents=True)
    questions = {
        "2026-11-28-091500-3fa2": "What is the difference between rain, drizzle and a shower? Explain it to a child.",
        "pirates": "Invent a pirate",
    }
    for at, (name, question) in enumerate(questions.items()):
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": "Well."}]
        plain = {"schema": 1, "name": name, "updated": f"2026-11-2{8 + at}T09:20:00Z", "messages": messages}
        file = folder / f"{name}.json"
        file.write_text(json.dumps(plain))
        os.utime(file, (1_000_000 + at, 1_000_000 + at))
    shown = cli("chat", "--list", COLUMNS=str(width), NO_COLOR="1").stdout
    screens = Path(__file__).parents[1] / "fixtures" / "screens"
    assert shown == (screens / f"conversations-{width}.txt").read_text("utf-8")
