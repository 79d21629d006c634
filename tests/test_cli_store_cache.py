"""`llmcore store` and `llmcore cache`: bytes stay bytes, and what is there can be told and cleared."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.kit_cli import CommandLine

EVERY_BYTE = bytes(range(256))


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def test_every_byte_goes_in_and_comes_out(cli: CommandLine, tmp_path: Path) -> None:
    put = subprocess.run(
        [*cli.command, "store", "put", "a/b.bin"],
        cwd=tmp_path, env=cli.env, input=EVERY_BYTE, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert (put.stdout, put.stderr) == (b"", b"kept 256 B under a/b.bin\n".replace(b"\n", b"\n"))
    get = subprocess.run(
        [*cli.command, "store", "get", "a/b.bin"],
        cwd=tmp_path, env=cli.env, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert (get.stdout, get.stderr) == (EVERY_BYTE, b"")
    assert (tmp_path / "data" / "a" / "b.bin").read_bytes() == EVERY_BYTE


def test_files_go_in_and_come_out(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "in.bin").write_bytes(EVERY_BYTE)
    assert cli("store", "put", "k", "in.bin").returncode == 0
    done = cli("store", "get", "k", "-o", "out.bin")
    assert (done.stdout, done.stderr) == ("", "wrote 256 B to out.bin\n")
    assert (tmp_path / "out.bin").read_bytes() == EVERY_BYTE
    assert cli("store", "put", "k", "missing.bin").returncode == 2


def test_ls_lists_keys_one_a_line_or_with_size_and_time(cli: CommandLine) -> None:
    for key in ("b/2", "a", "b/1"):
        cli("store", "put", key, stdin="12345")
    assert cli("store", "ls").stdout == "a\nb/1\nb/2\n"
    assert cli("store", "ls", "b/").stdout == "b/1\nb/2\n"
    long = cli("store", "ls", "-l").stdout.splitlines()
    assert long[0].split() == ["SIZE", "MODIFIED", "KEY"]
    assert long[1].startswith("5 B ")
    told = json.loads(cli("store", "ls", "--json").stdout)["files"]
    assert [(file["key"], file["size_bytes"]) for file in told] == [("a", 5), ("b/1", 5), ("b/2", 5)]
    assert sorted(told[0]) == ["key", "modified", "size_bytes"]


def test_rm_removes_what_is_there_and_tells_what_is_not(cli: CommandLine) -> None:
    cli("store", "put", "a", stdin="1")
    done = cli("store", "rm", "a", "b")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing was kept under b\n" in done.stderr
    assert cli("store", "ls").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["get", "nothing"], 1, "error[LC802]"),
        (["put", "../outside"], 1, "error[LC801]"),
        ([], 2, "`llmcore store` needs an action"),
    ],
)
def test_what_cannot_be_is_told(cli: CommandLine, arguments: list[str], code: int, said: str) -> None:
    done = cli("store", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_a_storage_that_is_not_installed_is_6(cli: CommandLine) -> None:
    done = cli("store", "ls", LLMCORE__STORAGE__PROVIDER="s3")
    assert done.returncode == 6
    assert "llmcore-storage-object" in done.stderr


def test_cache_stats_tell_what_is_kept(cli: CommandLine, empty_home: Path) -> None:
    cli("ask", "one")
    cli("ask", "two")
    told = json.loads(cli("cache", "stats", "--json", "--keys").stdout)
    assert sorted(told) == [
        "entries", "folder", "keys", "namespace", "provider", "schema", "size_bytes", "values",
    ]  # fmt: skip
    assert (told["provider"], told["namespace"], told["entries"], told["values"]) == ("file", "default", 2, 0)
    assert told["size_bytes"] > 0
    assert Path(told["folder"]).is_relative_to(empty_home)
    assert len(told["keys"]) == 2
    assert "entries    2 (0 of them an application's own values)\n" in cli("cache").stdout


def test_cache_clear_forgets_the_configured_namespace_alone(cli: CommandLine) -> None:
    cli("ask", "one")
    cli("ask", "one", LLMCORE__CACHE__NAMESPACE="other")
    done = cli("cache", "clear")
    assert (done.stdout, done.stderr) == ("", "cleared the namespace default of the cache file\n")
    assert json.loads(cli("cache", "--json").stdout)["entries"] == 0
    assert json.loads(cli("cache", "--json", LLMCORE__CACHE__NAMESPACE="other").stdout)["entries"] == 1


def test_a_cache_that_fails_harms_no_answer_and_is_a_warning(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("no folder")
    done = cli("ask", "Hi", LLMCORE__CACHE__FILE__CACHE_DIR=str(tmp_path / "taken"))
    assert (done.stdout, done.returncode) == ("You said: Hi\n", 0)
    assert done.stderr.startswith("warning: cache `file` fails")
