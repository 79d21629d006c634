"""Detect whether an unsynced data file may be damaged, because the machine crashed after the last write.

The kernel still writes the data of a killed process. But if the power fails, data that the kernel has not written yet is
lost. The mark is a small file next to the data file. It contains the identifier of the boot in which the data was last
written, and says whether that write was synced to the disk.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["CrashMark", "get_boot_id", "lock_folder"]

_NAME = "boot.mark"

# without flock, a process does not know whether other processes use the data, so it never marks the data as synced
if sys.platform == "win32":

    def _flock(fd: int, *, exclusive: bool, wait: bool) -> bool:  # noqa: ARG001 - the signature of the POSIX variant
        return not exclusive or wait
else:
    import fcntl

    def _flock(fd: int, *, exclusive: bool, wait: bool) -> bool:
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(fd, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class CrashMark:
    """The mark of one data file. The mark stays open while the process uses the data."""

    def __init__(self, folder: Path, boot: str) -> None:
        self._boot = boot
        self._fd = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        _flock(self._fd, exclusive=False, wait=True)

    def is_trusted(self) -> bool:
        """Return True if the mark is new, the data was synced at the last close, or the last write was during this boot."""
        state, boot = self._read()
        return state in ("", "clean") or boot == self._boot

    def mark_open(self) -> None:
        """Record durably that the data is not synced. Call this before the first write."""
        if self._read() != ("open", self._boot):
            self._write("open")

    def is_last(self) -> bool:
        """Return whether no other process uses the data.

        If so, no other process can begin to use the data before `release`.
        """
        return _flock(self._fd, exclusive=True, wait=False)

    def is_sync_needed(self) -> bool:
        """Return whether a process wrote since the last sync."""
        return self._read()[0] not in ("", "clean")

    def mark_clean(self) -> None:
        """Record that all data is on the disk."""
        self._write("clean")

    def release(self) -> None:
        """Release the mark. In a forked child, this does not affect the parent's lock."""
        os.close(self._fd)

    def _read(self) -> tuple[str, str]:
        os.lseek(self._fd, 0, os.SEEK_SET)
        state, _, boot = os.read(self._fd, 200).decode("ascii", "replace").strip().partition(" ")
        return state, boot

    def _write(self, state: str) -> None:
        os.lseek(self._fd, 0, os.SEEK_SET)
        text = f"{state} {self._boot}\n".encode("ascii")
        os.write(self._fd, text)
        os.ftruncate(self._fd, len(text))
        os.fsync(self._fd)


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock *folder*, so that only one process at a time opens or closes its data."""
    if sys.platform == "win32":
        yield
        return
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _flock(fd, exclusive=True, wait=True)
        yield
    finally:
        os.close(fd)


def get_boot_id() -> str:
    """Return an identifier of the current boot; empty if the system does not provide one."""
    if sys.platform == "darwin":
        return _sysctl("kern.bootsessionuuid")
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _sysctl(name: str) -> str:
    import ctypes

    text, length = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
    failed = ctypes.CDLL(None).sysctlbyname(name.encode(), text, ctypes.byref(length), None, 0)
    return "" if failed else text.value.decode("ascii", "replace")
