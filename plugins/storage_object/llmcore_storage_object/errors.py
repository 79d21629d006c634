"""Translate the SDK's exceptions into llmcore's errors. Secrets are removed, and the exception is not chained."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from obstore.exceptions import (
    AlreadyExistsError,
    InvalidPathError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from llmcore.errors import (
    StorageChanged,
    StorageDenied,
    StorageError,
    StorageExists,
    StorageFull,
    StorageKeyError,
    StorageNotFound,
    StorageReadOnly,
    StorageUnavailable,
)
from llmcore.types import Secret

__all__ = [
    "ListError",
    "get_status",
    "is_conflict",
    "is_missing_bucket",
    "is_never_done",
    "is_transient",
    "make_changed_error",
    "make_exists_error",
    "make_file_error",
    "make_folder_error",
    "make_ignored_conditions_error",
    "make_nested_key_error",
    "make_not_found_error",
    "make_too_large_error",
    "make_uncertain_error",
    "make_unstable_error",
    "translate_error",
]

_STATUS: Final = re.compile(r"status code: (\d{3})|status: (\d{3}),")
_CODE: Final = re.compile(r"<Code>\s*(\w+)\s*</Code>|\"(?:code|reason)\":\s*\"(\w+)\"")
_MESSAGE: Final = re.compile(r"<Message>\s*(.*?)\s*</Message>|\"message\":\s*\"(.*?)\"", re.DOTALL)
_REQUEST: Final = re.compile(r"Error performing (\w+) \S+ in [^ ,]+(?:, after [^-]*)? *- ")
_NO_PLACE: Final = re.compile(
    r"NoSuchBucket|ContainerNotFound|bucket does not exist|BucketNotFound", re.IGNORECASE
)
_FULL: Final = re.compile(
    r"QuotaExceeded|InsufficientStorage|EntityTooLarge|no space left|StorageFull", re.IGNORECASE
)
_REFUSED: Final = (PermissionDeniedError, UnauthenticatedError)
_NO_PERMISSION: Final = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "AuthorizationPermissionMismatch",
        "MethodNotAllowed",
        "forbidden",
        "",
    }
)
"""Error codes of status 403 that mean missing permission. Other codes mean wrong credentials."""
_CONFLICT, _NOT_ALLOWED, _NO_ROOM, _SERVER_SIDE, _TOO_MANY = 409, 405, 507, 500, 429
_BROKEN: Final = re.compile(r"HTTP error: request or response body error|error decoding response body")
_LATER: Final = (408, _TOO_MANY)
_LONGEST: Final = 300


class ListError(Exception):
    """A list request of `s3_lister` failed. The text has the format of the SDK's errors."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"Error performing GET list in 0ms - {fault}")


def translate_error(
    error: BaseException, key: str, place: str, secrets: Iterable[Secret], *, writing: bool
) -> StorageError:
    """Return llmcore's error for the SDK's *error*. *place* is the bucket or container."""
    text = str(error)
    code, status, where = _find_code(text), get_status(error), f"{place}/{key}" if key else place
    if isinstance(error, FileNotFoundError) or is_missing_bucket(error):
        if writing or is_missing_bucket(error):
            return StorageError(
                f"the bucket or container {place} does not exist",
                where=place,
                expected="an existing bucket or container",
                fix="create it with the vendor's tools, or correct the configuration",
            )
        return make_not_found_error(key, where)
    reason = _format_error(text, secrets)
    if isinstance(error, InvalidPathError):
        return _make_unlistable_error(reason, place)
    if isinstance(error, _REFUSED) or status in (401, 403, _NOT_ALLOWED):
        asked = _REQUEST.search(text)
        return _make_denied_error(
            reason, code, where, writing=writing and (asked is None or asked[1] not in ("GET", "HEAD"))
        )
    if status == _NO_ROOM or _FULL.search(text):
        return StorageFull(
            f"the storage has no free space: {reason}",
            where=where,
            expected="free space and quota",
            fix="free some space",
        )
    return (StorageUnavailable if _is_unavailable(error) else StorageError)(
        f"the object store failed: {reason}",
        where=where,
        expected="an object store that is reachable and answers",
        fix="llmcore config show",
    )


def make_not_found_error(key: str, where: str) -> StorageNotFound:
    """Return the error for a key that does not exist."""
    return StorageNotFound(
        f"nothing is stored under {key!a}",
        where=where,
        expected="a key that was saved before",
        fix="list_files() returns the existing keys",
    )


def make_exists_error(key: str) -> StorageExists:
    """Return the error for a conditional save of a key that exists."""
    return StorageExists(
        f"a file is already stored under {key!a}",
        expected="a key under which no file is stored",
        fix="choose another key, or use save(), which replaces the file",
    )


def make_changed_error(key: str) -> StorageChanged:
    """Return the error for a conditional save whose ETag does not match the stored object."""
    return StorageChanged(
        f"another version of {key!a}, or no file, is stored",
        expected="the version that has the given ETag",
        fix="call load_with_etag() again, and retry with the new version",
    )


