"""What could escape is tried in a mount namespace of its own, where all but a scratch folder is read-only."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit_storage_hostile import hostile_keys

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
    """Return the command that enters a mount namespace, or None where none can be had."""
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


def apart(what: str, scratch: Path, *, size: str = "1g", after: str = "true") -> dict[str, int]:
    """Run a program of kit_storage_hostile.py where nothing else can be written."""
    assert UNSHARE is not None
    program = [sys.executable, "-B", "-m", "tests.kit_storage_hostile", what, str(scratch)]
    command = [*UNSHARE, "sh", "-c", ENTER, "sh", str(scratch), size, after, *program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=590)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(scratch.iterdir()) == [], "the scratch folder was another one outside"
    told: dict[str, int] = json.loads(done.stdout)
    return told


def test_no_key_escapes_or_shares_a_file_whatever_it_is(tmp_path: Path) -> None:
    told = apart("keys", tmp_path)
    assert told["corpus"] == len(hostile_keys()) >= 5_502
    assert told["generated"] == 100_000
    assert 10_000 < told["accepted"] < 60_000


def test_no_link_swapped_in_leads_outside(tmp_path: Path) -> None:
    told = apart("races", tmp_path)
    assert told["flips"] == 10_000
    assert told["rounds"] > 0


def test_a_disk_that_is_full_keeps_what_it_has(tmp_path: Path) -> None:
    told = apart("full", tmp_path, size="3m")
    assert told["refused"] == 20
    assert 10 < told["kept"] < 31


def test_a_disk_mounted_read_only_is_read(tmp_path: Path) -> None:
    after = 'mkdir -m 700 "$scratch/root"; printf old > "$scratch/root/file"; mount -o remount,ro "$scratch"'
    assert apart("readonly", tmp_path, after=after) == {"refused": 9}


def test_what_is_no_file_is_refused_by_every_method_at_once(tmp_path: Path) -> None:
    assert apart("files", tmp_path)["tried"] >= 2 * 3 * 12
