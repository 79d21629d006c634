"""`llmcore plugins new` and `check`: a new plugin works, and the faults of a broken one are reported."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.kits.cli import CommandLine

KINDS = ("llm", "cache", "storage", "voice", "ledger", "engines")


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def begin(cli: CommandLine, name: str, kind: str) -> Path:
    """Write a new plugin and install it, as `pip install -e` does."""
    done = cli("plugins", "new", name, "--kind", kind)
    assert done.returncode == 0, done.stderr
    folder = cli.folder / f"llmcore-{name}"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    entries = {
        group: "\n".join(f"{entry} = {value}" for entry, value in entries.items())
        for group, entries in project["entry-points"].items()
    }
    cli.install(project["name"], entries, {}, project["version"])
    (cli.site / f"llmcore_{name}").symlink_to(folder / f"llmcore_{name}", target_is_directory=True)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_check_at_once_without_warnings(cli: CommandLine, kind: str) -> None:
    begin(cli, "acme", kind)
    done = cli("plugins", "check", "acme", "--json")
    shown = json.loads(done.stdout)
    assert (done.returncode, shown["ok"], shown["failed"], shown["warnings"]) == (0, True, 0, []), shown
    assert shown["passed"] > (8 if kind == "engines" else 20)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_a_new_plugin_pass(cli: CommandLine, kind: str) -> None:
    folder = begin(cli, "acme", kind)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=folder, env=cli.env | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, capture_output=True, encoding="utf-8",
        check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_a_new_plugin_serves_at_once(cli: CommandLine) -> None:
    folder = begin(cli, "acme", "llm")
    assert cli("ask", "-m", "acme:demo", "Hello").stdout == "You said: Hello\n"
    assert (
        cli("ask", "Hello", LLMCORE__LLM__PROVIDER="acme", LLMCORE__LLM__ACME__GREETING="So: ").stdout
        == "So: Hello\n"
    )
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix != ".pyc" and path.is_file()) == [
        "LICENSE", "README.md", "llmcore_acme/__init__.py", "llmcore_acme/plugin.py", "llmcore_acme/provider.py",
        "llmcore_acme/py.typed", "pyproject.toml", "tests/test_conformance.py",
    ]  # fmt: skip
    assert not [
        path
        for path in folder.rglob("*")
        if path.suffix in {".py", ".md", ".toml"}
        and "@" in path.read_text().replace("@hookimpl", "").replace("@pytest", "")
    ]


def test_a_new_voice_speaks_into_a_file(cli: CommandLine) -> None:
    begin(cli, "acme", "voice")
    done = cli("say", "Hello", "-o", "hello.wav", LLMCORE__VOICE__PROVIDER="acme")
    assert done.returncode == 0, done.stderr
    assert (cli.folder / "hello.wav").read_bytes().startswith(b"RIFF")
    refused = cli("say", "Hello", "-o", "hello.mp3", LLMCORE__VOICE__PROVIDER="acme")
    assert "format must be wav, got 'mp3'" in refused.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_written_in_good_form(cli: CommandLine, kind: str) -> None:
    folder = begin(cli, "acme", kind)
    ruff = [sys.executable, "-m", "ruff"]
    lint = [
        *ruff,
        "check",
        "--isolated",
        "--no-cache",
        "--line-length=110",
        "--select=B,E,F,I,N,RUF,SIM,UP",
        ".",
    ]
    for command in (lint, [*ruff, "format", "--isolated", "--no-cache", "--line-length=110", "--check", "."]):
        done = subprocess.run(
            command, cwd=folder, capture_output=True, encoding="utf-8", check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Acme-2", "did you mean `acme_2`?"),
        ("echo", "`echo` is a built-in name"),
        ("class", "`class` is not a valid provider name"),
        ("../up", "did you mean `up`?"),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_nothing_is_written(
    cli: CommandLine, name: str, said: str
) -> None:
    done = cli("plugins", "new", name, "--kind", "llm")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert list(cli.folder.iterdir()) == []


def test_an_existing_folder_is_never_overwritten(cli: CommandLine) -> None:
    begin(cli, "acme", "cache")
    done = cli("plugins", "new", "acme", "--kind", "llm")
    assert done.returncode == 2
    assert "llmcore-acme already exists" in done.stderr


def test_check_uses_no_provider_after_its_end(cli: CommandLine) -> None:
    provider = begin(cli, "acme", "cache") / "llmcore_acme" / "provider.py"
    text = provider.read_text().replace(
        "self._entries: dict[str, tuple[bytes, float | None]] = {}", "self._entries = _STORE"
    )
    text = text.replace("\n\nclass ", "\n\n_STORE: dict[str, tuple[bytes, float | None]] = {}\n\n\nclass ", 1)
    provider.write_text(
        f"{text}\n    def close(self) -> None:\n        del self._entries  # a later call fails\n"
    )
    done = cli("plugins", "check", "acme", "--json")
    assert json.loads(done.stdout)["failed"] == 0, done.stdout


def test_check_reports_a_failing_plugin(cli: CommandLine) -> None:
    provider = begin(cli, "acme", "cache") / "llmcore_acme" / "provider.py"
    provider.write_text(provider.read_text().replace("return existed", "return True"))
    done = cli("plugins", "check", "acme")
    assert (done.returncode, done.stderr) == (6, "")
    assert "failed  test_delete" in done.stdout
    assert done.stdout.endswith("the provider does not fulfil the contract of its kind\n")


LEAKING = """
from llmcore.builtin.memory_cache import MemoryCache
from llmcore.hookspecs import Options, Provider, hookimpl
from llmcore.types import Secret

