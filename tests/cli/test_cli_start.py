"""The start of the command line: the loaded modules, the version and help, and errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import llmcore
from llmcore.cli.parser import COMMANDS, EXIT_CODES, make_parser
from llmcore_testing.simulator import Simulator
from tests.kits.cli import CommandLine

# Runs the command line and prints, on stderr, the modules that it loaded.
PROBE = """
import sys
before = set(sys.modules)
from llmcore.cli import main
code = main(sys.argv[1:])
brought = sorted(set(sys.modules) - before)
print("\\n".join(brought), file=sys.stderr)
sys.exit(code)
"""

NOT_FOR_A_CACHED_ANSWER = {
    # other people's, each dearer than all that is needed
    "asyncio", "httpx", "httpx2", "importlib.metadata", "openai", "pluggy", "pydantic", "tenacity", "tiktoken",
    "tomlkit", "typing_extensions",
    # Python's own, for log messages, tracebacks, signatures and random numbers
    "dataclasses", "difflib", "hashlib", "hmac", "inspect", "json", "logging", "random", "secrets", "shlex", "traceback",
    "unicodedata",
    # ours, for other commands
    "llmcore.cache.manager", "llmcore.config.edit", "llmcore.config.example", "llmcore.config.positions",
    "llmcore.contracts", "llmcore.storage", "llmcore_testing", "llmcore.voice",
    # ours, for other calls and for misses
    "llmcore.builtin.eviction", "llmcore.cache.lease", "llmcore.cache.refresh", "llmcore.calls.limits",
    "llmcore.calls.single_flight", "llmcore.llm.countable",
    "llmcore.llm.attempt", "llmcore.llm.batch.items", "llmcore.llm.documents", "llmcore.llm.quote", "llmcore.llm.repair",
    "llmcore.pipeline.stages", "llmcore.llm.strict_schema", "llmcore.llm.structured_output", "llmcore.llm.wire_events", "llmcore.llm.wire_kind",
}  # fmt: skip


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    line = CommandLine(tmp_path)
    line.fork = False  # the start itself is tried
    return line


def list_modules(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=60,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version_is_printed_without_loading_anything(option: str) -> None:
    brought = list_modules(option)
    ours = {name for name in brought if name.startswith("llmcore")}
    assert ours == {"llmcore", "llmcore.cli"}
    assert "argparse" not in brought


def test_help_loads_argparse_and_no_other_part_of_the_host() -> None:
    brought = list_modules("--help")
    ours = {name for name in brought if name.startswith("llmcore")}
    assert ours == {"llmcore", "llmcore.cli", "llmcore.cli.app", "llmcore.cli.parser", "llmcore.cli.streams"}
    assert "argparse" in brought
    assert brought.isdisjoint({"msgspec", "pluggy", "openai", "asyncio", "tomllib", "importlib.metadata"})


def test_help_of_a_command_loads_no_plugin() -> None:
    brought = list_modules("ask", "--help")
    assert brought.isdisjoint({"pluggy", "openai", "asyncio", "lmdb", "llmcore.core", "llmcore.config"})


def test_a_cached_answer_loads_few_modules(cli: CommandLine) -> None:
    with Simulator() as upstream:
        settings = {
            "LLMCORE__LLM__PROVIDER": "openai",
            "LLMCORE__LLM__MODEL": "gpt-4o-mini",
            "OPENAI_BASE_URL": upstream.base_url,
            "OPENAI_API_KEY": "sk-test",
        }
        first = cli("ask", "Hi", **settings)
        assert first.returncode == 0, first.stderr
        done = subprocess.run(
            [sys.executable, "-c", PROBE, "ask", "Hi"],
            cwd=cli.folder,
            env=cli.env | settings,
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=60,
        )
        assert len(upstream.requests) == 1
    assert done.stdout == first.stdout
    brought = set(done.stderr.split())
    unused = {"conversations", "keeping", "prompt_templates", "template_options", "config_start"}
    assert brought.isdisjoint(
        {f"llmcore.cli.{name}" for name in unused} | {"llmcore.content_log", "http.client"}
    )
    assert sorted(brought & NOT_FOR_A_CACHED_ANSWER) == []
    foreign = {name.partition(".")[0] for name in brought} - sys.stdlib_module_names
    assert foreign <= {"llmcore", "llmcore_openai_optimized", "lmdb", "msgspec", "platformdirs"}


PLUGIN = """
from llmcore.hookspecs import Provider, hookimpl

def create(options):
    import logging
    from llmcore.builtin.memory_cache import MemoryCache
    from llmcore.builtin.options import MemoryOptions
    logging.getLogger("llmcore.acme").warning("the cache is far away")
    return MemoryCache(MemoryOptions())

@hookimpl
def llmcore_cache_providers():
    yield Provider(name="acme", create=create)
