"""Store each conversation of `chat` and `ask -c`.

Conversations are JSON files in the configured storage or the user's state folder.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from llmcore.errors import PluginError, StorageChanged, StorageError, StorageExists, StorageNotFound
from llmcore.support.errors import raise_unchained
from llmcore.support.user_folders import get_user_folder

if TYPE_CHECKING:
    from llmcore.core import Core
    from llmcore.types import FileInfo, Message

__all__ = ["Conversation", "Conversations", "can_keep", "check_name", "get_text", "open_conversations"]

_PREFIX: Final = "conversations/"
_SUFFIX: Final = ".json"
_PAGE: Final = 1000
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"


class Conversation(msgspec.Struct, kw_only=True):
    """A conversation and its stored fields. `name` is the name of the file."""

    schema: int = 1
    name: str = ""
    created: str = ""
    """ISO 8601, in UTC."""
    updated: str = ""
    model: str | None = None
    """The model that `-m` or `/model` chose; None for the configured model."""
    system: str | None = None
    messages: list[dict[str, Any]] = []

    def to_prompt(self) -> list[Message]:
        """Return the messages for the model."""
        return [{"role": each["role"], "content": each["content"]} for each in self.messages]

    @property
    def first_question(self) -> str:
        """The first question, on one line."""
        return " ".join(get_text(self.messages[0]).split()) if self.messages else ""


class _Files(Protocol):
    """The methods of `StorageClient` that conversations need."""

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> list[FileInfo]:
        """See `StorageClient`."""
        ...

    def load(self, key: str) -> bytes:
        """See `StorageClient`."""
        ...

    def load_with_etag(self, key: str) -> tuple[bytes, str]:
        """See `StorageClient`."""
        ...

    def save_if_absent(self, key: str, data: bytes) -> str:
        """See `StorageClient`."""
        ...

    def save_if_match(self, key: str, data: bytes, etag: str) -> str:
        """See `StorageClient`."""
        ...

    def delete(self, key: str) -> bool:
        """See `StorageClient`."""
        ...


def can_keep(core: Core) -> bool:
    """Return whether conversations can be stored: in a configured storage, or in the user's home directory."""
    return core.settings.storage.provider is not None or get_user_folder("state", os.environ) is not None


def open_conversations(core: Core) -> Conversations:
    """Return the stored conversations.

    Raises:
        StorageError: No storage is configured, and the user has no home directory.
    """
    if core.settings.storage.provider is not None:
        return Conversations(_Storage(core.storage), core.settings.storage.provider)
    from llmcore.cli.local_folder import LocalFolder

    folder = get_user_folder("state", os.environ)
    if folder is None:
        raise StorageError(
            "conversations cannot be kept: no storage is configured, and the user has no home directory",
            expected="a storage, or XDG_STATE_HOME as an absolute path",
            fix="llmcore config set storage.provider fs",
        )
    return Conversations(LocalFolder(folder), str(folder))


class Conversations:
    """The conversations in one storage."""

    def __init__(self, files: _Files, place: str) -> None:
        self.place = place
        """The storage's name, or the folder."""
        self._files = files
        self._etags: dict[str, str] = {}

    def check(self) -> None:
        """Raise a `StorageError` if the storage cannot be read."""
        self._files.list_page(_PREFIX, 1)

    def list_newest(self) -> list[tuple[str, float]]:
        """Return name and time of each conversation, most recently used first."""
        found: list[FileInfo] = []
        while True:
            page = self._files.list_page(_PREFIX, _PAGE, found[-1].key if found else "")
            found += page
            if len(page) < _PAGE:
                break
        named = [
            (each.key[len(_PREFIX) : -len(_SUFFIX)], each.modified) for each in found if _is_ours(each.key)
        ]
        return sorted(named, key=lambda each: (each[1], each[0]), reverse=True)

    def load(self, name: str) -> Conversation:
        """Return the conversation *name*; a unique beginning of a name is enough.

        Raises:
            StorageNotFound: No conversation has this name.
            StorageError: The file is not a conversation.
        """
        found = self._load(name)
        if found is None:
            names = [each for each, _ in self.list_newest()]
            alike = [each for each in names if each.startswith(name)]
            if len(alike) != 1:
                raise _make_missing_error(name, alike or names)
            found = self._load(alike[0])
            if found is None:  # deleted in the meantime
                raise _make_missing_error(name, names)
        return found

    def load_last(self) -> Conversation | None:
        """Return the conversation that was used last; None if no conversation is stored."""
        newest = self.list_newest()
        return self._load(newest[0][0]) if newest else None

    def iterate_all(self) -> Iterator[Conversation | StorageError]:
        """Yield every conversation, most recently used first.

        A file that is not a conversation yields an error.
        """
        for name, _ in self.list_newest():
            try:
                found = self._load(name)
            except StorageError as error:
                if type(error) is not StorageError:
                    raise
                yield error
            else:
                if found is not None:
                    yield found

    def save(self, conversation: Conversation) -> bool:
        """Save the conversation.

        If another process has changed the file, save the conversation under a new name and return False.

        Raises:
            StorageExists: The conversation is new, and its name is taken.
            StorageError: The conversation cannot be saved.
        """
        conversation.updated = _format_now()
        conversation.created = conversation.created or conversation.updated
        known = self._etags.get(conversation.name)
        if not conversation.name:
            conversation.name = _make_name()
        try:
            self._write(conversation, known)
        except StorageExists:
            raise_unchained(
                StorageExists(
                    f"the conversation {conversation.name!r} exists",
                    where="--name",
                    expected="another name",
                    fix=f"llmcore chat {conversation.name}",
                )
            )
        except StorageChanged:
            conversation.name = f"{re.sub(r'-[0-9a-f]{4}$', '', conversation.name)}-{secrets.token_hex(2)}"
            self._write(conversation, None)
            return False
        return True

    def discard(self, conversation: Conversation) -> None:
        """Delete the file of a conversation that this process began and that has no answer."""
        if self._etags.pop(conversation.name, None) is not None:
            self._files.delete(_get_key(conversation.name))

    def _load(self, name: str) -> Conversation | None:
        if not re.fullmatch(_NAME, name):
            return None
        try:
            data, etag = self._files.load_with_etag(_get_key(name))
        except StorageNotFound:
            return None
        try:
            found = msgspec.json.decode(data, type=Conversation)
            _check_messages(found.messages)
        except (msgspec.MsgspecError, ValueError) as error:
            raise_unchained(
                StorageError(
                    f"{_get_key(name)} is not a conversation: {error}",
                    expected='JSON such as {"schema": 1, "messages": [{"role": "user", "content": "Hi"}]}',
                    fix=f"llmcore chat --name {name}-2",
                )
            )
        found.name = name
        self._etags[name] = etag
        # If the last message is a question, its call was interrupted. The question is not part of the conversation.
        if found.messages and found.messages[-1]["role"] == "user":
            del found.messages[-1]
        return found

    def _write(self, conversation: Conversation, etag: str | None) -> None:
        key, data = _get_key(conversation.name), _encode(conversation)
        saved = (
            self._files.save_if_absent(key, data)
            if etag is None
            else self._files.save_if_match(key, data, etag)
        )
        self._etags[conversation.name] = saved


