"""Find out once how a server with the API of a vendor, such as MinIO, behaves.

Some servers ignore the conditions of a save. Other servers store objects as files in folders. On them, the
objects "a" and "a/b" cannot both exist, and saving "a" may silently replace "a/b". Probes detect both kinds of
servers before data is lost.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Any, Final

from llmcore.support.storage_keys import TEMPORARY
from llmcore_storage_object import errors
from llmcore_storage_object.io_calls import Operation, ask

__all__ = ["ServerBehaviour"]

_NOT_NOW: Final = (408, 429, 503)
"""Statuses of temporary failures. They do not mean that the server rejects the object's name."""
_NO_ETAG: Final = '"00000000000000000000000000000000"'


class ServerBehaviour:
    """The behaviour of one server. Each method sends probes only when it is first called.

    Args:
        store: The SDK's store.
        base: The prefix for the names of probe objects.
        vendors: True if the server is the vendor's own service, which needs no probes.
        by_version: True if conditions use version numbers in place of ETags.
        writer: The store for unconditional puts and deletes.
    """

    def __init__(self, store: Any, base: str, *, vendors: bool, by_version: bool, writer: Any) -> None:
        self._store = store
        self._writer = writer
        self._base = base
        self._by_version = by_version
        self._conditions: bool | None = True if vendors else None
        self._folders: bool | None = False if vendors else None

    def has_conditions(self) -> Operation[bool]:
        """Return whether the server honours the conditions of a save."""
        if self._conditions is None:
            name = self._make_name()
            self._conditions = yield from self._run_probe(self._has_conditions(name), name)
        return self._conditions

    def has_folders(self) -> Operation[bool]:
        """Return whether the server stores objects as files in folders."""
        if self._folders is None:
            name = self._make_name()
            self._folders = yield from self._run_probe(self._has_folders(name), name)
        return self._folders

    def _has_folders(self, name: str) -> Operation[bool]:
        yield ask("put", self._writer, name, b"")
        # Save the file first. If the folder came first, such a server might replace the folder with the file.
        if not (yield from self._is_rejected(f"{name}/file")):
            return False
        # The failure may have been temporary. Check that another name is accepted and this name is rejected again.
        yield ask("put", self._writer, f"{name}-beside", b"")
        yield from self._delete_probe(f"{name}-beside")
        return (yield from self._is_rejected(f"{name}/file"))

    def _is_rejected(self, below: str) -> Operation[bool]:
        try:
            yield ask("put", self._writer, below, b"")
        except Exception as error:
            if errors.get_status(error) in (None, *_NOT_NOW):
                raise
            return True
        yield from self._delete_probe(below)
        return False

    def _has_conditions(self, name: str) -> Operation[bool]:
        wrong = {"version": "1"} if self._by_version else {"e_tag": _NO_ETAG}
        yield ask("put", self._store, name, b"")
        for mode in ("create", wrong):
            try:
                yield ask("put", self._store, name, b"", mode=mode)
            except Exception as error:
                if not errors.is_conflict(error):
                    raise
            else:
                return False
        return True

    def _run_probe(self, probing: Operation[bool], name: str) -> Operation[bool]:
        """Run *probing*, then delete the probe. After an interrupt, skip the delete, which could block."""
        try:
            found = yield from probing
        except Exception:
            yield from self._delete_probe(name)
            raise
        yield from self._delete_probe(name)
        return found

    def _delete_probe(self, name: str) -> Operation[None]:
        with suppress(Exception):  # a remaining probe is harmless: listings omit it
            yield ask("delete", self._writer, name)

    def _make_name(self) -> str:
        return f"{self._base}{TEMPORARY}{secrets.token_hex(12)}"
