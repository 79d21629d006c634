"""Each reason why a path is not a regular file has a different name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmcore.support.path_kinds import PathKind, classify_path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("file", PathKind.FILE),
        ("directory", PathKind.DIRECTORY),
        ("absent", PathKind.ABSENT),
        ("file/below", PathKind.ABSENT),
        ("n" * 300, PathKind.ABSENT),
        ("a\0b", PathKind.ABSENT),
        ("link", PathKind.FILE),
        ("broken", PathKind.BROKEN_LINK),
        ("circular", PathKind.CIRCULAR_LINK),
        ("pipe", PathKind.OTHER),
    ],
)
def test_a_path_is_classified(name: str, kind: PathKind, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "broken").symlink_to("nothing")
    (tmp_path / "circular").symlink_to("circular")
    os.mkfifo(tmp_path / "pipe")
    assert classify_path(tmp_path / name) is kind


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the system has no users to change to")
def test_a_path_in_a_closed_directory_is_not_absent(open_folder: Path) -> None:
    (open_folder / "closed").mkdir()
    (open_folder / "closed").chmod(0)
    code = (
        "import os, sys\n"
        "from llmcore.support.path_kinds import classify_path\n"
        "if os.geteuid() == 0: os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "print(classify_path(sys.argv[1]).name)\n"
    )
    command = [sys.executable, "-c", code, str(open_folder / "closed" / "file")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "NO_PERMISSION\n"