"""


def test_a_warning_of_a_plugin_that_uses_logging_itself_is_printed(cli: CommandLine) -> None:
    info = cli.folder / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[llmcore.cache]\nacme = acme_cache\n")
    (cli.folder / "acme_cache.py").write_text(PLUGIN)
    done = cli("ask", "Hi", LLMCORE__CACHE__PROVIDER="acme", PYTHONPATH=str(cli.folder))
    assert done.stdout == "You said: Hi\n"
    assert "warning: the cache is far away\n" in done.stderr


def test_no_command_loads_typing_extensions(cli: CommandLine) -> None:
    pytest.importorskip("typing_extensions", reason="comes with pydantic")
    code = "from llmcore.cli import main; main(['ask', 'Hi']); import typing_extensions"
    subprocess.run([sys.executable, "-c", code], cwd=cli.folder, env=cli.env, check=True, timeout=60)


def test_version_is_that_of_the_package_wherever_it_is_asked_for(cli: CommandLine) -> None:
    for arguments in (["--version"], ["--no-color", "--version"]):
        done = cli(*arguments)
        assert (done.stdout, done.stderr, done.returncode) == (f"llmcore {llmcore.__version__}\n", "", 0)


def test_no_command_is_a_wish_for_help(cli: CommandLine) -> None:
    done = cli()
    assert done.returncode == 0
    assert done.stdout == cli("--help").stdout
    for text in ("usage: llmcore", "commands:", "exit codes:", "130"):
        assert text in done.stdout


def test_every_command_has_its_help() -> None:
    for name in COMMANDS:
        text = make_parser(name).format_help()
        assert text.startswith(f"usage: llmcore {name}")
        assert all(len(line) <= 100 for line in text.splitlines()), text


def test_an_unknown_command_is_reported_with_the_nearest_name(cli: CommandLine) -> None:
    done = cli("modles")
    assert (done.returncode, done.stdout) == (2, "")
    first, place, expected, *rest = done.stderr.splitlines()
    assert (first, place) == ("error[LC002]: no command `modles`", " --> COMMAND modles")
    assert expected.startswith(f"  = expected: {', '.join(COMMANDS)}")  # and the commands of plugins
    assert rest == ["  = help: did you mean `models`?", "  = fix: llmcore models"]


def test_an_unknown_option_is_reported_with_the_nearest_name(cli: CommandLine) -> None:
    done = cli("ask", "--modle", "x", "Hi")
    assert done.returncode == 2
    assert done.stderr.startswith("error[LC001]: llmcore ask does not take --modle")
    assert "  = help: did you mean `--model`?\n" in done.stderr


def test_an_unknown_action_is_reported_with_the_nearest_name(cli: CommandLine) -> None:
    done = cli("config", "shwo")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error[LC001]: `llmcore config` does not know `shwo`"
    assert "  = help: did you mean `show`?" in done.stderr


@pytest.mark.parametrize("arguments", [["--json", "aks"], ["ask", "--json", "--nothing"]])
def test_with_json_an_error_is_one_object_on_stderr(cli: CommandLine, arguments: list[str]) -> None:
    done = cli(*arguments)
    shown = json.loads(done.stderr)
    assert done.stdout == ""
    assert shown["schema"] == 1
    assert sorted(shown["error"]) == [
        "code", "exit_code", "expected", "fix", "kind", "message", "notes", "suggestion", "where",
    ]  # fmt: skip
    assert shown["error"]["exit_code"] == done.returncode == 2


def test_color_can_be_turned_on_and_off(cli: CommandLine) -> None:
    assert "\x1b[" not in cli("nothing").stderr
    assert "\x1b[1;31merror[LC002]:\x1b[0m" in cli("nothing", FORCE_COLOR="1").stderr
    assert "\x1b[" not in cli("nothing", FORCE_COLOR="1", NO_COLOR="1").stderr
    assert "\x1b[" not in cli("--no-color", "nothing", FORCE_COLOR="1").stderr


def test_a_traceback_is_printed_only_on_request(cli: CommandLine) -> None:
    assert "Traceback" not in cli("ask", "-p", "nothing=1", "Hi").stderr
    assert "Traceback" in cli("ask", "-p", "nothing=1", "Hi", LLMCORE_TRACEBACK="1").stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is a POSIX matter here")
def test_a_reader_that_closes_the_pipe_early_is_not_an_error(cli: CommandLine) -> None:
    process = subprocess.Popen(
        [*cli.command, "ask", "-"],
        env=cli.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdin is not None
    process.stdout.close()  # as `| head -0` does
    process.stdin.write(b"word " * 50_000)
    process.stdin.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_output_is_reported_in_plain_words(cli: CommandLine, unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*cli.command, "plugins", "list"],
            env={**cli.env, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error[LC001]: stdout cannot be written: No space left on device\n")
    assert "Exception ignored" not in done.stderr


def test_characters_without_an_encoding_are_replaced(cli: CommandLine) -> None:
    done = cli("ask", "Grüße 😀", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.stdout, done.returncode) == ("You said: Gr??e ?\n", 0)


def test_guide_and_help_list_the_same_exit_codes() -> None:
    guide = Path(__file__).parents[2] / "docs" / "guides" / "cli.md"
    rows = [line.strip("| ").split(" | ", 1) for line in guide.read_text(encoding="utf-8").splitlines()]
    meanings = {int(row[0]): row[1] for row in rows if row[0].isdecimal()}
    assert meanings.keys() == EXIT_CODES.keys()
    assert all(meanings[code].startswith(meaning) for code, meaning in EXIT_CODES.items())
