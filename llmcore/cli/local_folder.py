"""Files in one folder of the user, with the methods of a storage that conversations need."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from llmcore.errors import StorageChanged, StorageError, StorageExists, StorageFull, StorageNotFound
from llmcore.support.errors import raise_unchained
from llmcore.types import FileInfo

__all__ = ["LocalFolder"]

_fcntl: Any
try:
    import fcntl as _fcntl
except ImportError:  # Windows: without a lock, one of two saves at the same moment may overwrite the other
    _fcntl = None


class LocalFolder:
    """Stores files with the methods of `StorageClient`. Other users cannot read the files. No plugin is needed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> list[FileInfo]:
        """Return the first *limit* files in the folder *prefix* whose keys sort after *after*."""
        folder = self._root / prefix
        try:
            with os.scandir(folder) as entries:
                found = [
                    FileInfo(
                        key=f"{prefix}{entry.name}",
                        size_bytes=entry.stat().st_size,
                        modified=entry.stat().st_mtime,
                    )
                    for entry in entries
                    if entry.is_file() and not entry.name.startswith(".")
                ]
        except FileNotFoundError:
            return []
        except OSError as error:
            _raise_error(error, folder)
        return sorted((each for each in found if each.key > after), key=lambda each: each.key)[:limit]

    def load(self, key: str) -> bytes:
        """Return the content of the file.

        Raises:
            StorageNotFound: The file does not exist.
        """
        try:
            return (self._root / key).read_bytes()
        except FileNotFoundError:
            raise_unchained(StorageNotFound(f"no file is stored under {key!r}", where=str(self._root)))
        except OSError as error:
            _raise_error(error, self._root / key)

    def load_with_etag(self, key: str) -> tuple[bytes, str]:
        """Return the content of the file and its ETag; see `load`."""
        data = self.load(key)
        return data, _get_etag(data)

    def save_if_absent(self, key: str, data: bytes) -> str:
        """Create the file and return its ETag.

        Raises:
            StorageExists: The file exists.
        """
        with self._lock(key) as path:
            if path.exists():
                raise StorageExists(f"a file is stored under {key!r}", where=str(self._root))
            _write(path, data)
        return _get_etag(data)

    def save_if_match(self, key: str, data: bytes, etag: str) -> str:
        """Replace the file if it has the ETag *etag*, and return the new ETag.

        Raises:
            StorageChanged: The content of the file differs, or the file does not exist.
        """
        with self._lock(key) as path:
            try:
                same = _get_etag(path.read_bytes()) == etag
            except FileNotFoundError:
                same = False
            except OSError as error:
                _raise_error(error, path)
            if not same:
                raise StorageChanged(f"the file {key!r} has changed", where=str(self._root))
            _write(path, data)
        return _get_etag(data)

    def delete(self, key: str) -> bool:
        """Delete the file; return whether it existed."""
        try:
            (self._root / key).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            _raise_error(error, self._root / key)
        return True

    @contextlib.contextmanager
    def _lock(self, key: str) -> Iterator[Path]:
        """Lock the folder of *key* against other processes, and yield the path of the file.

        If this process is killed, the operating system releases the lock.
        """
        path = self._root / key
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path.parent / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            _raise_error(error, path.parent)
        try:
            if _fcntl is not None:
                with contextlib.suppress(OSError):  # some file systems have no locks
                    _fcntl.flock(handle, _fcntl.LOCK_EX)
            yield path
        finally:
            os.close(handle)


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{secrets.token_hex(6)}.part")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        _raise_error(error, path)


def _get_etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _raise_error(error: OSError, path: Path) -> NoReturn:
    import errno

    kind = StorageFull if error.errno in {errno.ENOSPC, errno.EDQUOT} else StorageError
    raise_unchained(
        kind(
            f"conversations cannot be kept: {error.strerror or type(error).__name__}",
            where=str(path),
            expected="a folder that this user may write",
            fix="llmcore chat --no-keep",
        )
    )
