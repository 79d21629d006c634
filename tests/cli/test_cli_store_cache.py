"""`llmcore store` and `llmcore cache`: bytes are stored unchanged; files and entries are listed and removed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.kits.cli import CommandLine

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
    assert long[1].startswith(" 5 B  ")
    files = json.loads(cli("store", "ls", "--json").stdout)["files"]
    assert [(file["key"], file["size_bytes"]) for file in files] == [("a", 5), ("b/1", 5), ("b/2", 5)]
    assert sorted(files[0]) == ["content_type", "etag", "key", "modified", "size_bytes"]
    assert cli("store", "ls", "b/*").stdout == "b/1\nb/2\n"
    assert [file["key"] for file in json.loads(cli("store", "ls", "**/2", "--json").stdout)["files"]] == [
        "b/2"
    ]


def test_rm_removes_existing_files_and_reports_missing_ones(cli: CommandLine) -> None:
    cli("store", "put", "a", stdin="1")
    done = cli("store", "rm", "a", "b")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing was stored under b; deleted a\n" in done.stderr
    assert cli("store", "ls").stdout == ""


def test_cp_and_mv_work_without_the_bytes_going_through(cli: CommandLine) -> None:
    cli("store", "put", "a", stdin="12345")
    assert cli("store", "cp", "a", "folder/b").returncode == 0
    assert cli("store", "mv", "a", "folder/c").returncode == 0
    assert cli("store", "ls").stdout == "folder/b\nfolder/c\n"
    assert cli("store", "get", "folder/c").stdout == "12345"
    done = cli("store", "mv", "a", "b")
    assert (done.returncode, "error[LC802]" in done.stderr) == (1, True)


def run_on_terminal(cli: CommandLine, *arguments: str) -> tuple[int, str]:
    """Run with a terminal as stderr; return the exit code and the output on the terminal."""
    there, here = pty.openpty()
    with subprocess.Popen(
        [*cli.command, *arguments], cwd=cli.folder, env=cli.env | {"TERM": "xterm"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=here,
    ) as process:  # fmt: skip
        os.close(here)
        shown = b""
        try:
            while piece := os.read(there, 4096):
                shown += piece
        except OSError:  # so Linux says that the other side is closed
            pass
        finally:
            os.close(there)
    return process.returncode, shown.decode()


def test_a_large_file_shows_its_progress_on_a_terminal_and_nowhere_else(
    cli: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(bytes(30_000_000))
    code, shown = run_on_terminal(cli, "store", "put", "large", "large")
    assert code == 0
    assert "MB of 30.0 MB, " in shown
    assert shown.splitlines()[-1].split("\r")[-1] == "kept 30.0 MB under large", "the line is wiped off"
    code, shown = run_on_terminal(cli, "store", "get", "large", "-o", "again")
    assert "MB of 30.0 MB, " in shown
    assert (tmp_path / "again").read_bytes() == bytes(30_000_000)
    assert cli("store", "put", "large", "large").stderr == "kept 30.0 MB under large\n"
    (tmp_path / "small").write_bytes(bytes(1000))
    assert run_on_terminal(cli, "store", "put", "small", "small")[1] == "kept 1.0 KB under small\r\n"


def test_a_failed_get_keeps_the_existing_file(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    assert cli("store", "get", "nothing", "-o", "out").returncode == 1
    assert (tmp_path / "out").read_bytes() == b"old"
    cli("store", "put", "a", stdin="new")
    assert cli("store", "get", "a", "-o", "no/such/folder").returncode == 2
    assert cli("store", "get", "a", "-o", "out").returncode == 0
    assert (tmp_path / "out").read_bytes() == b"new"
    assert cli("store", "put", "b", "data").returncode == 2, "a folder is not a file"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["get", "nothing"], 1, "error[LC802]"),
        (["put", "../outside"], 2, "error[LC801]"),
        ([], 2, "`llmcore store` needs an action"),
    ],
)
def test_invalid_keys_are_reported(cli: CommandLine, arguments: list[str], code: int, said: str) -> None:
    done = cli("store", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_a_storage_that_is_not_installed_is_6(cli: CommandLine) -> None:
    done = cli("store", "ls", LLMCORE__STORAGE__PROVIDER="s3", LLMCORE_PLUGINS="none")
    assert done.returncode == 6
    assert "llmcore-storage-object" in done.stderr


def test_cache_stats_describe_the_entries(cli: CommandLine, empty_home: Path) -> None:
    cli("ask", "one")
    cli("ask", "two")
    stats = json.loads(cli("cache", "stats", "--json", "--keys").stdout)
    assert sorted(stats) == [
        "entries", "folder", "keys", "namespace", "provider", "schema", "size_bytes", "unavailable", "values",
    ]  # fmt: skip
    assert stats["unavailable"] == {}
    assert (stats["provider"], stats["namespace"], stats["entries"], stats["values"]) == (
        "file",
        "default",
        2,
        0,
    )
    assert stats["size_bytes"] > 0
    assert Path(stats["folder"]).is_relative_to(empty_home)
    assert len(stats["keys"]) == 2
    assert "entries    2 (0 of them an application's own values)\n" in cli("cache").stdout


def test_cache_clear_clears_only_the_configured_namespace(cli: CommandLine) -> None:
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
