"""Read an error document of any shape: its message, codes and status. This module does no I/O.

Servers with this protocol report errors in many places: `error` as an object or as text, `errors`, `detail` (a text, or
FastAPI's list), `{"object": "error"}`, inside a choice, inside `metadata.raw` as JSON in a string, and more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

__all__ = ["FAILED_REASONS", "ErrorReport", "is_error", "parse_body", "read_error"]

FAILED_REASONS: Final = frozenset(
    {"abort", "aborted", "error", "insufficient_system_resource", "internal_error", "network_error", "server_error"}
)  # fmt: skip
"""Values of `finish_reason`, in lower case, for a failed generation (DeepSeek, z.AI, vLLM ...)."""

_NESTED: Final = (
    "error",
    "errors",
    "fault",
    "base_resp",
    "details",
    "detail",
    "innererror",
    "metadata",
    "raw",
)
_MESSAGES: Final = (
    "message", "msg", "error_message", "error_msg", "errormessage", "error_description", "faultstring",
    "status_msg", "title",
)  # fmt: skip
_CODES: Final = (
    "reason", "code", "error_code", "errorcode", "error_type", "status", "type", "__type",
    "status_code", "statuscode", "http_status", "raw_status_code",
)  # fmt: skip
"""Names of fields with a code or a status, the most specific first."""

_ERRORS_BY_NAME: Final = (
    "errors",
    "detail",
    "fault",
    "error_code",
    "error_message",
    "error_msg",
    "error_type",
)
"""Fields that a document without choices has only if it reports an error."""
_CODES_OF_A_MESSAGE: Final = ("code", "status", "type", "statuscode", "__type")

_HTTP_ERROR: Final = re.compile(r"[45][0-9][0-9]")
_SUCCESS: Final = frozenset({"", "0", "200", "201", "none", "null", "ok", "success"})
_DEEPEST: Final = 8
_MOST_PARTS: Final = 8
_IDENTIFIER: Final = re.compile(r"[\w.:\-]+")
_PARAMETER: Final = re.compile(r"[a-z][\w.\[\]]{0,59}")
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_SSE_FIELD: Final = re.compile(r"^(?:data|error):\s*(.*?)\s*$", re.MULTILINE)


class ErrorReport(msgspec.Struct, frozen=True):
    """The content of an error document."""

    message: str = ""
    codes: tuple[str, ...] = ()
    """Codes, types and reasons in lower case, the innermost and most specific first."""
    status: int | None = None
    """The HTTP status in the document, which may differ from the status of the response."""
    parameter: str | None = None
    """The faulty parameter of the request."""
    retry_after: float | None = None
    """Seconds, from Google's `RetryInfo`."""


def read_error(document: Any) -> ErrorReport:
    """Return the report of *document*, which may have any shape."""
    found = _Findings()
    _read(document, found, 0)
    return found.report()


def is_error(document: Any) -> bool:
    """Return whether *document*, which was received with a success status, reports an error."""
    if isinstance(document, list):
        return bool(document) and all(isinstance(each, Mapping) and is_error(each) for each in document)
    if not isinstance(document, Mapping):
        return False
    if _reports_anything(document.get("error")) or "error" in (document.get("object"), document.get("type")):
        return True
    base = document.get("base_resp")  # MiniMax
    if isinstance(base, Mapping) and base.get("status_code"):
        return True
    choices = document.get("choices")
    if isinstance(choices, list) and choices:
        return any(_has_failed(choice) for choice in choices)
    return _is_error_without_choice({str(name).lower(): value for name, value in document.items()})


def _is_error_without_choice(document: Mapping[str, Any]) -> bool:
    if document.get("success") is False or any(
        _reports_anything(document.get(name)) for name in _ERRORS_BY_NAME
    ):
        return True
    has_message = any(isinstance(document.get(name), str) and document[name] for name in ("message", "msg"))
    return has_message and any(_reports_anything(document.get(name)) for name in _CODES_OF_A_MESSAGE)


def parse_body(body: bytes) -> Any:
    """Return the document in the body of an error: JSON, the data of a server-sent event, or text."""
    text = body.decode("utf-8-sig", errors="replace").strip()
    document = _parse_json(text)
    if document is not None:
        return document
    if text[:1] == "<":  # in HTML or XML, only the title is readable
        title = _TITLE.search(text)
        return title[1] if title else ""
    for line in _SSE_FIELD.findall(text):
        document = _parse_json(line)
        if document is not None:
            return document
    return text


