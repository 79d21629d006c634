"""`ask --save NAME` stores a prompt, `ask -t NAME` uses it, `templates` lists and removes them."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.cli.prompt_templates import Template, load_template, save_template
from llmcore_testing import Simulator
from tests.kits.cli import CommandLine


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def upstream(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    with Simulator() as simulator:
        (cli.folder / "llmcore.toml").write_text(
            f'[llm]\nprovider = "openai"\nmodel = "first"\n[llm.openai]\nbase_url = "{simulator.base_url}"\n'
        )
        yield simulator


def find_folder(cli: CommandLine) -> Path:
    return Path(cli.env["XDG_CONFIG_HOME"], "llmcore/templates")


def test_the_text_fills_the_variable_without_a_value(cli: CommandLine) -> None:
    saved = cli("ask", "--save", "summary", "Sum up in {language}: {text}")
    assert (saved.stdout, saved.stderr) == ("", "saved summary; variables: language, text\n")
    said = "You said: Sum up in German: hello\n"
    assert cli("ask", "-t", "summary", "--var", "language=German", "hello").stdout == said
    assert cli("ask", "-t", "summary", "--var", "language=German", stdin="hello").stdout == said
    assert cli("ask", "-t", "summary", "--var", "language=German", "--var", "text=hello").stdout == said


def test_without_a_variable_the_text_follows_the_prompt(cli: CommandLine) -> None:
    cli("ask", "--save", "fixed", "Translate this to French:")
    assert cli("ask", "-t", "fixed", "rain").stdout == "You said: Translate this to French:\n\nrain\n"
    assert cli("ask", "-t", "fixed").stdout == "You said: Translate this to French:\n"


def test_braces_of_json_and_doubled_ones_are_text(cli: CommandLine) -> None:
    prompt = 'Answer as {"name": {"first": "x"}} or {} or { a }, not {{text}}: {text}'
    cli("ask", "--save", "json", prompt)
    said = cli("ask", "-t", "json", "rain {text}").stdout
    assert said == 'You said: Answer as {"name": {"first": "x"}} or {} or { a }, not {text}: rain {text}\n'


def test_options_are_stored_and_those_of_the_command_line_win(cli: CommandLine, upstream: Simulator) -> None:
    schema = cli.folder / "schema.json"
    schema.write_text('{"type": "object", "properties": {"name": {"type": "string"}}}')
    options = ["-s", "Be a {role}", "-m", "second", "-p", "temperature=0.2", "-p", "seed=1"]
    assert cli("ask", "--save", "city", *options, "--schema", str(schema), "Name a {kind}").returncode == 0
    schema.unlink()
    upstream.replies('{"name": "Rome"}', '{"name": "Rome"}')
    done = cli("ask", "-t", "city", "--var", "role=poet", "-p", "temperature=0.5", "city")
    assert json.loads(done.stdout) == {"name": "Rome"}, done.stderr
    body = upstream.requests[0].body
    assert [message["content"] for message in body["messages"]] == ["Be a poet", "Name a city"]
    assert (body["model"], body["temperature"], body["seed"]) == ("second", 0.5, 1)
    assert "name" in str(body["response_format"])
    cli("ask", "-t", "city", "-s", "Be brief", "-m", "first", "town")
    assert upstream.requests[1].body["model"] == "first"
    assert upstream.requests[1].body["messages"][0]["content"] == "Be brief"


def test_a_system_message_alone_is_a_template(cli: CommandLine, upstream: Simulator) -> None:
    assert cli("ask", "-s", "Sum up", "--save", "summ", stdin="not read").returncode == 0
    assert cli("ask", "-t", "summ", stdin="a long text").returncode == 0
    assert [message["content"] for message in upstream.requests[0].body["messages"]] == [
        "Sum up",
        "a long text",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-t", "sumary", "x"], "= fix: llmcore ask -t summary x"),
        (["-t", "../summary", "x"], "there is no template ../summary"),
        (["-t", "summary", "x"], "= fix: llmcore ask -t summary --var language=TEXT < FILE"),
        (["-t", "summary", "--var", "langage=x", "y"], "= fix: llmcore ask -t summary --var language=x y"),
        (["-t", "summary", "--var", "language", "y"], "`language` is not NAME=TEXT"),
        (["--var", "language=x", "y"], "--var needs a template"),
        (["--save", "a/b", "y"], "= fix: llmcore ask --save a-b y"),
        (["--save", "a", "--no-cache", "y"], "a template does not store --no-cache"),
        (["--save", "a", "-a", "x.png", "y"], "a template does not store --attach"),
        (["--save", "a", "-c", "y"], "a template does not store -c"),
    ],
)
def test_mistakes_are_errors_before_anything_is_sent(
    cli: CommandLine, upstream: Simulator, arguments: list[str], expected: str
) -> None:
    cli("ask", "--save", "summary", "Sum up in {language}: {text}")
    done = cli("ask", *arguments)
    assert (done.stdout, done.returncode) == ("", 2)
    assert expected in done.stderr
    assert upstream.counts["requests"] == 0


def test_templates_are_listed_shown_and_removed(cli: CommandLine) -> None:
    assert "no template is saved" in cli("templates").stderr
    cli("ask", "--save", "summary", "Sum up:\n{text}", "-p", "temperature=0.2")
    assert cli("ask", "--save", "summary", "Sum up: {text}").stderr.startswith("replaced summary")
    assert cli("templates").stdout.split() == [
        "NAME",
        "VARIABLES",
        "TEXT",
        "summary",
        "text",
        "Sum",
        "up:",
        "{text}",
    ]
    assert cli("templates", "show", "summary").stdout == "prompt: Sum up: {text}\n"
    listed = json.loads(cli("templates", "--json").stdout)["templates"]
    assert [(each["name"], each["variables"]) for each in listed] == [("summary", ["text"])]
    assert cli("templates", "rm", "sumary").returncode == 2
    assert cli("templates", "rm", "summary").returncode == 0
    assert list(find_folder(cli).iterdir()) == []


def test_a_file_that_a_person_broke_hides_no_other(cli: CommandLine) -> None:
    cli("ask", "--save", "good", "Hello")
    (find_folder(cli) / "bad.toml").write_text('promt = "x"\n')
    done = cli("templates")
    assert "good" in done.stdout
    assert "warning: the template bad cannot be read" in done.stderr
    assert "promt" in cli("ask", "-t", "bad", "x").stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_completion_knows_the_names(cli: CommandLine) -> None:
    cli("ask", "--save", "summary", "Sum up: {text}")
    assert cli("completion", "values", "templates").stdout == "summary\n"
    assert '"-t") what=templates' in cli("completion", "bash").stdout
    assert '"templates rm") what=templates' in cli("completion", "bash").stdout


@given(text=st.text(alphabet=st.characters(codec="utf-8"), min_size=1))
def test_every_text_is_stored_as_it_is(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("config")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        save_template("any", Template(prompt=text, system=text))
        loaded = load_template("any")
        assert (loaded.prompt, loaded.system) == (text, text)
        assert tomllib.loads((folder / "llmcore/templates/any.toml").read_text("utf-8"))["prompt"] == text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_list_is_as_it_was_looked_at(width: int, cli: CommandLine) -> None:
    cli(
        "ask",
        "--save",
        "review",
        "Review this change as an engineer who has to maintain it in {years} years: {diff}",
    )
    cli("ask", "--save", "summary", "Sum up: {text}")
    shown = cli("templates", COLUMNS=str(width), NO_COLOR="1").stdout
    screens = Path(__file__).parents[1] / "fixtures" / "screens"
    assert shown == (screens / f"templates-{width}.txt").read_text("utf-8")