class _Storage:
    """A storage of any plugin.

    If the storage has no conditional saves, a save first compares the stored file with the version that it replaces.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.list_page = client.list_page
        self.load = client.load
        self.delete = client.delete

    def load_with_etag(self, key: str) -> tuple[bytes, str]:
        try:
            data, etag = self._client.load_with_etag(key)
        except PluginError:
            import hashlib

            data = self._client.load(key)
            return data, hashlib.sha256(data).hexdigest()
        return data, etag

    def save_if_absent(self, key: str, data: bytes) -> str:
        try:
            return str(self._client.save_if_absent(key, data))
        except PluginError:
            pass
        except StorageError as error:
            if type(error) is not StorageError:
                raise
        if self._client.exists(key):
            raise StorageExists(f"a file is stored under {key!r}")
        self._client.save(key, data)
        return self.load_with_etag(key)[1]

    def save_if_match(self, key: str, data: bytes, etag: str) -> str:
        try:
            return str(self._client.save_if_match(key, data, etag))
        except PluginError:
            pass
        except StorageError as error:
            if type(error) is not StorageError:
                raise
        try:
            same = self.load_with_etag(key)[1] == etag
        except StorageNotFound:
            same = False
        if not same:
            raise StorageChanged(f"the file {key!r} has changed")
        self._client.save(key, data)
        return self.load_with_etag(key)[1]


def get_text(message: dict[str, Any]) -> str:
    """Return the text of a message, or the joined texts of its parts."""
    content = message["content"]
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)


def _make_name() -> str:
    """Return a name for a conversation.

    The name begins with the local time, so that names sort by age, and ends with four random characters.
    """
    return f"{time.strftime('%Y-%m-%d-%H%M%S')}-{secrets.token_hex(2)}"


def check_name(name: str) -> None:
    """Check a name that the user gives.

    Raises:
        UsageError: The name is not valid.
    """
    from llmcore.cli.command_errors import UsageError

    if not re.fullmatch(_NAME, name):
        raise UsageError(
            f"a name must be letters, digits, - and _, got {name!r}",
            where="--name",
            expected="at most 100 letters, digits, - and _, beginning with a letter or digit",
            fix=f"--name {re.sub(r'[^A-Za-z0-9_]+', '-', name).strip('-_')[:100] or 'rain'}",
        )


def _check_messages(messages: list[dict[str, Any]]) -> None:
    for number, message in enumerate(messages, start=1):
        if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str | list):
            raise ValueError(f"message {number} has no role or content")  # noqa: TRY004 - the fault is in the file, so it is not a TypeError


def _encode(conversation: Conversation) -> bytes:
    plain = {name: value for name, value in msgspec.to_builtins(conversation).items() if value is not None}
    try:
        return (json.dumps(plain, indent=2, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # a text contains a lone surrogate
        return (json.dumps(plain, indent=2) + "\n").encode()


def _get_key(name: str) -> str:
    return f"{_PREFIX}{name}{_SUFFIX}"


def _is_ours(key: str) -> bool:
    name = key.removeprefix(_PREFIX)
    return name.endswith(_SUFFIX) and re.fullmatch(_NAME, name[: -len(_SUFFIX)]) is not None


def _format_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _make_missing_error(name: str, names: list[str]) -> StorageNotFound:
    from difflib import get_close_matches
    from shlex import quote

    near = get_close_matches(name, names, n=1)
    return StorageNotFound(
        f"there is no conversation {name!r}",
        expected=", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "none is kept yet",  # noqa: PLR2004
        suggestion=near[0] if near else None,
        fix=f"llmcore chat {quote(near[0])}" if near else "llmcore chat --list",
    )
