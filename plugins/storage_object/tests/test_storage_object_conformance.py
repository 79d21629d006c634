"""`StorageConformance` in memory and against real servers, each test under a prefix of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from llmcore.testing import StorageConformance
from llmcore.types import Secret
from llmcore_storage_object import stores
from llmcore_storage_object.plugin import MemoryOptions, S3Options
from llmcore_storage_object.provider import ObjectStorage
from tests.kit_object_servers import BUCKET, Server, moto, needs_moto, needs_rclone, rclone

_numbers = itertools.count()


def storage(server: Server) -> ObjectStorage:
    return stores.s3(
        S3Options(
            bucket=BUCKET,
            endpoint=server.endpoint,
            access_key_id=Secret(server.access_key_id),
            secret_access_key=Secret(server.secret_access_key),
            prefix=f"test/{next(_numbers)}",
        )
    )


class TestInMemory(StorageConformance):
    lacks = ("sign_url",)

    @pytest.fixture
    def provider(self) -> ObjectStorage:
        return stores.memory(MemoryOptions())


class TestInMemoryUnderAPrefix(StorageConformance):
    lacks = ("sign_url",)

    @pytest.fixture
    def provider(self) -> ObjectStorage:
        return stores.memory(MemoryOptions(prefix="/some/folder/"))


@needs_moto
class TestOnMoto(StorageConformance):
    @pytest.fixture(scope="class")
    def server(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        with moto(tmp_path_factory.mktemp("moto")) as server:
            yield server

    @pytest.fixture
    def provider(self, server: Server) -> ObjectStorage:
        return storage(server)


@needs_rclone
class TestOnRclone(StorageConformance):
    @pytest.fixture(scope="class")
    def server(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        with rclone(tmp_path_factory.mktemp("rclone")) as server:
            yield server

    @pytest.fixture
    def provider(self, server: Server) -> ObjectStorage:
        return storage(server)
