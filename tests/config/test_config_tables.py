"""A plugin declares its own table, and the host checks it like every other table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kits.cli import CommandLine

MODULE = """
from llmcore.hookspecs import Options, Table, hookimpl
from llmcore.types import Duration, Secret

LLMCORE_API = 1


class PortalOptions(Options):
    port: int = 4000
    drain: Duration = Duration(600)
    token: Secret | None = None


@hookimpl
def llmcore_tables():
    yield Table(name="portal", options=PortalOptions)


def beam(arguments):
    import llmcore

    options = llmcore.load(profile=arguments[0] if arguments else None).table("portal")
    token = None if options.token is None else options.token.reveal()
    print(type(options).__name__, options.port, float(options.drain), token)
    return 0
"""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    line = CommandLine(tmp_path)
    entries = {"llmcore.tables": "portal = acme_gate", "llmcore.commands": "beam = acme_gate:beam"}
    line.install("acme-gate", entries, {"acme_gate": MODULE})
    return line


def test_the_command_gets_its_table_checked_and_resolved(cli: CommandLine) -> None:
    assert cli("beam").stdout == "PortalOptions 4000 600.0 None\n"
    (cli.folder / "llmcore.toml").write_text(
        '[portal]\nport = 4001\ndrain = "1m"\ntoken = "env:GATE"\n[profiles.prod.portal]\nport = 80\n'
    )
    assert cli("beam", GATE="hidden").stdout == "PortalOptions 4001 60.0 hidden\n"
    assert cli("beam", "prod", GATE="hidden").stdout == "PortalOptions 80 60.0 hidden\n"
    assert cli("beam", GATE="x", LLMCORE__PORTAL__PORT="77").stdout == "PortalOptions 77 60.0 x\n"


def test_check_reports_every_fault_of_the_table_with_its_line(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text('[portal]\nprot = 1\ndrain = "soon"\ntoken = "plain"\n')
    done = cli("config", "check")
    assert done.returncode == 3
    assert "unknown key `prot` in [portal]" in done.stderr
    assert "did you mean `port`?" in done.stderr
    assert "llmcore.toml:3:9" in done.stderr
    assert "`token` in [portal] must be a reference to a secret" in done.stderr
    assert "plain" not in done.stdout + done.stderr
    assert cli("beam").returncode == 3
    assert cli("ask", "Hi").returncode == 0, "the table of another command stops no question"


def test_a_fix_for_a_misspelt_key_works_when_it_is_pasted(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text("[portal]\nprot = 4001\n")
    assert "= fix: llmcore config set portal.port 4001\n" in cli("config", "check").stderr
    assert cli("config", "set", "portal.port", "4001").returncode == 0
    assert (cli.folder / "llmcore.toml").read_text() == "[portal]\nport = 4001\n"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("portal.prot", "1", "did you mean `port`?"),
        ("portal.port", "many", "`port` must be a whole number"),
        ("portal.token", "plain", "must be a reference to a secret"),
        ("potal.port", "1", "did you mean `portal`?"),
    ],
)
def test_set_rejects_values_that_would_not_load(
    cli: CommandLine, key: str, value: str, expected: str
) -> None:
    done = cli("config", "set", key, value)
    assert done.returncode == 3
    assert expected in done.stderr
    assert not (cli.folder / "llmcore.toml").exists()


def test_set_takes_a_reference_whose_variable_comes_later(cli: CommandLine) -> None:
    assert cli("config", "set", "portal.token", "env:GATE").returncode == 0
    done = cli("config", "check")
    assert "no `token` for the table [portal]: the environment variable GATE is not set" in done.stderr
    assert cli("config", "check", GATE="hidden").returncode == 0


def test_a_variable_with_one_underscore_is_distinguished(cli: CommandLine) -> None:
    done = cli("config", "check", LLMCORE_PORTAL__PORT="1")
    assert "did you mean `LLMCORE__PORTAL__PORT`?" in done.stderr


def test_explain_and_completion_know_the_keys(cli: CommandLine) -> None:
    assert cli("config", "explain", "portal.port").stdout == "portal.port is not set\n"
    assert "did you mean `portal.port`?" in cli("config", "explain", "portal.prot").stderr
    assert "portal.drain" in cli("completion", "values", "settings").stdout.split()
    assert "port: int" in cli("plugins", "info", "portal").stdout


def test_without_the_plugin_the_table_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "llmcore.toml").write_text("[portal]\nport = 1\n")
    done = CommandLine(tmp_path)("ask", "Hi")
    assert done.returncode == 3
    assert "unknown section [portal]" in done.stderr


def test_a_plugin_that_may_not_be_loaded_keeps_its_table(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text("[portal]\nport = 1\n")
    assert cli("ask", "Hi", LLMCORE_PLUGINS="none").returncode == 0
    assert cli("beam", LLMCORE_PLUGINS="acme-gate").stdout == "PortalOptions 1 600.0 None\n"


def test_a_hook_that_yields_another_type_is_reported(cli: CommandLine) -> None:
    text = MODULE.replace("yield Table(name=", "yield dict(name=")
    (cli.site / "acme_gate.py").write_text(text)
    done = cli("beam")
    assert done.returncode == 6
    assert "yields an object of type dict from `llmcore_tables`" in done.stderr
    assert "Table(name=..., options=<a class>), each name once" in done.stderr
