"""/v1/files, OpenAI's files: upload, describe, list, read and delete."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from llmcore_testing.simulator.batch_queue import find_queue
from llmcore_testing.simulator.openai_common import make_headers, make_id
from llmcore_testing.simulator.openai_errors import Refused, make_invalid, make_refusal
from llmcore_testing.simulator.routing import Call
from llmcore_testing.simulator.wire import Answer, encode

__all__ = [
    "File",
    "add_file",
    "delete_file",
    "describe_file",
    "find_file",
    "list_files",
    "read_file",
    "read_lifetime",
    "upload_file",
]

_PURPOSES: Final = frozenset({"assistants", "batch", "evals", "fine-tune", "user_data", "vision"})
_NAME: Final = re.compile(rb'name="([^"]*)"')
_FILENAME: Final = re.compile(rb'filename="([^"]*)"')
_LIFETIME_S: Final = (3600, 2_592_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file. Times are seconds since 1970."""

    id: str
    name: str
    purpose: str
    content: bytes
    created_at: int
    expires_at: int | None = None

    def describe(self) -> dict[str, Any]:
        """Return the file in the format of the API."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


def upload_file(call: Call) -> Answer:
    """Store a file from a form with `purpose`, `file`, and optionally `expires_after[anchor]` and `expires_after[seconds]`."""
    fields, name, content = _read_form(call)
    purpose = fields.get("purpose", "")
    if purpose not in _PURPOSES:
        raise make_invalid(f"'{purpose}' is not one of {sorted(_PURPOSES)} - 'purpose'", param="purpose")
    if content is None:
        raise make_invalid("'file' is a required property", param="file")
    file = add_file(call, name, purpose, content, read_lifetime(fields.get("expires_after[seconds]")))
    return Answer(pieces=(encode(file.describe()),), headers=make_headers(0), counted="files")


def add_file(call: Call, name: str, purpose: str, content: bytes, lifetime_s: int | None = None) -> File:
    """Store *content* as a new file."""
    now = int(time.time())
    file = File(
        id=make_id("file-"),
        name=name,
        purpose=purpose,
        content=content,
        created_at=now,
        expires_at=None if lifetime_s is None else now + lifetime_s,
    )
    find_queue(call).files[file.id] = file
    return file


def find_file(call: Call, name: str) -> File:
    """Return the file *name*.

    Raises:
        Refused: The file does not exist or has expired.
    """
    file = find_queue(call).files.get(name)
    if not isinstance(file, File) or (file.expires_at is not None and file.expires_at <= time.time()):
        raise Refused(make_refusal(404, f"No such File object: {name}", code="", param="id"))
    return file


def read_file(call: Call) -> Answer:
    """Return the content of a file."""
    content = find_file(call, call.names["file"]).content
    return Answer(pieces=(content,), content_type="application/octet-stream", headers=make_headers(0))


def describe_file(call: Call) -> Answer:
    """Describe a file."""
    return Answer(pieces=(encode(find_file(call, call.names["file"]).describe()),), headers=make_headers(0))


def delete_file(call: Call) -> Answer:
    """Delete a file."""
    file = find_file(call, call.names["file"])
    del find_queue(call).files[file.id]
    document = {"id": file.id, "object": "file", "deleted": True}
    return Answer(pieces=(encode(document),), headers=make_headers(0), counted="files_deleted")


def list_files(call: Call) -> Answer:
    """List the files, newest first."""
    purpose = call.request.query.get("purpose")
    data = [file.describe() for file in find_queue(call).files.values() if purpose in {None, file.purpose}][
        ::-1
    ]
    return Answer(
        pieces=(encode({"object": "list", "data": data, "has_more": False}),), headers=make_headers(0)
    )


def read_lifetime(value: Any) -> int | None:
    """Return the lifetime of a file in seconds; None for no expiry.

    Raises:
        Refused: The number is not valid.
    """
    if value is None:
        return None
    least, most = _LIFETIME_S
    if not str(value).isdecimal() or not least <= int(value) <= most:
        raise make_invalid(
            f"Invalid 'expires_after.seconds': expected {least} to {most}.", param="expires_after"
        )
    return int(value)


def _read_form(call: Call) -> tuple[Mapping[str, str], str, bytes | None]:
    """Return the fields of a form, and the name and content of the uploaded file."""
    kind = call.request.headers.get("content-type", "")
    boundary = kind.partition("boundary=")[2].strip('"').encode()
    if not kind.startswith("multipart/form-data") or not boundary:
        raise make_invalid("Expected a form of the type multipart/form-data.")
    fields: dict[str, str] = {}
    name, content = "", None
    for part in (b"\r\n" + call.request.raw).split(b"\r\n--" + boundary)[1:-1]:
        head, _, body = part.partition(b"\r\n\r\n")
        named = _NAME.search(head)
        field = named[1].decode() if named else ""
        if filename := _FILENAME.search(head):
            name, content = filename[1].decode(), body
        else:
            fields[field] = body.decode(errors="replace")
    return fields, name, content