def _has_failed(choice: Any) -> bool:
    if not isinstance(choice, Mapping):
        return False
    reason = choice.get("finish_reason")
    return _reports_anything(choice.get("error")) or (
        isinstance(reason, str) and reason.lower() in FAILED_REASONS
    )


def _reports_anything(value: Any) -> bool:
    """Return whether *value* reports an error. Some servers add `"error": {}` or `"code": 0` to every answer."""
    if isinstance(value, Mapping):
        named = [value[name] for name in ("code", "status_code") if value.get(name) is not None]
        if named and all(str(each).lower() in _SUCCESS for each in named):
            return False
        return any(_reports_anything(each) for each in value.values())
    if isinstance(value, list):
        return any(_reports_anything(each) for each in value)
    if isinstance(value, str):
        return value.strip().lower() not in _SUCCESS
    return bool(value) and value not in {200, 201}


class _Findings:
    """Collect the parts of a report: messages from outer to inner, codes from inner to outer."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.codes: list[str] = []
        self.statuses: list[int] = []
        self.parameter: str | None = None
        self.retry_after: float | None = None

    def add_message(self, text: str) -> None:
        text = text.strip()
        if text and len(self.messages) < _MOST_PARTS and not any(text in each for each in self.messages):
            self.messages.append(text)

    def report(self) -> ErrorReport:
        return ErrorReport(
            message=": ".join(self.messages),
            codes=tuple(dict.fromkeys(self.codes)),
            status=self.statuses[0] if self.statuses else None,
            parameter=self.parameter,
            retry_after=self.retry_after,
        )


def _read(value: Any, found: _Findings, depth: int) -> None:
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        if _is_json(value):
            _read(_parse_json(value), found, depth + 1)
        else:
            found.add_message(value)
    elif isinstance(value, list):
        for each in value[:_MOST_PARTS]:
            _read(each, found, depth + 1)
    elif isinstance(value, Mapping):
        _read_mapping({str(name).lower(): each for name, each in value.items()}, found, depth)


def _read_mapping(value: dict[str, Any], found: _Findings, depth: int) -> None:
    message = next((value[name] for name in _MESSAGES if value.get(name)), None)
    if isinstance(message, str) and not _is_json(message):
        found.add_message(_format_place(value.get("loc")) + message)
    elif message is not None:
        _read(message, found, depth + 1)
    name = value.get("error")
    if message is not None and isinstance(name, str) and _IDENTIFIER.fullmatch(name.strip()):
        found.codes.append(name.strip().lower())  # {"error": "Unauthorized", "message": "..."}
        del value["error"]
    for nested in _NESTED:
        if value.get(nested):
            _read(value[nested], found, depth + 1)
    choices = value.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, Mapping):
            _read(choice.get("error"), found, depth + 1)
    _read_details(value, found)


def _read_details(value: Mapping[str, Any], found: _Findings) -> None:
    """Read the codes, status and delay of one object."""
    if value.get("flagged_input"):  # moderation of OpenRouter; the value is the caller's text
        found.codes.append("content_filter")
    parameter = value.get("param")
    if isinstance(parameter, str) and _PARAMETER.fullmatch(parameter) and found.parameter is None:
        found.parameter = parameter
    delay = value.get("retrydelay")
    if isinstance(delay, str) and found.retry_after is None:
        found.retry_after = _parse_duration(delay)
    for code in _iterate_codes(value):
        if _HTTP_ERROR.fullmatch(code):
            found.statuses.append(int(code))
        else:
            found.codes.append(code)


def _iterate_codes(value: Mapping[str, Any]) -> Iterator[str]:
    for name in _CODES:
        code = value.get(name)
        if isinstance(code, str | int) and not isinstance(code, bool):
            text = str(code).strip().lower()
            if text not in _SUCCESS:
                yield text


def _format_place(path: Any) -> str:
    """Return the location in an error of FastAPI, such as "body.messages: "."""
    return ".".join(str(part) for part in path) + ": " if isinstance(path, list) and path else ""


def _parse_duration(text: str) -> float | None:
    """Return the seconds in a duration of Google, such as "34s" or "0.5s"."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)s", text.strip(), re.ASCII)
    return float(found[1]) if found else None


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in {"{", "["} and _parse_json(text) is not None


def _parse_json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(text)  # unlike msgspec, `json` accepts NaN
    except (ValueError, RecursionError):
        return None
