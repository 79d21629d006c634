"""Turns what the SDK raised into our errors, in words, without secrets and without the original."""

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
    "changed",
    "conflicting",
    "exists",
    "file_there",
    "folder_there",
    "never_done",
    "no_place",
    "not_found",
    "panicked",
    "status_of",
    "too_large",
    "transient",
    "translate",
    "uncertain",
    "unheld",
    "unsteady",
]

_STATUS: Final = re.compile(r"status code: (\d{3})|status: (\d{3}),")
_CODE: Final = re.compile(r"<Code>\s*(\w+)\s*</Code>|\"(?:code|reason)\":\s*\"(\w+)\"")
_SAID: Final = re.compile(r"<Message>\s*(.*?)\s*</Message>|\"message\":\s*\"(.*?)\"", re.DOTALL)
_REQUEST: Final = re.compile(r"Error performing (\w+) \S+ in [^ ,]+(?:, after [^-]*)? *- ")
_NO_PLACE: Final = re.compile(
    r"NoSuchBucket|ContainerNotFound|bucket does not exist|BucketNotFound", re.IGNORECASE
)
_FULL: Final = re.compile(
    r"QuotaExceeded|InsufficientStorage|EntityTooLarge|no space left|StorageFull", re.IGNORECASE
)
_REFUSED: Final = (PermissionDeniedError, UnauthenticatedError)
_MAY_NOT: Final = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "AuthorizationPermissionMismatch",
        "MethodNotAllowed",
        "forbidden",
        "",
    }
)
"""Codes of a 403 that tell of rights rather than of credentials."""
_CONFLICT, _NOT_ALLOWED, _NO_ROOM, _SERVER_SIDE, _TOO_MANY = 409, 405, 507, 500, 429
_BROKEN: Final = re.compile(r"HTTP error: request or response body error|error decoding response body")
_LATER: Final = (408, _TOO_MANY)
_LONGEST: Final = 300


def translate(
    error: BaseException, key: str, place: str, secrets: Iterable[Secret], *, writing: bool
) -> StorageError:
    """Return our error for the SDK's *error* that arose over *key* in the bucket or container *place*."""
    text = str(error)
    code, status, where = _code(text), status_of(error), f"{place}/{key}" if key else place
    if isinstance(error, FileNotFoundError) or no_place(error):
        if writing or no_place(error):
            return StorageError(
                f"there is no bucket or container {place}",
                where=place,
                expected="one that exists",
                fix="make it with the tools of its vendor, or correct the configuration",
            )
        return not_found(key, where)
    said = _words(text, secrets)
    if isinstance(error, InvalidPathError):
        return _unlisted(said, place)
    if isinstance(error, _REFUSED) or status in (401, 403, _NOT_ALLOWED):
        asked = _REQUEST.search(text)
        return _refused(
            said, code, where, writing=writing and (asked is None or asked[1] not in ("GET", "HEAD"))
        )
    if status == _NO_ROOM or _FULL.search(text):
        return StorageFull(
            f"the storage has no room: {said}",
            where=where,
            expected="free space and quota",
            fix="free some space there",
        )
    return (StorageUnavailable if _away(error) else StorageError)(
        f"the object store failed: {said}",
        where=where,
        expected="a server that can be reached and answers",
        fix="`llmcore config show` tells the address in use",
    )


def not_found(key: str, where: str) -> StorageNotFound:
    """Return the error for a key under which there is nothing."""
    return StorageNotFound(
        f"nothing is stored under {key!a}",
        where=where,
        expected="a key that was saved before",
        fix="list_files() tells which keys there are",
    )


def exists(key: str) -> StorageExists:
    """Return the error for a key that was to be new."""
    return StorageExists(
        f"something is already stored under {key!a}",
        expected="a key under which nothing is stored",
        fix="choose another key, or save() to replace what is there",
    )


def changed(key: str) -> StorageChanged:
    """Return the error for a file that is not the one with the expected etag."""
    return StorageChanged(
        f"another version, or nothing, is stored under {key!a}",
        expected="the version with the etag that was given",
        fix="load_with_etag() again, and decide anew",
    )


def uncertain(key: str, place: str) -> StorageError:
    """Return the error for a save that may have been done, and whose answer was lost."""
    return StorageError(
        f"it is not known whether {key!a} was saved: the answer was lost, and what is there now does not tell",
        where=place,
        expected="an answer",
        fix="load_with_etag() tells what is there",
    )


