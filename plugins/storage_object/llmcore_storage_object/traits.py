"""What a server does that speaks the protocol and is not the vendor's own: found out once, before it matters.

Such servers differ where it costs data. Some take a condition and ignore it; some keep objects as files in folders, where
"a" and "a/b" exclude each other and one silently replaces the other.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Any, Final

from llmcore.contracts.storage_keys import TEMPORARY
from llmcore_storage_object import faults
from llmcore_storage_object.steps import Work, ask

__all__ = ["Traits"]

_NOT_NOW: Final = (408, 429, 503)
"""What tells nothing of the name that was asked for."""
_NO_ETAG: Final = '"00000000000000000000000000000000"'


class Traits:
    """The traits of one server, each asked for when it is first needed.

    Args:
        store: The SDK's store.
        base: What the names of probes begin with.
        vendors: Whether it is the vendor's own service, whose traits are known.
        by_version: Whether conditions are held by version rather than by etag.
    """

    def __init__(self, store: Any, base: str, *, vendors: bool, by_version: bool) -> None:
        self._store = store
        self._base = base
        self._by_version = by_version
        self._conditions: bool | None = True if vendors else None
        self._folders: bool | None = False if vendors else None

    def conditions(self) -> Work[bool]:
        """Find out whether the server holds conditions."""
        if self._conditions is None:
            name = self._name()
            self._conditions = yield from self._cleared(self._refuses(name), name)
        return self._conditions

    def folders(self) -> Work[bool]:
        """Find out whether the server keeps objects as files in folders."""
        if self._folders is None:
            name = self._name()
            self._folders = yield from self._cleared(self._nests_not(name), name)
        return self._folders

    def _nests_not(self, name: str) -> Work[bool]:
        yield ask("put", self._store, name, b"")
        # The other way round would harm such a server: it may take the file and lose the folder.
        if not (yield from self._fails(f"{name}/file")):
            return False
        # A server that is not well refuses once what it would take; this one takes another name and refuses again.
        yield ask("put", self._store, f"{name}-beside", b"")
        yield from self._removed(f"{name}-beside")
        return (yield from self._fails(f"{name}/file"))

    def _fails(self, below: str) -> Work[bool]:
        try:
            yield ask("put", self._store, below, b"")
        except Exception as error:
            if faults.status_of(error) in (None, *_NOT_NOW):
                raise
            return True
        yield from self._removed(below)
        return False

    def _refuses(self, name: str) -> Work[bool]:
        wrong = {"version": "1"} if self._by_version else {"e_tag": _NO_ETAG}
        yield ask("put", self._store, name, b"")
        for mode in ("create", wrong):
            try:
                yield ask("put", self._store, name, b"", mode=mode)
            except Exception as error:
                if not faults.conflicting(error):
                    raise
            else:
                return False
        return True

    def _cleared(self, probing: Work[bool], name: str) -> Work[bool]:
        """Do the *probing*, then remove the probe; not when it was interrupted, which leaves no time for that."""
        try:
            found = yield from probing
        except Exception:
            yield from self._removed(name)
            raise
        yield from self._removed(name)
        return found

    def _removed(self, name: str) -> Work[None]:
        with suppress(Exception):  # what is left is listed to nobody
            yield ask("delete", self._store, name)

    def _name(self) -> str:
        return f"{self._base}{TEMPORARY}{secrets.token_hex(12)}"
