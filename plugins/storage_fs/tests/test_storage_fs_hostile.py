"""Attempts to escape from the root run in a mount namespace in which only a scratch folder is writable."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kits.storage_hostile import list_hostile_keys

ROOT = Path(__file__).parents[3]

ENTER = """
set -e
scratch=$1; size=$2; after=$3; shift 3
mount -t tmpfs -o size="$size",mode=0700 scratch "$scratch"
# Every mount by itself: what a child mount hides is not made read-only with its parent.
cut -d' ' -f5 /proc/self/mountinfo | sort -u | while read -r place; do
    case $place in "$scratch"|/proc|/proc/*|/sys|/sys/*|/dev/pts|/dev/mqueue) continue;; esac
    mount -o remount,bind,ro "$place" 2>/dev/null || true
done
eval "$after"
exec "$@"
"""


def _unshare() -> list[str] | None:
    """Return the command that enters a mount namespace; None if that is not possible."""
    if shutil.which("unshare") is None:
        return None
    for command in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        done = subprocess.run(
            [*command, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
        )
        if done.returncode == 0:
            return command
    return None


UNSHARE = _unshare()
pytestmark = [
    pytest.mark.skipif(UNSHARE is None, reason="this system gives no mount namespace (unshare --mount)"),
    pytest.mark.timeout(600),
]


def run_apart(what: str, scratch: Path, *, size: str = "1g", after: str = "true") -> dict[str, int]:
    """Run a program of kits/storage_hostile.py in the namespace."""
    assert UNSHARE is not None
    program = [sys.executable, "-B", "-m", "tests.kits.storage_hostile", what, str(scratch)]
    command = [*UNSHARE, "sh", "-c", ENTER, "sh", str(scratch), size, after, *program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=590)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(scratch.iterdir()) == [], "the scratch folder was another one outside"
    report: dict[str, int] = json.loads(done.stdout)
    return report


def test_no_key_escapes_or_shares_a_file(tmp_path: Path) -> None:
    report = run_apart("keys", tmp_path)
    assert report["corpus"] == len(list_hostile_keys()) >= 5_502
    assert report["generated"] == 100_000
    assert 10_000 < report["accepted"] < 60_000


def test_no_replaced_link_leads_outside(tmp_path: Path) -> None:
    report = run_apart("races", tmp_path)
    assert report["flips"] == 10_000
    assert report["rounds"] > 0


def test_a_full_disk_keeps_its_files(tmp_path: Path) -> None:
    report = run_apart("full", tmp_path, size="3m")
    assert report["refused"] == 20
    assert 10 < report["kept"] < 31


def test_a_disk_mounted_read_only_is_read(tmp_path: Path) -> None:
    after = 'mkdir -m 700 "$scratch/root"; printf old > "$scratch/root/file"; mount -o remount,ro "$scratch"'
    assert run_apart("readonly", tmp_path, after=after) == {"refused": 9}


def test_every_method_refuses_a_path_that_is_not_a_file(tmp_path: Path) -> None:
    assert run_apart("files", tmp_path)["tried"] >= 2 * 3 * 12
