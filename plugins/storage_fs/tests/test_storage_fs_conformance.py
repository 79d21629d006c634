"""FsStorage keeps the contract of storages, by either way of opening folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.contracts import (
    AsyncFileSystemProvider,
    AsyncStorageProvider,
    FileSystemProvider,
    StorageProvider,
)
from llmcore.testing import StorageConformance
from llmcore_storage_fs import folders, paths
from llmcore_storage_fs.provider import FsStorage


@pytest.mark.skipif(not folders.SUPPORTED, reason="this system has no descriptors of folders")
class TestThroughDescriptors(StorageConformance):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> FsStorage:
        return FsStorage(tmp_path / "root", open_root=folders.open_root)


class TestThroughCheckedPaths(StorageConformance):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> FsStorage:
        return FsStorage(tmp_path / "root", open_root=paths.open_root)


def test_both_colours_and_the_file_system_are_offered(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path)
    for protocol in (StorageProvider, AsyncStorageProvider, FileSystemProvider, AsyncFileSystemProvider):
        assert isinstance(storage, protocol)
