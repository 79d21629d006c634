"""ElevenLabs' voice endpoints: list, search, describe, clone and delete."""

from __future__ import annotations

import email.parser
import email.policy
import json
from typing import Any, Final

from llmcore_testing.simulator.endpoints.eleven_errors import make_error, make_validation_error
from llmcore_testing.simulator.endpoints.eleven_voice_store import find_store
from llmcore_testing.simulator.routing import Call
from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["add_dictionary", "add_voice", "delete_voice", "describe_voice", "list_voices", "search_voices"]

_USUAL_PAGE: Final = 10
_LARGEST_PAGE: Final = 100
_AUDIO: Final = (b"RIFF", b"ID3", b"OggS", b"fLaC", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1")


def list_voices(call: Call) -> Answer:
    """Return all voices in one answer; version 1 of this endpoint has no pages."""
    return _make_json({"voices": list(find_store(call).voices.values())}, "voices")


def search_voices(call: Call) -> Answer:
    """Return one page of the matching voices."""
    query = call.request.query
    size = query.get("page_size", str(_USUAL_PAGE))
    if not size.isdigit() or not 1 <= int(size) <= _LARGEST_PAGE:
        raise make_validation_error("less_than_equal", "page_size", "Input should be from 1 to 100", size)
    fitting = [voice for voice in find_store(call).voices.values() if _is_match(voice, query)]
    if query.get("sort") == "name":
        fitting.sort(key=lambda voice: voice["name"], reverse=query.get("sort_direction") == "desc")
    token = query.get("next_page_token", "0")
    start = int(token) if token.isdigit() else 0
    end = start + int(size)
    more = end < len(fitting)
    page = {"voices": fitting[start:end], "has_more": more, "total_count": len(fitting)}
    return _make_json({**page, "next_page_token": str(end) if more else None}, "voices")


def describe_voice(call: Call) -> Answer:
    """Describe one voice."""
    return _make_json(find_store(call).find_voice(call.names["voice"]), "voices")


def delete_voice(call: Call) -> Answer:
    """Delete a cloned voice."""
    voice = find_store(call).find_voice(call.names["voice"])
    if voice["category"] == "premade":
        raise make_error(400, "voice_does_not_belong_to_user", "You cannot delete a premade voice.")
    del find_store(call).voices[voice["voice_id"]]
    return _make_json({"status": "ok"}, "deleted")


def add_voice(call: Call) -> Answer:
    """Clone a voice from the recordings in the form."""
    fields, files = _read_form(call)
    if not fields.get("name"):
        raise make_validation_error("missing", "name", "Field required")
    if not files:
        raise make_validation_error("missing", "files", "Field required")
    if any(not file.startswith(_AUDIO) for file in files):
        raise make_error(400, "invalid_content", "Uploaded file contains invalid content, cannot process")
    labels = json.loads(fields.get("labels") or "null") or {}
    voice_id = find_store(call).add_voice(fields["name"], "cloned", fields.get("description", ""), labels)
    return _make_json({"voice_id": voice_id, "requires_verification": False}, "cloned")


def add_dictionary(call: Call) -> Answer:
    """Store a pronunciation dictionary."""
    body = call.request.body if isinstance(call.request.body, dict) else {}
    if not isinstance(body.get("name"), str) or not isinstance(body.get("rules"), list):
        raise make_validation_error("missing", "rules", "Field required", body)
    store = find_store(call)
    told = {
        "id": store.make_id("Dict"),
        "name": body["name"],
        "created_by": "simulator",
        "creation_time_unix": 1_700_000_000,
        "version_id": store.make_id("Version"),
        "version_rules_num": len(body["rules"]),
        "description": body.get("description"),
    }
    store.dictionaries[told["id"]] = {**told, "rules": body["rules"]}
    return _make_json(told, "dictionaries")


def _is_match(voice: dict[str, Any], query: Any) -> bool:
    labels = voice["labels"]
    if any(
        name in query and query[name] != labels.get(name) for name in ("gender", "language", "accent", "age")
    ):
        return False
    if query.get("category", voice["category"]) != voice["category"]:
        return False
    said = " ".join([voice["name"], voice["description"], voice["category"], *labels.values()])
    return bool(query.get("search", "").lower() in said.lower())


def _read_form(call: Call) -> tuple[dict[str, str], list[bytes]]:
    """Return the text fields and the files of a multipart form."""
    kind = call.request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise make_validation_error("missing", "name", "Field required")
    head = f"content-type: {kind}\r\n\r\n".encode()
    whole = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + call.request.raw)
    fields: dict[str, str] = {}
    files: list[bytes] = []
    for part in whole.iter_parts():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if part.get_filename() is not None:
            files.append(content)
        else:
            fields[str(part.get_param("name", header="content-disposition"))] = content.decode()
    return fields, files


def _make_json(value: Any, counted: str) -> Answer:
    return Answer(pieces=(encode(value),), counted=counted)
