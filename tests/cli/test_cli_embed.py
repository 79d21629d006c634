"""`llmcore embed`: the vectors of a text or of the lines of a file, as JSON lines, JSON or a NumPy file."""

from __future__ import annotations

import ast
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kits.cli import CommandLine


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def test_a_text_has_one_line(cli: CommandLine) -> None:
    done = cli("embed", "It", "rains", "-d", "8")
    (vector,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (len(vector), done.stderr, done.returncode) == (8, "", 0)


def test_each_line_of_a_file_has_a_vector(cli: CommandLine) -> None:
    (cli.folder / "texts.txt").write_text("It rains\n\nMars is red\nIt rains\n", encoding="utf-8")
    vectors = [json.loads(line) for line in cli("embed", "texts.txt").stdout.splitlines()]
    assert len(vectors) == 3
    assert vectors[0] == vectors[2] != vectors[1]


@pytest.mark.parametrize("arguments", [["-"], []], ids=["dash", "nothing"])
def test_each_line_of_stdin_has_a_vector(cli: CommandLine, arguments: list[str]) -> None:
    assert len(cli("embed", *arguments, stdin="a\nb\n").stdout.splitlines()) == 2


def test_json_has_all_fields(cli: CommandLine) -> None:
    (cli.folder / "texts.txt").write_text("a\nb\n", encoding="utf-8")
    done = json.loads(cli("embed", "texts.txt", "--json", "-m", "echo:tiny", "-d", "4").stdout)
    assert (done["model"], done["provider"], done["dimensions"]) == ("tiny", "echo", 4)
    assert (len(done["vectors"]), done["cached"]) == (2, [False, False])
    assert done["usage"]["input_tokens"] == 2
    assert float(done["cost"]) == 0


def test_npy_is_a_numpy_file(cli: CommandLine) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llmcore", "embed", "-", "--npy", "-d", "16"],
        cwd=cli.folder, env=cli.env, input=b"a\nb\nc\n", capture_output=True, timeout=100, check=True,
    )  # fmt: skip
    data = done.stdout
    assert data.startswith(b"\x93NUMPY\x01\x00")
    (size,) = struct.unpack("<H", data[8:10])
    assert (10 + size) % 64 == 0
    header = ast.literal_eval(data[10 : 10 + size].decode())
    assert header == {"descr": "<f4", "fortran_order": False, "shape": (3, 16)}
    numbers = struct.unpack("<48f", data[10 + size :])
    lines = cli("embed", "a", "-d", "16").stdout
    assert numbers[:16] == pytest.approx(json.loads(lines), abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["texts", "--npy", "--json"], "", "exclude each other"),
        (["texts", "--refresh", "--no-cache"], "", "exclude each other"),
        (["-"], "\n \n", "stdin contains no text"),
        (["x", "-d", "0"], "", "dimensions must be a positive integer, got 0"),
        (["x", "-d", "many"], "", "invalid int value"),
    ],
)
def test_a_mistake_is_explained_and_exits_with_2(
    cli: CommandLine, arguments: list[str], stdin: str, message: str
) -> None:
    done = cli("embed", *arguments, stdin=stdin)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_vectors_are_cached_between_runs(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text(
        '[cache]\nprovider = "file"\n[cache.file]\ncache_dir = "cache"\n', encoding="utf-8"
    )
    assert json.loads(cli("embed", "It rains", "--json").stdout)["cached"] == [False]
    assert json.loads(cli("embed", "It rains", "--json").stdout)["cached"] == [True]
    assert json.loads(cli("embed", "It rains", "--json", "--refresh").stdout)["cached"] == [False]
