"""FsStorage keeps the contract of storages, by either way of opening folders."""

from __future__ import annotations

from pathlib import Path

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
from llmcore.testing import StorageConformance
from llmcore_storage_fs import folders, paths
from llmcore_storage_fs.provider import FsStorage


@pytest.mark.skipif(not folders.SUPPORTED, reason="this system has no descriptors of folders")
class TestThroughDescriptors(StorageConformance):
    lacks = ("sign_url",)

    @pytest.fixture
    def provider(self, tmp_path: Path) -> FsStorage:
        return FsStorage(tmp_path / "root", open_root=folders.open_root)


class TestThroughCheckedPaths(StorageConformance):
    lacks = ("sign_url",)

    @pytest.fixture
    def provider(self, tmp_path: Path) -> FsStorage:
        return FsStorage(tmp_path / "root", open_root=paths.open_root)


def test_both_colours_and_every_ability_are_offered(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path)
    for protocol in (
        StorageProvider, FileSystemProvider, StorageConditional, StorageCopying, StorageInfo, StorageListing,
        StorageStreams, AsyncStorageProvider, AsyncFileSystemProvider, AsyncStorageConditional, AsyncStorageCopying,
        AsyncStorageInfo, AsyncStorageListing, AsyncStorageStreams,
    ):  # fmt: skip
        assert isinstance(storage, protocol)
