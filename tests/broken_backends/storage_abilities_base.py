"""The correct storages of storage_abilities.py, storage_shared.py and racing.py."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from llmcore.errors import StorageChanged, StorageError, StorageExists, StorageNotFound
from llmcore.support.storage_keys import get_content_type, parse
from llmcore.types import FileInfo

PIECE = 1 << 20


class Able:
    """Correct, with every ability."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, float]] = {}
        self.lock = threading.RLock()

    def save(self, key: str, data: bytes) -> None:
        parse(key)
        self.files[key] = (bytes(data), time.time())

    def load(self, key: str) -> bytes:
        return self.find_file(key)[0]

    def find_file(self, key: str) -> tuple[bytes, float]:
        parse(key)
        if (file := self.files.get(key)) is None:
            raise StorageNotFound("nothing is stored under the key")
        return file

    def exists(self, key: str) -> bool:
        parse(key)
        return key in self.files

    def delete(self, key: str) -> bool:
        parse(key)
        with self.lock:
            return self.files.pop(key, None) is not None

    def list_files(self, prefix: str = "") -> Sequence[str]:
        return sorted(key for key in list(self.files) if key.startswith(prefix))

    def etag(self, data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    def get_file_info(self, key: str) -> FileInfo:
        data, modified = self.find_file(key)
        return FileInfo(
            key=key,
            size_bytes=len(data),
            modified=modified,
            content_type=get_content_type(key),
            etag=self.etag(data),
        )

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        return [self.get_file_info(key) for key in self.list_files(prefix) if key > after][:limit]

    def copy(self, source: str, target: str) -> None:
        self.save(target, self.load(source))

    def move(self, source: str, target: str) -> None:
        with self.lock:
            self.copy(source, target)
            if source != target:
                self.delete(source)

    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        if start < 0 or (stop is not None and stop < 0):
            raise StorageError("no position in a file")
        data = self.load(key)[start:stop]
        for at in range(0, len(data), PIECE):
            yield data[at : at + PIECE]

    def save_stream(self, key: str, pieces: Iterable[bytes]) -> None:
        parse(key)
        self.save(key, b"".join(map(self.piece, pieces)))

    def piece(self, piece: bytes) -> bytes:
        if not isinstance(piece, bytes):
            raise StorageError("a piece is bytes")
        return piece

    def load_with_etag(self, key: str) -> tuple[bytes, str]:
        data = self.load(key)
        return data, self.etag(data)

    def save_if_absent(self, key: str, data: bytes) -> str:
        with self.lock:
            if self.exists(key):
                raise StorageExists("something is stored")
            self.save(key, data)
        return self.etag(data)

    def save_if_match(self, key: str, data: bytes, etag: str) -> str:
        with self.lock:
            if not self.exists(key) or self.etag(self.load(key)) != etag:
                raise StorageChanged("another is stored")
            self.save(key, data)
        return self.etag(data)

    def sign_url(self, key: str, expires_s: float = 3600.0, method: str = "GET") -> str:
        parse(key)
        return f"https://example.org/{key}?{method}&{expires_s}"


class Place(Able):
    """Correct; `open_again` is a second instance on the same files."""

    def open_again(self) -> Place:
        other = type(self)()
        other.files, other.lock = self.files, self.lock
        return other

    def close(self) -> None:
        """Do nothing."""
