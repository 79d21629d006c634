"""The work on whole objects, key by key, once for both colours."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, TypeVar

import obstore

from llmcore.contracts.storage_keys import content_type, parse
from llmcore.errors import LLMCoreError, StorageError
from llmcore.types import FileInfo, Secret
from llmcore_storage_object import faults
from llmcore_storage_object.steps import END, Step, Work, ask, chunk, one, send
from llmcore_storage_object.traits import Traits

__all__ = ["MAX_FILE_BYTES", "Bucket"]

T = TypeVar("T")

MAX_FILE_BYTES: Final = 4 << 30
"""What is saved and loaded in one piece."""
_UNKNOWN_TYPE: Final = "application/octet-stream"
"""What is stored where the ending tells no content type, since a store needs one."""
_LONGEST_SIGNED_S: Final = 7 * 24 * 3600
_READS: Final = 8
_NO_MARK: Final[Mapping[str, str]] = MappingProxyType({})
_MD5: Final = re.compile(r"[0-9a-f]{32}")


class Bucket:
    """One bucket or container, and how its objects are asked for.

    Args:
        store: The SDK's store.
        place: What errors call it.
        prefix: What every object's name begins with.
        secrets: What must be in no error.
        vendors: Whether it is the vendor's own service.
        by_version: Whether the store tells versions apart by number rather than by etag.
        once: The store of the SDK that makes no request again; None where none needs that.
        retries: How often a failed request is made again.
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
    ) -> None:
        self.store = store
        self._once = once or store
        self.retries = retries
        self.place = place
        self.base = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.traits = Traits(store, self.base, vendors=vendors, by_version=by_version)
        self._by_version = by_version
        self._place_seen = False
        self._digests = not vendors
        """Whether etags may be digests: where a server writes files in place, that alone tells a torn one."""
        self._secrets = [secret for secret in secrets if secret is not None]

    def path(self, key: str) -> str:
        """Return the object's name.

        Raises:
            StorageKeyError: The key is not acceptable.
        """
        parse(key)
        return self.base + key

    def guarded(self, key: str, work: Work[T], *, writing: bool = False) -> Work[T]:
        """Do the *work*; what the SDK raises becomes one of our errors."""
        try:
            return (yield from work)
        except LLMCoreError:
            raise
        except BaseException as error:
            if not (isinstance(error, Exception) or faults.panicked(error)):
                raise
            fault = faults.translate(error, key, self.place, self._secrets, writing=writing)
        # Outside the block above, so that the SDK's exception does not hang on ours.
        raise fault

    def save(
        self, key: str, data: Any, *, once: bool = False, mark: Mapping[str, str] = _NO_MARK, **options: Any
    ) -> Work[Any]:
        """Put *data*, bytes or an iterator of them, whatever is there; *once* makes no failed request again."""
        path, store = self.path(key), self._once if once else self.store
        options["attributes"] = {"Content-Type": content_type(key) or _UNKNOWN_TYPE, **mark}
        step = (
            ask("put", store, path, data, **options)
            if isinstance(data, bytes)
            else send(store, path, data, **options)
        )
        return (yield from self._beside(key, one(step)))

    def _beside(self, key: str, work: Work[T]) -> Work[T]:
        """Do the *work* that puts something under *key*, if the server can keep it beside the others."""
        try:
            yield from self._free(key)
            done = yield from work
            yield from self._kept(key)
        except Exception as error:
            if (
                isinstance(error, LLMCoreError)
                or faults.status_of(error) is None
                or faults.conflicting(error)
            ):
                raise
            if not ((yield from self.traits.folders()) and (yield from self._below_a_file(key))):
                raise
        else:
            return done
        raise faults.folder_there(key)

    def load(self, key: str) -> Work[tuple[bytes, str]]:
        """Return the object's bytes and etag."""
        before: tuple[bytes, str] | None = None
        for left in reversed(range(_READS)):
            found = yield ask("get", self.store, self.path(key))
            if found.meta["size"] > MAX_FILE_BYTES:
                raise faults.too_large(key, self.place, found.meta["size"], MAX_FILE_BYTES)
            try:
                read = bytes((yield ask("bytes", on=found))), self.etag(found.meta) or ""
            except Exception as error:
                # The body broke off, as it does where a server replaces the file while it sends it.
                if not left or faults.status_of(error) is not None:
                    raise
                continue
            if self._is_whole(*read):
                return read
            if read == before:
                self._digests = False  # the same twice: this server's etag is no digest
                return read
            before = read
        raise faults.unsteady(key, self.place)

    def _is_whole(self, data: bytes, etag: str) -> bool:
        """Return whether this is what was saved; of two halves of two files the digest fits neither."""
        if not self._digests or not _MD5.fullmatch(etag):
            return True
        return hashlib.md5(data, usedforsecurity=False).hexdigest() == etag

    def exists(self, key: str) -> Work[bool]:
        """Return whether there is such an object."""
        try:
            yield from self.looked(key, ask("head", self.store, self.path(key)))
        except FileNotFoundError as error:
            if faults.no_place(error):
                raise
            return False
        return True

    def looked(self, key: str, step: Step) -> Work[Any]:
        """Do the *step*, a HEAD. Its refusal has no body, so a GET tells once whether there is a bucket at all."""
        try:
            found = yield step
        except FileNotFoundError:
            if not self._place_seen:
                yield from self._see_place(key)
            raise
        self._place_seen = True
        return found

    def _see_place(self, key: str) -> Work[None]:
        try:
            yield ask("get", self.store, self.path(key))
        except FileNotFoundError as error:
            if faults.no_place(error):
                raise
        self._place_seen = True

    def delete(self, key: str) -> Work[bool]:
        """Delete the object; stores do not tell whether there was one, so it is looked for first."""
        return (yield from self.exists(key)) and (yield from self.removed(key))

    def removed(self, key: str) -> Work[bool]:
        """Delete the object, and return whether the store does not tell that there was none."""
        try:
            yield ask("delete", self.store, self.path(key))
        except FileNotFoundError as error:
            if faults.no_place(error):
                raise
            return False
        return True

    def info(self, key: str) -> Work[FileInfo]:
        """Return what is known of the object."""
        head = ask("get", self.store, self.path(key), options={"head": True})
        found = yield from self.looked(key, head)
        return self.info_of(key, found.meta, found.attributes.get("Content-Type"))

    def make_folder(self, key: str) -> Work[None]:
        """Check that the folder may be there; an object store has folders by their files alone."""
        if (yield from self.exists(key)):
            raise faults.file_there(key)

    def copy(self, source: str, target: str) -> Work[None]:
        """Have the store copy the object."""
        old, new = self.path(source), self.path(target)
        yield from self.guarded(source, self._there(source))
        if old != new:
            copied = self._copied(source, target)
            yield from self.guarded(target, self._beside(target, copied), writing=True)

    def _there(self, key: str) -> Work[None]:
        yield from self.looked(key, ask("head", self.store, self.path(key)))

    def _copied(self, source: str, target: str) -> Work[None]:
        try:
            yield ask("copy", self.store, self.path(source), self.path(target))
        except FileNotFoundError as error:
            if faults.no_place(error):
                raise
        else:
            return
        raise faults.not_found(source, f"{self.place}/{source}")

    def sign(self, key: str, expires_s: float, method: str) -> Work[str]:
        """Return an address that is good for a while."""
        path = self.path(key)
        if method not in ("GET", "PUT", "HEAD") or not 1 <= expires_s <= _LONGEST_SIGNED_S:
            raise StorageError(
                f"no address can be signed for {method!a} and {expires_s} seconds",
                expected=f"GET, PUT or HEAD, and 1 to {_LONGEST_SIGNED_S} seconds, which are 7 days",
                fix='sign_url(key, 3600.0, "GET")',
            )
        url: str = yield ask("sign", self.store, method, path, timedelta(seconds=expires_s))
        return url

    def etag(self, meta: Any) -> str | None:
        """Return what names the version that *meta* describes."""
        found: str | None = meta["version" if self._by_version else "e_tag"]
        quoted = found and found.startswith('"') and found.endswith('"')
        return (
            found[1:-1] if found and quoted else found
        )  # some servers quote it in one answer and not in the other

    def matching(self, etag: str) -> dict[str, str]:
        """Return the condition that the version is the one with this *etag*."""
        if self._by_version:
            return {"version": etag}
        return {"e_tag": etag if etag.startswith("W/") else f'"{etag}"'}

    def info_of(self, key: str, meta: Any, kind: str | None = None) -> FileInfo:
        """Return what *meta* tells."""
        return FileInfo(
            key=key,
            size_bytes=meta["size"],
            modified=meta["last_modified"].timestamp(),
            content_type=content_type(key) if kind in (None, _UNKNOWN_TYPE) else kind,
            etag=self.etag(meta),
        )

    def _free(self, key: str) -> Work[None]:
        """Check that no folder stands under *key*, where the server would put the file in its place."""
        if not (yield from self.traits.folders()):
            return
        below = yield chunk(obstore.list(self.store, f"{self.path(key)}/", chunk_size=1))
        if below is not END and below:
            raise faults.folder_there(key)

    def _kept(self, key: str) -> Work[None]:
        """Check that what was saved can be had again, where the server may have put it on a folder without files."""
        if not (yield from self.traits.folders()):
            return
        for _ in range(_READS):
            try:
                found = yield ask("get", self._once, self.path(key))
                yield chunk(found.stream(1))
            except FileNotFoundError:  # deleted meanwhile
                return
            except Exception as error:
                if faults.status_of(error) is not None:
                    raise
            else:
                return
        yield from self.removed(key)
        raise faults.folder_there(key)

    def _below_a_file(self, key: str) -> Work[bool]:
        parts = key.split("/")
        for end in range(1, len(parts)):
            if (yield from self.exists("/".join(parts[:end]))):
                return True
        return False
