"""Lists a bucket: all keys that begin so, or a page of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import obstore

from llmcore.contracts.storage_keys import fault_of_part, parse, parse_prefix
from llmcore.errors import StorageKeyError
from llmcore.types import FileInfo
from llmcore_storage_object.steps import END, Work, ask, chunk
from llmcore_storage_object.work import Bucket

__all__ = ["keys", "page"]

_AT_ONCE: Final = 1000
"""What the vendors' services send in one answer."""


def keys(bucket: Bucket, prefix: str) -> Work[list[str]]:
    """Return all keys that begin with *prefix*, sorted."""
    stream = obstore.list(bucket.store, _folder(bucket, prefix), chunk_size=_AT_ONCE)
    found = yield ask("collect", on=stream)
    return sorted({key for key, _ in _ours(bucket, prefix, "", found)})


def page(bucket: Bucket, prefix: str, limit: int, after: str) -> Work[list[FileInfo]]:
    """Return what is known of the first *limit* files after *after*."""
    folder = _folder(bucket, prefix)
    # What comes before the prefix need not be read either, and begins with all of it but its last character.
    start = _acceptable(max(after, prefix[:-1]))
    offset = bucket.base + start if start else None
    stream = obstore.list(bucket.store, folder, offset=offset, chunk_size=min(limit + 1, _AT_ONCE) or 1)
    infos: dict[str, FileInfo] = {}
    while len(infos) < limit and (found := (yield chunk(stream))) is not END:
        infos |= {key: bucket.info_of(key, meta) for key, meta in _ours(bucket, prefix, after, found)}
        last = found[-1]["path"][len(bucket.base) :] if found else ""
        if last > prefix and not last.startswith(prefix):
            break
    return [infos[key] for key in sorted(infos)[: max(limit, 0)]]


def _folder(bucket: Bucket, prefix: str) -> str | None:
    """Return what the store is asked for: its prefixes are whole parts."""
    parts, _ = parse_prefix(prefix)
    return bucket.base + "".join(f"{part}/" for part in parts) or None


def _ours(bucket: Bucket, prefix: str, after: str, found: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield what has a key of ours that begins so: probes, unfinished files and foreign names have none."""
    skip = len(bucket.base)
    for meta in found:
        key = meta["path"][skip:]
        if key.startswith(prefix) and key > after and not any(map(fault_of_part, key.split("/"))):
            yield key, meta


def _acceptable(key: str) -> str:
    """Return *key*, or as much of its beginning as the store takes for a name."""
    while key:
        try:
            parse(key)
        except StorageKeyError:
            key = key[:-1]
        else:
            return key
    return ""
