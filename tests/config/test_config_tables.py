"""A plugin declares a table of its own, and the host checks it like every other table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kits.cli import CommandLine

MODULE = """
from llmcore.hookspecs import Options, Table, hookimpl
from llmcore.types import Duration, Secret

LLMCORE_API = 1


class GatewayOptions(Options):
    port: int = 4000
    drain: Duration = Duration(600)
    token: Secret | None = None


@hookimpl
def llmcore_tables():
    yield Table(name="gateway", options=GatewayOptions)


def serve(arguments):
    import llmcore

    options = llmcore.load(profile=arguments[0] if arguments else None).table("gateway")
    token = None if options.token is None else options.token.reveal()
    print(type(options).__name__, options.port, float(options.drain), token)
    return 0
"""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    line = CommandLine(tmp_path)
    entries = {"llmcore.tables": "gateway = acme_gate", "llmcore.commands": "serve = acme_gate:serve"}
    line.install("acme-gate", entries, {"acme_gate": MODULE})
    return line


def test_the_command_gets_its_table_checked_and_resolved(cli: CommandLine) -> None:
    assert cli("serve").stdout == "GatewayOptions 4000 600.0 None\n"
    (cli.folder / "llmcore.toml").write_text(
        '[gateway]\nport = 4001\ndrain = "1m"\ntoken = "env:GATE"\n[profiles.prod.gateway]\nport = 80\n'
    )
    assert cli("serve", GATE="hidden").stdout == "GatewayOptions 4001 60.0 hidden\n"
    assert cli("serve", "prod", GATE="hidden").stdout == "GatewayOptions 80 60.0 hidden\n"
    assert cli("serve", GATE="x", LLMCORE__GATEWAY__PORT="77").stdout == "GatewayOptions 77 60.0 x\n"


def test_check_reports_every_fault_of_the_table_with_its_line(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text('[gateway]\nprot = 1\ndrain = "soon"\ntoken = "plain"\n')
    done = cli("config", "check")
    assert done.returncode == 3
    assert "unknown key `prot` in [gateway]" in done.stderr
    assert "did you mean `port`?" in done.stderr
    assert "llmcore.toml:3:9" in done.stderr
    assert "`token` in [gateway] must be a reference to a secret" in done.stderr
    assert "plain" not in done.stdout + done.stderr
    assert cli("serve").returncode == 3
    assert cli("ask", "Hi").returncode == 0, "the table of another command stops no question"


def test_a_fix_for_a_misspelt_key_works_when_it_is_pasted(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text("[gateway]\nprot = 4001\n")
    assert "= fix: llmcore config set gateway.port 4001\n" in cli("config", "check").stderr
    assert cli("config", "set", "gateway.port", "4001").returncode == 0
    assert (cli.folder / "llmcore.toml").read_text() == "[gateway]\nport = 4001\n"


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("gateway.prot", "1", "did you mean `port`?"),
        ("gateway.port", "many", "`port` must be a whole number"),
        ("gateway.token", "plain", "must be a reference to a secret"),
        ("gatway.port", "1", "did you mean `gateway`?"),
    ],
)
def test_set_refuses_what_would_not_load(cli: CommandLine, key: str, value: str, told: str) -> None:
    done = cli("config", "set", key, value)
    assert done.returncode == 3
    assert told in done.stderr
    assert not (cli.folder / "llmcore.toml").exists()


def test_set_takes_a_reference_whose_variable_comes_later(cli: CommandLine) -> None:
    assert cli("config", "set", "gateway.token", "env:GATE").returncode == 0
    done = cli("config", "check")
    assert "no `token` for the table [gateway]: the environment variable GATE is not set" in done.stderr
    assert cli("config", "check", GATE="hidden").returncode == 0


def test_a_variable_with_one_underscore_is_told_apart(cli: CommandLine) -> None:
    done = cli("config", "check", LLMCORE_GATEWAY__PORT="1")
    assert "did you mean `LLMCORE__GATEWAY__PORT`?" in done.stderr


def test_explain_and_completion_know_the_keys(cli: CommandLine) -> None:
    assert cli("config", "explain", "gateway.port").stdout == "gateway.port is not set\n"
    assert "did you mean `gateway.port`?" in cli("config", "explain", "gateway.prot").stderr
    assert "gateway.drain" in cli("completion", "values", "settings").stdout.split()
    assert "port: int" in cli("plugins", "info", "gateway").stdout


def test_without_the_plugin_the_table_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "llmcore.toml").write_text("[gateway]\nport = 1\n")
    done = CommandLine(tmp_path)("ask", "Hi")
    assert done.returncode == 3
    assert "unknown section [gateway]" in done.stderr


def test_a_plugin_that_may_not_be_loaded_keeps_its_table(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text("[gateway]\nport = 1\n")
    assert cli("ask", "Hi", LLMCORE_PLUGINS="none").returncode == 0
    assert cli("serve", LLMCORE_PLUGINS="acme-gate").stdout == "GatewayOptions 1 600.0 None\n"


def test_a_hook_that_yields_something_else_is_told(cli: CommandLine) -> None:
    text = MODULE.replace("yield Table(name=", "yield dict(name=")
    (cli.site / "acme_gate.py").write_text(text)
    done = cli("serve")
    assert done.returncode == 6
    assert "yields an object of type dict from `llmcore_tables`" in done.stderr
    assert "Table(name=..., options=<a class>), each name once" in done.stderr
