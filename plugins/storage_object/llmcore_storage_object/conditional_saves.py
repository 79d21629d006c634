"""Conditional saves (If-Match, If-None-Match) with retries.

Each save writes a unique mark, by which a save recognizes an earlier attempt of its own.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

from llmcore_storage_object import errors
from llmcore_storage_object.bucket import Bucket
from llmcore_storage_object.io_calls import Operation, ask, pause

__all__ = ["save_if"]

_MARK: Final = "llmcoresave"
"""The metadata key of the mark. All vendors accept this key."""
_FIRST_PAUSE_S: Final = 0.1


def save_if(bucket: Bucket, key: str, data: bytes, etag: str | None) -> Operation[str]:
    """Put *data* if the object has the ETag *etag*, or if no object exists and *etag* is None. Return the new ETag.

    If the answer to a successful request is lost, the server rejects a retry, because the condition is now false.
    So the SDK sends each request once, and this function retries. If the outcome of an attempt is unknown and the
    last attempt fails, the mark of the stored object shows whether an attempt succeeded.
    """
    bucket.make_path(key)
    if not (yield from bucket.behaviour.has_conditions()):
        raise errors.make_ignored_conditions_error(bucket.place)
    mode = "create" if etag is None else bucket.make_condition(etag)
    mark, doubt, refused = secrets.token_hex(16), False, False
    failure: Exception | None = None
    for number in range(bucket.retries + 1):
        if number:
            yield pause(_FIRST_PAUSE_S * 2 ** (number - 1))
        try:
            put = yield from bucket.save(key, data, once=True, mark={_MARK: mark}, mode=mode)
            return bucket.get_etag(put) or ""
        except Exception as error:
            refused = errors.is_conflict(error) or (isinstance(error, FileNotFoundError) and etag is not None)
            again = errors.is_transient(error) and not refused
            if not (refused or again or doubt):
                raise
            failure = error
        if not again:
            break
        doubt = doubt or not errors.is_never_done(failure)
    if doubt:
        if (ours := (yield from _find_saved(bucket, key, mark))) is not None:
            return ours
        raise errors.make_uncertain_error(key, bucket.place)
    if refused or failure is None:
        raise errors.make_exists_error(key) if etag is None else errors.make_changed_error(key)
    raise failure


def _find_saved(bucket: Bucket, key: str, mark: str) -> Operation[str | None]:
    """Return the ETag of the object if it has *mark*; None if it has another mark or cannot be read."""
    try:
        found: Any = yield ask("get", bucket.store, bucket.make_path(key), options={"head": True})
    except Exception:  # noqa: BLE001 - any failure leaves the outcome unknown
        return None
    return bucket.get_etag(found.meta) or "" if found.attributes.get(_MARK) == mark else None