def make_uncertain_error(key: str, place: str) -> StorageError:
    """Return the error for a conditional save whose outcome is unknown."""
    return StorageError(
        f"the outcome of saving {key!a} is unknown: the answer was lost, and the object has changed or cannot be read",
        where=place,
        expected="an answer from the server",
        fix="call load_with_etag() to compare the stored version",
    )


def make_ignored_conditions_error(place: str) -> StorageError:
    """Return the error for a server that ignores the conditions of a save."""
    return StorageError(
        "this server ignores the conditions of a save (If-None-Match, If-Match): nothing was saved",
        where=place,
        expected="a server that answers 412 if a condition is false",
        fix="save() without a condition, or use another server",
    )


def make_folder_error(key: str) -> StorageKeyError:
    """Return the error for a key that conflicts with another key on a server that stores files in folders."""
    return StorageKeyError(
        f"the key {key!a} cannot be used: this server stores files in folders, and the key is a folder or below a file",
        expected="a key that is not a folder of another key and not below another key",
        fix="choose another key",
    )


def make_nested_key_error(key: str) -> StorageKeyError:
    """Return the error for a key that is the folder of another key or below another key."""
    return StorageKeyError(
        f"the key {key!a} cannot be used: it is the folder of an existing file, or below an existing file",
        expected="a key that is not a folder of another key and not below another key",
        fix="choose another key, or delete the other file first",
    )


def make_too_large_error(key: str, place: str, size: int, most: int) -> StorageError:
    """Return the error for an object that is too large for `load`."""
    return StorageError(
        f"the file {key!a} must have at most {most} bytes for load(), got {size}",
        where=place,
        expected=f"at most {most} bytes",
        fix="use load_stream(), which loads in pieces",
    )


def make_unstable_error(key: str, place: str) -> StorageError:
    """Return the error for an object that changed during each of several reads."""
    return StorageError(
        f"the file {key!a} was replaced during each of several reads, so no read was complete",
        where=place,
        expected="a file that stays unchanged during a read",
        fix="load it again",
    )


def make_file_error(key: str) -> StorageKeyError:
    """Return the error for a folder whose name is the key of a file."""
    return StorageKeyError(
        f"the folder {key!a} cannot be created: a file has this key",
        expected="a key under which no file is stored",
        fix="choose another key, or delete the file",
    )


def is_conflict(error: Exception) -> bool:
    """Return whether the condition of a save was false or another writer came first."""
    return isinstance(error, AlreadyExistsError | PreconditionError) or get_status(error) == _CONFLICT


def is_missing_bucket(error: BaseException) -> bool:
    """Return whether the server reports that the bucket or container does not exist."""
    return _NO_PLACE.search(str(error)) is not None


def _is_panic(error: BaseException) -> bool:
    """Return whether *error* is a panic of the SDK's native code. A panic is not an Exception."""
    return not isinstance(error, Exception)


def is_transient(error: BaseException) -> bool:
    """Return whether a retry may succeed."""
    status = get_status(error)
    if status is None:
        return _REQUEST.search(str(error)) is not None
    return status >= _SERVER_SIDE or status in _LATER


def is_never_done(error: Exception) -> bool:
    """Return whether the server certainly did not execute the request: no connection, or status 429."""
    return get_status(error) == _TOO_MANY or "kind: Connect" in str(error)


def get_status(error: BaseException) -> int | None:
    """Return the HTTP status in the SDK's error text; None if the text has none."""
    found = _STATUS.search(str(error))
    return int(found[1] or found[2]) if found else None


def _make_unlistable_error(reason: str, place: str) -> StorageError:
    return StorageError(
        f"the SDK rejects the names in the bucket: {reason}",
        where=place,
        expected='object names whose parts are not "", "." or ".."',
        fix="rename or delete that object with the vendor's tools, or set `prefix` to a folder without such names",
    )


def _make_denied_error(reason: str, code: str, where: str, *, writing: bool) -> StorageError:
    if writing and code in _NO_PERMISSION:
        return StorageReadOnly(
            f"the storage cannot be written: {reason}",
            where=where,
            expected="credentials with write permission",
            fix="grant permission to put, get and delete objects, or use other credentials",
        )
    return StorageDenied(
        f"the object store rejects these credentials: {reason}",
        where=where,
        expected="valid credentials with read permission",
        fix="llmcore config show",
    )


def _is_unavailable(error: BaseException) -> bool:
    """Return whether the server was unreachable, failed, or ended its answer early."""
    return not _is_panic(error) and (is_transient(error) or _BROKEN.search(str(error)) is not None)


def _find_code(text: str) -> str:
    found = _CODE.search(text)
    return (found[1] or found[2]) if found else ""


def _format_error(text: str, secrets: Iterable[Secret]) -> str:
    """Return the server's error code and message, or the SDK's description of a connection error."""
    code, message = _find_code(text), _MESSAGE.search(text)
    if code or message:
        words = ": ".join(part for part in (code, (message[1] or message[2]) if message else "") if part)
    else:
        words = _REQUEST.sub(r"\1: ", text.partition("\n\nDebug source")[0])
        words = f"{words}{' (connection)' if 'kind: Connect' in text else ''}"
    for secret in secrets:
        if secret.reveal():
            words = words.replace(secret.reveal(), "\u2026")
    return " ".join(words.split())[:_LONGEST]