def unheld(place: str) -> StorageError:
    """Return the error for a server that would ignore a condition."""
    return StorageError(
        "this server ignores the conditions of a save (If-None-Match, If-Match): nothing was saved",
        where=place,
        expected="a server that answers a condition which does not hold with 412",
        fix="save() without a condition, or use another server",
    )


def folder_there(key: str) -> StorageKeyError:
    """Return the error for a key that cannot be beside another one on a server that keeps files in folders."""
    return StorageKeyError(
        f"the key {key!a} cannot be used: this server keeps files in folders, and one of both is there already",
        expected="no key that is the folder of another one",
        fix="choose another key",
    )


def too_large(key: str, place: str, size: int, most: int) -> StorageError:
    """Return the error for an object that would take all the memory."""
    return StorageError(
        f"{key!a} is too large to be loaded in one piece: {size} bytes",
        where=place,
        expected=f"at most {most} bytes",
        fix="load_stream() reads it piece by piece",
    )


def unsteady(key: str, place: str) -> StorageError:
    """Return the error for an object that is another one each time it is read."""
    return StorageError(
        f"{key!a} is replaced all the time: none of several reads gave a whole file",
        where=place,
        expected="a moment in which it stays",
        fix="load it again",
    )


def file_there(key: str) -> StorageKeyError:
    """Return the error for a folder that is to be where a file stands."""
    return StorageKeyError(
        f"no folder can be made under {key!a}: a file stands there",
        expected="a key under which no file is stored",
        fix="choose another key, or delete the file",
    )


def conflicting(error: Exception) -> bool:
    """Return whether the server refused a condition, or another writer was faster."""
    return isinstance(error, AlreadyExistsError | PreconditionError) or status_of(error) == _CONFLICT


def no_place(error: BaseException) -> bool:
    """Return whether the server tells that there is no such bucket or container."""
    return _NO_PLACE.search(str(error)) is not None


def panicked(error: BaseException) -> bool:
    """Return whether the SDK ran into a fault of its own, which it raises as no `Exception`."""
    return type(error).__name__ == "PanicException"


def transient(error: BaseException) -> bool:
    """Return whether the same request may succeed a moment later."""
    status = status_of(error)
    if status is None:
        return _REQUEST.search(str(error)) is not None
    return status >= _SERVER_SIDE or status in _LATER


def never_done(error: Exception) -> bool:
    """Return whether the server certainly did not do what failed: it was not reached, or put it off."""
    return status_of(error) == _TOO_MANY or "kind: Connect" in str(error)


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that the SDK tells of, if any."""
    found = _STATUS.search(str(error))
    return int(found[1] or found[2]) if found else None


def _unlisted(said: str, place: str) -> StorageError:
    return StorageError(
        f"there is an object whose name the SDK cannot list, and so none of its neighbours: {said}",
        where=place,
        expected='names without "//", "." and ".." as parts',
        fix="rename or remove that object with the tools of the vendor, or set `prefix` to a folder without it",
    )


def _refused(said: str, code: str, where: str, *, writing: bool) -> StorageError:
    if writing and code in _MAY_NOT:
        return StorageReadOnly(
            f"the storage may not be written: {said}",
            where=where,
            expected="credentials that may write there",
            fix="give them the right to put, get and delete objects, or use others",
        )
    return StorageDenied(
        f"the object store refuses these credentials: {said}",
        where=where,
        expected="credentials that are valid and may read there",
        fix="llmcore config show storage",
    )


def _away(error: BaseException) -> bool:
    """Return whether the server was not there, or not well, or broke off."""
    return not panicked(error) and (transient(error) or _BROKEN.search(str(error)) is not None)


def _code(text: str) -> str:
    found = _CODE.search(text)
    return (found[1] or found[2]) if found else ""


def _words(text: str, secrets: Iterable[Secret]) -> str:
    """Return the server's code and message, or what the SDK says of the way there."""
    code, said = _code(text), _SAID.search(text)
    if code or said:
        words = ": ".join(part for part in (code, (said[1] or said[2]) if said else "") if part)
    else:
        words = _REQUEST.sub(r"\1: ", text.partition("\n\nDebug source")[0])
        words = f"{words}{' (connection)' if 'kind: Connect' in text else ''}"
    for secret in secrets:
        if secret.reveal():
            words = words.replace(secret.reveal(), "\u2026")
    return " ".join(words.split())[:_LONGEST]
