"""Store files, one scenario after the other, in the storage that llmcore.toml names. The code is the same for each storage."""

import asyncio  # noqa: TID253 - a program of its own
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import llmcore
from llmcore.errors import (
    PluginError,
    StorageChanged,
    StorageError,
    StorageExists,
    StorageKeyError,
    StorageNotFound,
)
from llmcore.storage import StorageClient


@dataclass
class Report:
    """A type that is stored as JSON and loaded again."""

    title: str
    pages: int


def values(storage: StorageClient) -> None:
    """Store bytes, text and JSON."""
    storage.save("raw/data.bin", bytes(range(256)))
    storage.save_text("notes/november.txt", "Grüße")
    storage.save_json("reports/november.json", Report("November", 12))
    report = storage.load_json("reports/november.json", Report)
    print("values:", len(storage.load("raw/data.bin")), storage.load_text("notes/november.txt"), report)


def names(storage: StorageClient) -> None:
    """List files by prefix and by pattern, and get information about a file."""
    print("names:", storage.list_files("re"), storage.glob("**/*.txt"))
    info = storage.get_file_info("notes/november.txt")
    print("facts:", info.size_bytes, info.content_type, [page.key for page in storage.list_page(limit=2)])


def large(storage: StorageClient) -> None:
    """Write and read data that may be larger than the memory."""

    def produce() -> Iterator[bytes]:
        for number in range(24):
            yield bytes([number]) * 1_000_000

    storage.save_stream("large/file.bin", produce())
    digest = hashlib.sha256()
    for piece in storage.load_stream("large/file.bin"):
        digest.update(piece)
    part = b"".join(storage.load_stream("large/file.bin", 999_999, 1_000_001))
    print("large:", storage.get_file_size("large/file.bin"), digest.hexdigest()[:8], part)


def places(storage: StorageClient) -> None:
    """Copy, move and delete."""
    storage.copy("notes/november.txt", "archive/2026/november.txt")
    storage.move("notes/november.txt", "notes/old.txt")
    print(
        "places:",
        storage.list_files("notes/"),
        storage.delete("notes/old.txt"),
        storage.exists("notes/old.txt"),
    )


def conditions(storage: StorageClient) -> None:
    """Let one of several concurrent writers win. A server without conditions raises an error."""
    try:
        storage.save_if_absent("counter", "1")
        data, etag = storage.load_with_etag("counter")
        storage.save_if_match("counter", str(int(data) + 1), etag)
    except StorageError as error:
        print("conditions:", error.message.partition(":")[0])
        return
    try:
        storage.save_if_absent("counter", "1")
    except StorageExists:
        print("conditions: StorageExists", storage.load_text("counter"))
    try:
        storage.save_if_match("counter", "9", etag)
    except StorageChanged:
        print("conditions: StorageChanged", storage.load_text("counter"))


def errors(storage: StorageClient) -> None:
    """Show which keys are rejected."""
    for key in ("nothing/here", "../outside"):
        try:
            storage.load(key)
        except (StorageNotFound, StorageKeyError) as error:
            print("errors:", type(error).__name__)


def links(storage: StorageClient) -> None:
    """Sign an address that works for a while, if the storage can."""
    try:
        url = storage.sign_url("archive/2026/november.txt", expires_s=60)
    except PluginError:
        print("links: none")
    else:
        print("links:", url.startswith("http"))


async def at_once(storage: StorageClient) -> None:
    """Run many operations concurrently."""
    await asyncio.gather(*(storage.asave_json(f"many/{n}.json", {"n": n}) for n in range(20)))
    loaded = await asyncio.gather(*(storage.aload_json(f"many/{n}.json") for n in range(20)))
    print("at once:", sum(item["n"] for item in loaded), len(await storage.alist_files("many/")))


def main(config: str | None = None) -> None:
    """Run every scenario."""
    with llmcore.load(config) as core:
        storage = core.storage
        for scenario in (values, names, large, places, conditions, errors, links):
            scenario(storage)
        asyncio.run(at_once(storage))
        for key in storage.list_files():
            storage.delete(key)


if __name__ == "__main__":
    main(*sys.argv[1:])
