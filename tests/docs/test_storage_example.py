"""One application runs unchanged on a disk, in memory, on moto and on rclone: only the configuration differs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kits.object_servers import BUCKET, Server, moto, needs_moto, needs_rclone, rclone

PROGRAM = Path(__file__).parents[2] / "examples" / "storage.py"

DISK = '[storage]\nprovider = "fs"\n[storage.fs]\nroot = "kept"\n'
MEMORY = '[storage]\nprovider = "object_memory"\n'
S3 = """
[storage]
provider = "s3"

[storage.s3]
bucket = "{bucket}"
endpoint = "{endpoint}"
access_key_id = "env:STORE_KEY_ID"
secret_access_key = "env:STORE_SECRET"
prefix = "an/application"
"""

DIGEST = hashlib.sha256(b"".join(bytes([number]) * 1_000_000 for number in range(24))).hexdigest()[:8]
SAID = f"""
values: 256 Grüße Report(title='November', pages=12)
names: ['reports/november.json'] ['notes/november.txt']
facts: 7 text/plain ['notes/november.txt', 'raw/data.bin']
large: 24000000 {DIGEST} b'\\x00\\x01'
places: ['notes/old.txt'] True False
conditions: StorageExists 2
conditions: StorageChanged 2
errors: StorageNotFound
errors: StorageKeyError
links: none
at once: 190 20
""".strip().splitlines()
SIGNED = ["links: True" if line == "links: none" else line for line in SAID]
UNHELD = "conditions: this server ignores the conditions of a save (If-None-Match, If-Match)"


def run_example(folder: Path, config: str, **variables: str) -> list[str]:
    (folder / "llmcore.toml").write_text(config)
    done = subprocess.run(
        [sys.executable, str(PROGRAM)],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


def run_on(server: Server, folder: Path) -> list[str]:
    config = S3.format(bucket=BUCKET, endpoint=server.endpoint)
    return run_example(
        folder, config, STORE_KEY_ID=server.access_key_id, STORE_SECRET=server.secret_access_key
    )


def test_the_application_stores_on_a_disk(tmp_path: Path) -> None:
    assert run_example(tmp_path, DISK) == SAID
    assert (tmp_path / "kept").is_dir()


def test_the_same_application_stores_in_memory(tmp_path: Path) -> None:
    assert run_example(tmp_path, MEMORY) == SAID


@needs_moto
def test_the_same_application_stores_on_moto(tmp_path: Path, server_folder: Path) -> None:
    with moto(server_folder) as server:
        assert run_on(server, tmp_path) == SIGNED


@needs_rclone
def test_the_same_application_stores_on_rclone_which_ignores_conditions(
    tmp_path: Path, server_folder: Path
) -> None:
    with rclone(server_folder) as server:
        expected = [line for line in SIGNED if not line.startswith("conditions: StorageChanged")]
        expected[expected.index("conditions: StorageExists 2")] = UNHELD
        assert run_on(server, tmp_path) == expected


@pytest.fixture
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")
