"""Saves under a condition. They are told apart from their own repetition: the winner learns that it won."""

from __future__ import annotations

import secrets
from typing import Any, Final

from llmcore_storage_object import faults
from llmcore_storage_object.steps import Work, ask, pause
from llmcore_storage_object.work import Bucket

__all__ = ["save_if"]

_MARK: Final = "llmcoresave"
"""Under which an object carries the name of the save that made it; a word that every vendor takes."""
_FIRST_PAUSE_S: Final = 0.1


def save_if(bucket: Bucket, key: str, data: bytes, etag: str | None) -> Work[str]:
    """Put *data* if the etag of what is there is *etag*, None meaning that there is nothing.

    The SDK's own repetition would take the refusal of the second request for the answer, though the first one was carried
    out and only its answer was lost. So every request goes once, and what is there afterwards tells whose it is.
    """
    bucket.path(key)
    if not (yield from bucket.traits.conditions()):
        raise faults.unheld(bucket.place)
    mode = "create" if etag is None else bucket.matching(etag)
    mark, doubt, refused = secrets.token_hex(16), False, False
    failure: Exception | None = None
    for number in range(bucket.retries + 1):
        if number:
            yield pause(_FIRST_PAUSE_S * 2 ** (number - 1))
        try:
            put = yield from bucket.save(key, data, once=True, mark={_MARK: mark}, mode=mode)
            return bucket.etag(put) or ""
        except Exception as error:
            refused = faults.conflicting(error) or (isinstance(error, FileNotFoundError) and etag is not None)
            again = faults.transient(error) and not refused
            if not (refused or again or doubt):
                raise
            failure = error
        if not again:
            break
        doubt = doubt or not faults.never_done(failure)
    if doubt:
        if (ours := (yield from _ours(bucket, key, mark))) is not None:
            return ours
        raise faults.uncertain(key, bucket.place)
    if refused or failure is None:
        raise faults.exists(key) if etag is None else faults.changed(key)
    raise failure


def _ours(bucket: Bucket, key: str, mark: str) -> Work[str | None]:
    """Return the etag of what is there if the save of that *mark* made it."""
    try:
        found: Any = yield ask("get", bucket.store, bucket.path(key), options={"head": True})
    except Exception:  # noqa: BLE001 - then it stays uncertain
        return None
    return bucket.etag(found.meta) or "" if found.attributes.get(_MARK) == mark else None
