"""`llmcore store` where something comes in between: files that vanish, outputs that are full, links, a Ctrl-C."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.kits.cli import CommandLine, press_ctrl_c, restore_ctrl_c

VANISHING = """
from llmcore.hookspecs import Provider, hookimpl
from llmcore.types import FileInfo
from llmcore.errors import StorageNotFound

LLMCORE_API = 1

class Storage:
    def save(self, key, data): ...
    def load(self, key): ...
    def exists(self, key): return True
    def delete(self, key): return True
    def list_files(self, prefix=""): return ["docs/a", "docs/gone", "docs/z"]
    def get_file_info(self, key):
        if key == "docs/gone":
            raise StorageNotFound("nothing is stored under it")
        return FileInfo(key=key, size_bytes=1, modified=1.0)

@hookimpl
def llmcore_storage_providers():
    yield Provider(name="vanishing", create=lambda options: Storage())
"""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def list_parts(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.name.endswith(".part")]


def test_a_file_that_vanishes_between_list_and_look_is_passed_over(cli: CommandLine) -> None:
    cli.install("vanishing", {"llmcore.storage": "vanishing = vanishing"}, {"vanishing": VANISHING})
    run_store = cli("store", "ls", "--json", "docs/*", LLMCORE__STORAGE__PROVIDER="vanishing")
    assert [file["key"] for file in json.loads(run_store.stdout)["files"]] == ["docs/a", "docs/z"]
    long = cli("store", "ls", "-l", "docs/*", LLMCORE__STORAGE__PROVIDER="vanishing")
    assert [line.split()[-1] for line in long.stdout.splitlines()[1:]] == ["docs/a", "docs/z"]


def test_a_file_with_the_longest_name_is_written(cli: CommandLine, tmp_path: Path) -> None:
    cli("store", "put", "k", stdin="12345")
    for length in (250, 255):
        assert cli("store", "get", "k", "-o", "n" * length).returncode == 0
        assert (tmp_path / ("n" * length)).read_bytes() == b"12345"
    done = cli("store", "get", "k", "-o", "n" * 256)
    assert (done.returncode, "cannot be written: File name too long" in done.stderr) == (2, True)
    assert list_parts(tmp_path) == []


def test_the_target_of_a_link_is_written_and_keeps_its_mode(cli: CommandLine, tmp_path: Path) -> None:
    cli("store", "put", "k", stdin="12345")
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"old")
    (tmp_path / "real" / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("real/file")
    (tmp_path / "new").symlink_to("real/new")
    (tmp_path / "round").symlink_to("round")
    for link, target in (("link", "file"), ("new", "new")):
        assert cli("store", "get", "k", "-o", link).returncode == 0
        assert (tmp_path / link).is_symlink()
        assert (tmp_path / "real" / target).read_bytes() == b"12345"
    assert (tmp_path / "real" / "file").stat().st_mode & 0o777 == 0o640
    done = cli("store", "get", "k", "-o", "round")
    assert (done.returncode, "the file round cannot be written" in done.stderr) == (2, True)
    assert cli("store", "get", "k", "-o", "/dev/null").returncode == 0
    assert list_parts(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_stdout_is_reported_in_plain_words(cli: CommandLine, tmp_path: Path) -> None:
    for size in (10, 1_000_000):
        cli("store", "put", "k", stdin="1" * size)
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [*cli.command, "store", "get", "k"],
                cwd=tmp_path, env=cli.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
            )  # fmt: skip
        assert done.returncode == 2
        assert "stdout cannot be written: No space left on device" in done.stderr
        assert "LC000" not in done.stderr
        assert "Exception ignored" not in done.stderr


def test_a_put_that_is_interrupted_keeps_nothing(cli: CommandLine, tmp_path: Path) -> None:
    """Interrupt it while it waits for more of a slow stdin, when a part has been written already."""
    cli("store", "put", "big", stdin="old")
    with subprocess.Popen(
        [*cli.command, "store", "put", "big"], cwd=tmp_path, env=cli.env, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=restore_ctrl_c,  # noqa: PLW1509 - nothing is locked here
    ) as put:  # fmt: skip
        assert put.stdin
        put.stdin.write(bytes(3 << 20))
        put.stdin.flush()
        data = tmp_path / "data"
        while not any(
            path.stat().st_size for path in data.iterdir() if path.name.startswith(".llmcore-tmp-")
        ):
            assert put.poll() is None
            os.sched_yield()
        press_ctrl_c(put)
        assert put.wait(60) == 130
        assert put.stdout
        assert put.stderr
        assert (put.stdout.read(), put.stderr.read()) == (b"", b"")
    assert [path.name for path in data.iterdir()] == ["big"]
    assert cli("store", "get", "big").stdout == "old"
    assert cli("store", "ls").stdout == "big\n"
    assert [path.name for path in data.iterdir()] == ["big"]


def test_with_json_each_action_reports_what_it_did(cli: CommandLine) -> None:
    def run_store(*arguments: str, stdin: str = "") -> Any:
        return json.loads(cli("store", *arguments, "--json", stdin=stdin).stdout)

    assert run_store("put", "k", stdin="three") == {"schema": 1, "key": "k", "size_bytes": 5}
    assert run_store("cp", "k", "l") == {"schema": 1, "source": "k", "target": "l"}
    assert run_store("mv", "l", "m") == {"schema": 1, "source": "l", "target": "m"}
    assert run_store("rm", "m", "nothing") == {"schema": 1, "deleted": ["m"]}


def test_missing_files_are_reported_with_commands_of_the_shell(cli: CommandLine) -> None:
    cli("store", "put", "k", stdin="1")
    done = cli("store", "cp", "nothing", "x")
    assert (done.returncode, "fix: llmcore store ls" in done.stderr) == (1, True)
    done = cli("store", "rm", "k", "nothing")
    assert "nothing was stored under nothing; deleted k" in done.stderr
    assert cli("store", "put", "../up", stdin="1").returncode == 2, (
        "the request is not acceptable; nothing was done"
    )
