"""Writing a speech to a file is atomic, and never replaces something that is not a regular file."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.atomic_write import write_atomically
from llmcore.types import Speech

SPEECH = Speech(audio=b"RIFF....", format="wav")


def test_a_link_is_kept_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "real.wav", tmp_path / "link.wav"
    link.symlink_to(target)
    for _ in range(2):  # a link that leads nowhere yet, too
        assert SPEECH.save(link) == link
        assert link.is_symlink()
        assert target.read_bytes() == SPEECH.audio
    assert [each.name for each in target.parent.iterdir()] == ["real.wav"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o400])
def test_the_mode_of_an_existing_file_is_kept(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    path.chmod(mode)
    SPEECH.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == SPEECH.audio


def test_a_new_file_is_as_the_process_makes_files(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    SPEECH.save(tmp_path / "a.wav")
    assert (tmp_path / "a.wav").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("size", [244, 255])
def test_a_name_may_be_as_long_as_names_are(tmp_path: Path, size: int) -> None:
    path = tmp_path / ("a" * (size - 4) + ".wav")
    assert SPEECH.save(path).read_bytes() == SPEECH.audio


def test_a_pipe_stays_one_and_is_given_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()), daemon=True)
    reader.start()
    SPEECH.save(path)
    reader.join(60)
    assert read == [SPEECH.audio]
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]


def test_a_device_is_written_to() -> None:
    reader, device = os.openpty()  # not /dev/null: replacing it would break the machine
    try:
        SPEECH.save(os.ttyname(device))
        assert os.read(reader, 100) == SPEECH.audio
    finally:
        os.close(reader)
        os.close(device)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"RI"
        raise KeyboardInterrupt

    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, pieces())
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.wav"]


def test_an_error_names_the_file_that_was_passed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        write_atomically(tmp_path / "nowhere" / "file", [b"1"])
    assert str(missing.value) == f"[Errno 2] No such file or directory: '{tmp_path / 'nowhere' / 'file'}'"
