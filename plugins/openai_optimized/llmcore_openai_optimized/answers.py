"""Read complete answers that are not chats. This module does no I/O.

Functions return errors instead of raising them, and the provider's public methods raise these errors. The reason: a
traceback contains the local variables of every frame. The variables of these functions contain the request and the
answer; the variables of the public methods contain neither.
"""

from __future__ import annotations

from typing import Any

import httpx2
import msgspec

from llmcore.errors import ProviderError
from llmcore_openai_optimized.chat_reader import LARGEST_BODY
from llmcore_openai_optimized.errors import AnswerError, Errors
from llmcore_openai_optimized.http import RequestTimeout
from llmcore_openai_optimized.request import AsyncResponse, SyncResponse

__all__ = ["Answer", "Body", "is_success", "read_json", "read_model_names"]


class Answer(msgspec.Struct, frozen=True):
    """A complete answer."""

    status: int
    headers: httpx2.Headers
    body: bytes


class Body:
    """Collect the bytes of one body, and enforce the timeout and the maximum size."""

    __slots__ = ("_errors", "_pieces", "_response", "_size", "_timeout")

    def __init__(
        self, response: SyncResponse | AsyncResponse, timeout: RequestTimeout, errors: Errors
    ) -> None:
        self._response = response
        self._timeout = timeout
        self._errors = errors
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        """Add the next bytes.

        Raises:
            TimeoutError: The timeout has passed.
            AnswerError: The body is too large.
        """
        self._timeout.check()
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > LARGEST_BODY:
            what = f"more than {LARGEST_BODY:,} bytes"
            raise AnswerError(self._errors.make_malformed(what, self._response.headers))

    def finish(self) -> Answer:
        """Return the complete answer."""
        return Answer(self._response.status_code, self._response.headers, self._join_pieces())

    def _join_pieces(self) -> bytes:
        pieces = self._pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def read_model_names(answer: Answer | ProviderError, errors: Errors) -> list[str] | ProviderError:
    """Return the names in a list of models: `data` (OpenAI), a bare list (Together) or `models` (Ollama)."""
    if isinstance(answer, ProviderError):
        return answer
    if not is_success(answer.status):
        return errors.from_status(answer.status, answer.headers, answer.body, "")
    body, cause = answer.body.removeprefix(b"\xef\xbb\xbf"), ""
    try:
        document = msgspec.json.decode(body)
        listed = document.get("data", document.get("models")) if isinstance(document, dict) else document
        if isinstance(listed, list):
            return sorted(name for model in listed if (name := _read_name(model)))
        cause = "it has no list `data`"
    except ValueError as error:  # msgspec's and Unicode's errors are ValueErrors
        cause = str(error)
    what = f"something that is not a list of models ({cause})"
    return errors.make_malformed(what, answer.headers, expected="a list of models as JSON")


def read_json(answer: Answer | ProviderError, errors: Errors) -> Any:
    """Return the JSON document of *answer*, or the error."""
    if isinstance(answer, ProviderError):
        return answer
    if not is_success(answer.status):
        return errors.from_status(answer.status, answer.headers, answer.body, "")
    try:
        return msgspec.json.decode(answer.body.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        what = f"something that is not JSON ({error})"
    return errors.make_malformed(what, answer.headers, expected="a document as JSON")


def _read_name(model: Any) -> str:
    found = model.get("id") or model.get("name") if isinstance(model, dict) else model
    return found if isinstance(found, str) else ""


def is_success(status: int) -> bool:
    """Return whether *status* is 2xx. Some gateways answer successful requests with a status other than 200."""
    return 200 <= status < 300  # noqa: PLR2004 - every status 2xx is a success