LLMCORE_API = 1

class AcmeOptions(Options):
    first: Secret | None = None
    second: Secret | None = None
    short: Secret | None = None

class Acme(MemoryCache):
    def __init__(self, options):
        super().__init__()
        self.address = f"redis://:{options.second.reveal() if options.second else ''}@host"

@hookimpl
def llmcore_cache_providers():
    yield Provider(name="acme", options=AcmeOptions, create=Acme)
"""


def test_check_searches_for_every_secret_of_the_options(cli: CommandLine) -> None:
    cli.install("llmcore-acme", {"llmcore.cache": "acme = llmcore_acme"}, {"llmcore_acme": LEAKING})
    given = ["-o", "first=one-secret-key", "-o", "short=redis"]
    assert cli("plugins", "check", "acme", *given).returncode == 0, "a short secret can appear by chance"
    done = cli("plugins", "check", "acme", *given, "-o", "second=another-secret-key")
    assert done.returncode == 6
    assert "test_the_key_is_never_shown[sync-second]" in done.stdout
    assert "address" in done.stdout
    assert "[sync-first]" not in done.stdout
    assert "secret-key" not in done.stdout + done.stderr


def test_ours_pass_their_check(cli: CommandLine) -> None:
    for name in ("echo", "memory"):
        done = cli("plugins", "check", name)
        assert done.returncode == 0, done.stdout
        assert " 0 failed, " in done.stdout


def test_a_check_touches_nothing_that_is_in_use(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "llmcore.toml").write_text('[storage.fs]\nroot = "./mine"\n')
    cli("store", "put", "a", stdin="precious")
    cli("ask", "Hi")
    assert cli("plugins", "check", "fs").returncode == 0
    assert cli("plugins", "check", "file").returncode == 0
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["a"]
    assert json.loads(cli("ask", "--json", "Hi").stdout)["cached"] is True
    done = cli("plugins", "check", "fs", "-o", f"root={tmp_path / 'mine'}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not empty: it has 1" in done.stderr
    assert (tmp_path / "mine" / "a").read_text() == "precious"


def test_a_check_without_the_key_says_so_once(cli: CommandLine) -> None:
    done = cli("plugins", "check", "openai", "--kind", "llm", "-m", "gpt-5.6-luna")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("error[LC201]")


DOWN = {
    "llm": ("words = self._answer(request)", 'raise Unavailable("acme is down")', "Unavailable"),
    "cache": ("return self._find(key)", 'raise CacheUnavailable("acme is down")', "CacheUnavailable"),
    "storage": (
        'return bool(self._execute("SELECT 1',
        'raise StorageUnavailable("acme is down")\n        return bool(self._execute("SELECT 1',
        "StorageUnavailable",
    ),
    "engines": ("return self._size", 'raise EngineError("acme is down")', "EngineError"),
    "ledger": ("return bool(self._counters)", 'raise LedgerUnavailable("acme is down")', "LedgerUnavailable"),
    "voice": ("return list(_VOICES.values())", 'raise Unavailable("acme is down")', "Unavailable"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_down_is_reported_once(cli: CommandLine, kind: str) -> None:
    provider = begin(cli, "acme", kind) / "llmcore_acme" / "provider.py"
    line, raising, error = DOWN[kind]
    text = provider.read_text()
    assert line in text
    text = text.replace(line, raising, 1).replace(
        "from typing", f"from llmcore.errors import {error}\nfrom typing", 1
    )
    provider.write_text(
        text
        if error in text.partition("class ")[0]
        else f"from llmcore.errors import {error}\n{text.partition('annotations')[2]}"
    )
    done = cli("plugins", "check", "acme")
    assert done.returncode not in (0, 6)
    assert done.stdout == ""
    assert done.stderr.count("acme is down") == 1


def test_a_check_without_pytest_says_how_to_get_it(cli: CommandLine) -> None:
    (cli.site / "pytest").mkdir(parents=True)
    hide = "import sys, importlib.util\nfind = importlib.util.find_spec\nimportlib.util.find_spec = lambda name, *rest: None if name == 'pytest' else find(name, *rest)\n"
    (cli.site / "sitecustomize.py").write_text(hide)
    done = cli("plugins", "check", "echo")
    assert done.returncode == 2
    assert "  = fix: pip install pytest\n" in done.stderr
