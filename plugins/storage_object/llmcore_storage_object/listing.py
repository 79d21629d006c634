"""List a bucket: all keys with a prefix, or one page of keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import obstore

from llmcore.errors import StorageKeyError
from llmcore.support.foreign_names import Skipped
from llmcore.support.storage_keys import parse, parse_prefix
from llmcore.types import FileInfo
from llmcore_storage_object.bucket import Bucket
from llmcore_storage_object.io_calls import END, Operation, ask, fetch_next
from llmcore_storage_object.s3_lister import Lister

__all__ = ["list_keys", "list_page"]

_AT_ONCE: Final = 1000
"""The maximum number of objects in one list answer of the vendors."""


def list_keys(bucket: Bucket, prefix: str) -> Operation[list[str]]:
    """Return all keys that begin with *prefix*, sorted."""
    source, skipped = _make_source(bucket, prefix, "", _AT_ONCE), Skipped()
    found: set[str] = set()
    while (metas := (yield from source.fetch_next())) is not None:
        found.update(key for key, _ in _select(bucket, prefix, "", metas, skipped))
    bucket.foreign.report(skipped)
    return sorted(found)


def list_page(bucket: Bucket, prefix: str, limit: int, after: str) -> Operation[list[FileInfo]]:
    """Return information about the first *limit* files whose keys sort after *after*."""
    # Start after the prefix without its last character, so that the server skips the names before the prefix.
    source = _make_source(bucket, prefix, max(after, prefix[:-1]), min(limit + 1, _AT_ONCE) or 1)
    skipped = Skipped()
    infos: dict[str, FileInfo] = {}
    while len(infos) < limit and (metas := (yield from source.fetch_next())) is not None:
        infos |= {
            key: bucket.make_info(key, meta) for key, meta in _select(bucket, prefix, after, metas, skipped)
        }
        last = metas[-1]["path"][len(bucket.base) :] if metas else ""
        if last > prefix and not last.startswith(prefix):
            break
    bucket.foreign.report(skipped)
    return [infos[key] for key in sorted(infos)[: max(limit, 0)]]


class _ServerSource:
    """Lists objects with `s3_lister.Lister`, which does not modify their names."""

    def __init__(self, lister: Lister, folder: str, start: str) -> None:
        self._lister = lister
        self._folder = folder
        self._start = start
        self._token: str | None = ""

    def fetch_next(self) -> Operation[list[dict[str, Any]] | None]:
        """Return the next objects; None after the last object."""
        if self._token is None:
            return None
        page = yield from self._lister.fetch_page(self._folder, self._start, self._token)
        self._token = page.next or None
        return page.metas


class _SdkSource:
    """Lists objects through the SDK.

    The SDK strips a trailing "/" from names, so the object "folder/", which marks a folder, looks like an empty
    file.
    """

    def __init__(self, bucket: Bucket, folder: str, after: str, at_once: int) -> None:
        self._bucket = bucket
        start = _truncate_name(after)
        offset = bucket.base + start if start else None
        self._stream = obstore.list(bucket.store, folder or None, offset=offset, chunk_size=at_once)

    def fetch_next(self) -> Operation[list[dict[str, Any]] | None]:
        """Return the next objects; None after the last object."""
        metas = yield fetch_next(self._stream)
        if metas is END:
            return None
        if not self._bucket.shared:
            return list(metas)
        there: list[dict[str, Any]] = []
        for meta in metas:
            if meta["size"] or (yield from self._can_be_loaded(meta["path"])):
                there.append(meta)  # noqa: PERF401 - a comprehension cannot contain `yield from`
        return there

    def _can_be_loaded(self, path: str) -> Operation[bool]:
        try:
            yield ask("head", self._bucket.store, path)
        except FileNotFoundError:
            return False
        return True


def _make_source(bucket: Bucket, prefix: str, after: str, at_once: int) -> _ServerSource | _SdkSource:
    """Return the source of all objects in the folder of *prefix* whose names sort after *after*."""
    parts, _ = parse_prefix(prefix)
    folder = bucket.base + "".join(f"{part}/" for part in parts)
    if bucket.lister is not None:
        return _ServerSource(bucket.lister, folder, bucket.base + after if after else "")
    return _SdkSource(bucket, folder, after, at_once)


def _select(
    bucket: Bucket, prefix: str, after: str, metas: list[dict[str, Any]], skipped: Skipped
) -> Iterator[tuple[str, Any]]:
    """Yield key and metadata of each object whose key begins with *prefix* and sorts after *after*."""
    skip = len(bucket.base)
    for meta in metas:
        key = meta["path"][skip:]
        if key.startswith(prefix) and key > after and skipped.check(key):
            yield key, meta


def _truncate_name(key: str) -> str:
    """Return the longest prefix of *key* that the SDK accepts as a name."""
    while key:
        try:
            parse(key)
        except StorageKeyError:
            key = key[:-1]
        else:
            return key
    return ""
