"""Operations on whole objects. Each operation is a generator of calls for the sync and the async driver."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, TypeVar

import obstore

from llmcore.contracts import is_interrupt
from llmcore.errors import LLMCoreError, StorageError
from llmcore.support.errors import raise_unchained
from llmcore.support.foreign_names import ForeignNames
from llmcore.support.storage_arguments import MAX_FILE_BYTES
from llmcore.support.storage_keys import get_content_type, parse
from llmcore.types import FileInfo, Secret
from llmcore_storage_object import errors
from llmcore_storage_object.io_calls import END, IOCall, Operation, ask, fetch_next, send, wrap
from llmcore_storage_object.key_nesting import Nesting
from llmcore_storage_object.s3_lister import Lister
from llmcore_storage_object.server_behaviour import ServerBehaviour

__all__ = ["Bucket"]

T = TypeVar("T")

_UNKNOWN_TYPE: Final = "application/octet-stream"
"""The content type for unknown file extensions. Every object needs a content type."""
_LONGEST_SIGNED_S: Final = 7 * 24 * 3600
_READS: Final = 8
_NO_MARK: Final[Mapping[str, str]] = MappingProxyType({})
_MD5: Final = re.compile(r"[0-9a-f]{32}")


class Bucket:
    """One bucket or container.

    Args:
        store: The SDK's store.
        place: The name of the bucket for error messages.
        prefix: Prepended to all object names.
        secrets: Secrets to remove from error messages.
        vendors: True if the server is the vendor's own service.
        by_version: True if conditions use version numbers in place of ETags.
        once: A store without retries; None means *store*.
        lister: Lists unmodified names; None if the SDK lists.
        shared: True if other programs may write to the bucket.
        writer: The store for unconditional puts and deletes; None means *store*.
        nesting: Prevents a key from being the folder of another key; None if the server checks this.
        retries: The number of retries.
    """

    def __init__(
        self,
        store: Any,
        place: str,
        *,
        prefix: str = "",
        secrets: Iterable[Secret | None] = (),
        vendors: bool = True,
        by_version: bool = False,
        once: Any = None,
        retries: int = 0,
        lister: Lister | None = None,
        shared: bool = True,
        writer: Any = None,
        nesting: Nesting | None = None,
    ) -> None:
        self.store = store
        self._once = once or store
        self._writer = writer or store
        self._nesting = nesting
        self.retries = retries
        self.place = place
        self.lister = lister
        self.shared = shared
        self.foreign = ForeignNames(place)
        self.base = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.behaviour = ServerBehaviour(
            store, self.base, vendors=vendors, by_version=by_version, writer=self._writer
        )
        self._by_version = by_version
        self._place_seen = False
        self._digests = not vendors
        """True if an ETag may be an MD5 digest. Only a digest shows that the server overwrote the file during a read."""
        self._secrets = [secret for secret in secrets if secret is not None]

    def make_path(self, key: str) -> str:
        """Return the object name for *key*.

        Raises:
            StorageKeyError: *key* is not a valid key.
        """
        parse(key)
        return self.base + key

    def translate_errors(self, key: str, operation: Operation[T], *, writing: bool = False) -> Operation[T]:
        """Run *operation*. Translate the SDK's exceptions into llmcore's errors."""
        try:
            return (yield from operation)
        except LLMCoreError:
            raise
        except BaseException as error:
            if is_interrupt(error):
                raise
            raise_unchained(errors.translate_error(error, key, self.place, self._secrets, writing=writing))

    def save(
        self, key: str, data: Any, *, once: bool = False, mark: Mapping[str, str] = _NO_MARK, **options: Any
    ) -> Operation[Any]:
        """Put *data* unconditionally: bytes or an iterator of bytes. *once* disables retries."""
        path, store = self.make_path(key), self._once if once else self._writer
        options["attributes"] = {"Content-Type": get_content_type(key) or _UNKNOWN_TYPE, **mark}
        call = (
            ask("put", store, path, data, **options)
            if isinstance(data, bytes)
            else send(store, path, data, **options)
        )
        return (yield from self._put_unless_nested(key, wrap(call)))

    def _put_unless_nested(self, key: str, operation: Operation[T]) -> Operation[T]:
        """Run *operation*, which writes *key*, unless *key* conflicts with another key."""
        if self._nesting is None:
            return (yield from self._put_unless_below_file(key, operation))
        with self._nesting.claim(key):
            if (yield from self._is_below_file(key)) or (yield from self._has_files_below(key)):
                raise errors.make_nested_key_error(key)
            return (yield from self._put_unless_below_file(key, operation))

    def _put_unless_below_file(self, key: str, operation: Operation[T]) -> Operation[T]:
        """Run *operation*. If the server rejects *key* because one of its folders is a file, raise StorageKeyError."""
        try:
            yield from self._check_not_folder(key)
            done = yield from operation
            yield from self._check_readable(key)
        except Exception as error:
            if (
                isinstance(error, LLMCoreError)
                or errors.get_status(error) is None
                or errors.is_conflict(error)
            ):
                raise
            if not ((yield from self.behaviour.has_folders()) and (yield from self._is_below_file(key))):
                raise
        else:
            return done
        raise errors.make_folder_error(key)

    def load(self, key: str) -> Operation[tuple[bytes, str]]:
        """Return the object's bytes and etag."""
        before: tuple[bytes, str] | None = None
        for left in reversed(range(_READS)):
            found = yield ask("get", self.store, self.make_path(key))
            if found.meta["size"] > MAX_FILE_BYTES:
                raise errors.make_too_large_error(key, self.place, found.meta["size"], MAX_FILE_BYTES)
            try:
                read = bytes((yield ask("bytes", on=found))), self.get_etag(found.meta) or ""
            except Exception as error:
                # The body ended early, perhaps because the server replaced the file while sending it. Read it again.
                if not left or errors.get_status(error) is not None:
                    raise
                continue
            if self._is_whole(*read):
                return read
            if read == before:
                # Two equal reads did not match the ETag, so the ETag of this server is not a digest.
                self._digests = False
                return read
            before = read
        raise errors.make_unstable_error(key, self.place)

    def _is_whole(self, data: bytes, etag: str) -> bool:
        """Return whether *data* is complete. If the ETag is a digest, it must be the digest of *data*.

        The digest of a mixture of two versions never equals the ETag.
        """
        if not self._digests or not _MD5.fullmatch(etag):
            return True
        return hashlib.md5(data, usedforsecurity=False).hexdigest() == etag

    def exists(self, key: str) -> Operation[bool]:
        """Return whether the object exists."""
        try:
            yield from self.head_object(key, ask("head", self.store, self.make_path(key)))
        except FileNotFoundError as error:
            if errors.is_missing_bucket(error):
                raise
            return False
        return True

    def head_object(self, key: str, call: IOCall) -> Operation[Any]:
        """Run *call*, a HEAD request. A HEAD error has no body, so one GET checks whether the bucket exists."""
        try:
            found = yield call
        except FileNotFoundError:
            if not self._place_seen:
                yield from self._see_place(key)
            raise
        self._place_seen = True
        return found

    def _see_place(self, key: str) -> Operation[None]:
        try:
            yield ask("get", self.store, self.make_path(key))
        except FileNotFoundError as error:
            if errors.is_missing_bucket(error):
                raise
        self._place_seen = True

    def delete(self, key: str) -> Operation[bool]:
        """Delete the object.

        Return whether the object existed. Stores do not report this, so a HEAD request checks first.
        """
        return (yield from self.exists(key)) and (yield from self.delete_object(key))

    def delete_object(self, key: str) -> Operation[bool]:
        """Delete the object. Return False if the store reports that the object did not exist."""
        try:
            yield ask("delete", self._writer, self.make_path(key))
        except FileNotFoundError as error:
            if errors.is_missing_bucket(error):
                raise
            return False
        return True

    def get_info(self, key: str) -> Operation[FileInfo]:
        """Return information about the object."""
        head = ask("get", self.store, self.make_path(key), options={"head": True})
        found = yield from self.head_object(key, head)
        return self.make_info(key, found.meta, found.attributes.get("Content-Type"))

    def make_folder(self, key: str) -> Operation[None]:
        """Check that *key* is not a file. Object stores have no folders, so nothing is created."""
        if (yield from self.exists(key)):
            raise errors.make_file_error(key)

    def copy(self, source: str, target: str) -> Operation[None]:
        """Copy the object inside the store."""
        old, new = self.make_path(source), self.make_path(target)
        yield from self.translate_errors(source, self._check_exists(source))
        if old != new:
            copied = self._copy_object(source, target)
            yield from self.translate_errors(target, self._put_unless_nested(target, copied), writing=True)

    def _check_exists(self, key: str) -> Operation[None]:
        yield from self.head_object(key, ask("head", self.store, self.make_path(key)))

    def _copy_object(self, source: str, target: str) -> Operation[None]:
        try:
            yield ask("copy", self.store, self.make_path(source), self.make_path(target))
        except FileNotFoundError as error:
            if errors.is_missing_bucket(error):
                raise
        else:
            return
        raise errors.make_not_found_error(source, f"{self.place}/{source}")

    def sign(self, key: str, expires_s: float, method: str) -> Operation[str]:
        """Return a signed URL."""
        path = self.make_path(key)
        if method not in ("GET", "PUT", "HEAD") or not 1 <= expires_s <= _LONGEST_SIGNED_S:
            raise StorageError(
                f"sign_url() supports GET, PUT and HEAD, and 1 to {_LONGEST_SIGNED_S} seconds; got {method!a} and {expires_s} seconds",
                expected=f"GET, PUT or HEAD, and 1 to {_LONGEST_SIGNED_S} seconds (7 days)",
                fix='sign_url(key, 3600.0, "GET")',
            )
        url: str = yield ask("sign", self.store, method, path, timedelta(seconds=expires_s))
        return url

    def get_etag(self, meta: Any) -> str | None:
        """Return the ETag from the metadata *meta*."""
        found: str | None = meta["version" if self._by_version else "e_tag"]
        quoted = found and found.startswith('"') and found.endswith('"')
        return found[1:-1] if found and quoted else found  # some servers quote the ETag only in some answers

    def make_condition(self, etag: str) -> dict[str, str]:
        """Return the SDK's options for a save that requires *etag*."""
        if self._by_version:
            return {"version": etag}
        return {"e_tag": etag if etag.startswith("W/") else f'"{etag}"'}

    def make_info(self, key: str, meta: Any, kind: str | None = None) -> FileInfo:
        """Return the file information from the metadata *meta*."""
        return FileInfo(
            key=key,
            size_bytes=meta["size"],
            modified=meta["last_modified"].timestamp(),
            content_type=get_content_type(key) if kind in (None, _UNKNOWN_TYPE) else kind,
            etag=self.get_etag(meta),
        )

    def _check_not_folder(self, key: str) -> Operation[None]:
        """Check that *key* is not a folder, for servers that would replace a folder with the file."""
        if not (yield from self.behaviour.has_folders()):
            return
        if (yield from self._has_files_below(key)):
            raise errors.make_folder_error(key)

    def _has_files_below(self, key: str) -> Operation[bool]:
        below = yield fetch_next(obstore.list(self.store, f"{self.make_path(key)}/", chunk_size=1))
        return below is not END and bool(below)

    def _check_readable(self, key: str) -> Operation[None]:
        """Check that the saved object is readable.

        Some servers accept a file with the name of an empty folder, and then lose the file.
        """
        if not (yield from self.behaviour.has_folders()):
            return
        for _ in range(_READS):
            try:
                found = yield ask("get", self._once, self.make_path(key))
                yield fetch_next(found.stream(1))
            except FileNotFoundError:  # another client deleted the object
                return
            except Exception as error:
                if errors.get_status(error) is not None:
                    raise
            else:
                return
        yield from self.delete_object(key)
        raise errors.make_folder_error(key)

    def _is_below_file(self, key: str) -> Operation[bool]:
        parts = key.split("/")
        for end in range(1, len(parts)):
            if (yield from self.exists("/".join(parts[:end]))):
                return True
        return False
