"""FsStorage passes the conformance kit, with both ways of opening folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmcore.contracts import (
    AsyncFileSystemProvider,
    AsyncStorageConditional,
    AsyncStorageCopying,
    AsyncStorageInfo,
    AsyncStorageListing,
    AsyncStorageProvider,
    AsyncStorageStreams,
    FileSystemProvider,
    StorageConditional,
    StorageCopying,
    StorageInfo,
    StorageListing,
    StorageProvider,
    StorageStreams,
)
from llmcore_storage_fs import folders, paths
from llmcore_storage_fs.provider import FsStorage
from llmcore_testing import StorageConformance

pytestmark = pytest.mark.slow


def plant(self: Any, name: str, data: bytes) -> bool:
    """Write a file like another program. A disk cannot have empty parts, and resolves dots."""
    if any(part in {"", ".", ".."} for part in name.removesuffix("/").split("/")):
        return False
    path = self.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(data)
    except OSError:  # too long for this file system, or not in its encoding
        return False
    return True


@pytest.mark.skipif(not folders.SUPPORTED, reason="this system has no descriptors of folders")
class TestThroughDescriptors(StorageConformance):
    lacks = ("sign_url", "broken", "denied", "canary")

    @pytest.fixture
    def provider(self, tmp_path: Path) -> FsStorage:
        self.root = tmp_path / "root"
        return FsStorage(self.root, open_root=folders.open_root)

    @pytest.fixture
    def twin(self, provider: FsStorage) -> FsStorage:  # noqa: ARG002 - the fixture `provider` must run first
        return FsStorage(self.root, open_root=folders.open_root)

    plant = plant


class TestThroughCheckedPaths(StorageConformance):
    lacks = ("sign_url", "broken", "denied", "canary")
    file_count = 100

    @pytest.fixture
    def provider(self, tmp_path: Path) -> FsStorage:
        self.root = tmp_path / "root"
        return FsStorage(self.root, open_root=paths.open_root)

    @pytest.fixture
    def twin(self, provider: FsStorage) -> FsStorage:  # noqa: ARG002 - the fixture `provider` must run first
        return FsStorage(self.root, open_root=paths.open_root)

    plant = plant


def test_every_ability_is_offered_sync_and_async(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path)
    for protocol in (
        StorageProvider, FileSystemProvider, StorageConditional, StorageCopying, StorageInfo, StorageListing,
        StorageStreams, AsyncStorageProvider, AsyncFileSystemProvider, AsyncStorageConditional, AsyncStorageCopying,
        AsyncStorageInfo, AsyncStorageListing, AsyncStorageStreams,
    ):  # fmt: skip
        assert isinstance(storage, protocol)
