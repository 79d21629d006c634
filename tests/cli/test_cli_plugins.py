"""`llmcore plugins list` and `info`; and that a broken plugin leaves every command working."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kits.cli import CommandLine

HOOK = "from llmcore.hookspecs import Provider, hookimpl\n@hookimpl\ndef {hook}():\n    yield Provider(name={name!r}, create=print)\n"
BROKEN = {
    "llmcore-absent": ("llm", "absent", "import a_module_that_nobody_has\n"),
    "llmcore-exits": ("cache", "exits", "import sys\nsys.exit('no')\n"),
    "llmcore-misspelt": (
        "storage",
        "misspelt",
        HOOK.format(hook="llmcore_storge_providers", name="misspelt"),
    ),
    "llmcore-greedy": ("llm", "echo", "raise AssertionError('a built-in name is not even imported')\n"),
    "llmcore-old": ("voice", "old", "LLMCORE_API = 0\n"),
}


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def broken(cli: CommandLine) -> CommandLine:
    """Return a command line with five plugins that are broken in different ways."""
    for distribution, (kind, name, text) in BROKEN.items():
        module = distribution.replace("-", "_")
        cli.install(distribution, {f"llmcore.{kind}": f"{name} = {module}"}, {module: text})
    return cli


def test_list_shows_every_claimant_from_metadata(broken: CommandLine) -> None:
    done = broken("plugins")
    assert (done.stderr, done.returncode) == ("", 0)
    rows = [line.split(maxsplit=4) for line in done.stdout.splitlines()]
    assert rows[0] == ["NAME", "KIND", "DISTRIBUTION", "VERSION", "STATE  WHY"] or rows[0][:4] == [
        "NAME", "KIND", "DISTRIBUTION", "VERSION",
    ]  # fmt: skip
    states = {(row[0], row[1], row[2]): " ".join(row[4].split()) for row in rows[1:]}
    assert states["echo", "llm", "llmcore-host"] == "built in in use"
    assert states["openai", "llm", "llmcore-openai-optimized"] == "ready"
    assert states["echo", "llm", "llmcore-greedy"].startswith("shadowed `echo` is built in")
    assert states["absent", "llm", "llmcore-absent"] == "ready"


def test_list_as_json_is_stable(broken: CommandLine) -> None:
    shown = json.loads(broken("plugins", "list", "--json").stdout)
    assert sorted(shown) == ["notes", "plugins", "schema"]
    assert sorted(shown["plugins"][0]) == [
        "distribution",
        "fix",
        "in_use",
        "kind",
        "module",
        "name",
        "state",
        "version",
        "why",
    ]


def test_list_marks_every_provider_that_the_configuration_selects(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "llmcore.toml").write_text(
        '[llm]\nprovider = "spare"\nmodel = "gpt-5"\n[llm.spare]\nuse = "openai"\n[limits]\nshared = "redis"\n'
    )
    rows = json.loads(cli("plugins", "--json").stdout)["plugins"]
    used = {(row["kind"], row["name"]) for row in rows if row["in_use"]}
    assert used == {
        ("llm", "spare"), ("llm", "openai"), ("cache", "file"), ("cache", "redis"), ("ledger", "sqlite"), ("engines", "local"),
    }  # fmt: skip


def test_list_obeys_llmcore_plugins(cli: CommandLine) -> None:
    rows = json.loads(cli("plugins", "--json", LLMCORE_PLUGINS="none").stdout)["plugins"]
    states = {row["name"]: row["state"] for row in rows}
    built_in = {name for name, state in states.items() if state == "built in"}
    assert built_in == {"chat", "echo", "file", "local", "log", "memory", "smtp", "sqlite"}
    assert states["openai"] == states["fs"] == "blocked"
    assert set(states.values()) == {"blocked", "built in"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"], ["--help"], ["ask", "Hi"], ["count", "Hi"], ["models"], ["cache"], ["cache", "clear"],
        ["store", "ls"], ["config"], ["config", "check"], ["config", "path"], ["plugins"], ["plugins", "info", "echo"],
        ["completion", "bash"], ["chat"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_broken_plugins_leave_every_command_working(broken: CommandLine, arguments: list[str]) -> None:
    done = broken(*arguments)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent", "did not load: ModuleNotFoundError: No module named 'a_module_that_nobody_has'"),
        ("exits", "did not load: SystemExit: no"),
        ("misspelt", "  = help: did you mean `llmcore_storage_providers`?"),
        ("old", "was built for version 0 of the hooks"),
        ("llmcore-greedy:echo", "that name is built in"),
        ("nobody", "error[LC103]: unknown provider `nobody`\n  = expected: absent, "),
    ],
)
def test_a_broken_plugin_is_explained_when_it_is_used(broken: CommandLine, name: str, said: str) -> None:
    done = broken("plugins", "info", name)
    assert (done.returncode, done.stdout) == (6, "")
    assert said in done.stderr


def test_info_prints_options_parameters_and_abilities(cli: CommandLine) -> None:
    shown = json.loads(cli("plugins", "info", "file", "--json").stdout)
    assert {"name": "max_size", "type": "Size", "required": False, "default": 10**9} in shown["options"]
    assert "CacheProvider" in shown["abilities"]
    text = cli("plugins", "info", "openai", "--kind", "llm").stdout
    assert "  base_url: str | None " in text
    assert "parallel_tool_calls" in text
    assert "OPENAI_API_KEY is not set" in text


def test_info_shows_no_key(cli: CommandLine) -> None:
    done = cli("plugins", "info", "openai", "--kind", "llm", OPENAI_API_KEY="sk-0123456789abcdef")
    assert "StreamingLLMProvider" in done.stdout
    assert "sk-0123" not in done.stdout + done.stderr


def test_a_name_of_several_kinds_needs_its_kind(cli: CommandLine) -> None:
    both = {"llmcore.storage": "memory2 = llmcore_two", "llmcore.cache": "memory2 = llmcore_two"}
    text = HOOK.format(hook="llmcore_cache_providers", name="memory2")
    cli.install("llmcore-two", both, {"llmcore_two": text})
    done = cli("plugins", "info", "memory2")
    assert done.returncode == 2
    assert "--kind cache or --kind storage" in done.stderr
    assert cli("plugins", "info", "memory2", "--kind", "cache").returncode == 0


def test_a_plugins_command_is_called_with_its_arguments(cli: CommandLine) -> None:
    text = "import sys\ndef main(arguments):\n    print('called with', arguments)\n    return 5\n"
    entries = {"llmcore.commands": "greet = llmcore_greet:main\nask = llmcore_greet:main"}
    cli.install("llmcore-greet", entries, {"llmcore_greet": text})
    done = cli("greet", "--loud", "you")
    assert (done.stdout, done.returncode) == ("called with ['--loud', 'you']\n", 5)
    common = cli("--json", "--config", "other.toml", "greet", "you")
    assert common.stdout == "called with ['--json', '--config', 'other.toml', 'you']\n"
    assert cli("ask", "Hi").stdout == "You said: Hi\n", "a plugin must not replace a command of llmcore"
    assert "did you mean `greet`?" in cli("gret").stderr


def test_a_failing_plugin_command_is_reported_without_a_traceback(cli: CommandLine) -> None:
    entries = {"llmcore.commands": "boom = llmcore_boom:main\ngone = llmcore_boom:missing"}
    cli.install(
        "llmcore-boom", entries, {"llmcore_boom": "def main(arguments):\n    raise ValueError('no')\n"}
    )
    done = cli("boom")
    assert done.returncode == 1
    assert done.stderr.startswith("error[LC000]: llmcore itself failed: ValueError: no\n")
    assert cli("gone").returncode == 6
