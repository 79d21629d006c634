"""What was received, read without the network: either what was asked for, or the error to be raised.

Errors are returned here and raised by the provider's own methods, whose frames hold neither request nor answer: a
traceback shows the locals of every frame that it passed, and servers repeat keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import httpx2
import msgspec

from llmcore.errors import ProviderError
from llmcore.types import ChatRequest, Delta, Reply
from llmcore_openai_optimized._errors import Answered, Errors
from llmcore_openai_optimized._http import Patience
from llmcore_openai_optimized._wire import LARGEST_BODY, begun_text, reply_from

__all__ = ["Answer", "Body", "as_deltas", "ends_by_itself", "is_stream", "names_in", "reply_in"]

_OK: Final = 200


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    headers: httpx2.Headers
    body: bytes


class Body:
    """The bytes of one body, as long as there is time and room for them."""

    __slots__ = ("_errors", "_patience", "_pieces", "_response", "_size")

    def __init__(self, response: httpx2.Response, patience: Patience, errors: Errors) -> None:
        self._response = response
        self._patience = patience
        self._errors = errors
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            TimeoutError: The time is over.
            Answered: They are too many.
        """
        self._patience.check()
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > LARGEST_BODY:
            what = f"more than {LARGEST_BODY:,} bytes"
            raise Answered(self._errors.malformed(what, self._response.headers))

    def answer(self) -> Answer:
        """Return the answer, whose body is at its end."""
        return Answer(self._response.status_code, self._response.headers, self._whole())

    def broken(self, failure: ProviderError) -> ProviderError:
        """Return *failure*, which ended the body too early, with the text that had come."""
        if failure.partial is None and self._pieces:
            failure.partial = begun_text(self._whole())
        return failure

    def _whole(self) -> bytes:
        pieces = self._pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def reply_in(answer: Answer | ProviderError, request: ChatRequest, errors: Errors) -> Reply | ProviderError:
    """Return the reply to *request*."""
    if isinstance(answer, ProviderError):
        return answer
    if answer.status != _OK:
        return errors.refused(answer.status, answer.headers, answer.body, request.model)
    try:
        return reply_from(answer.body, answer.headers, request, errors)
    except Answered as answered:
        return answered.error


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


def names_in(answer: Answer | ProviderError, errors: Errors) -> list[str] | ProviderError:
    """Return the names in a list of models."""
    if isinstance(answer, ProviderError):
        return answer
    if answer.status != _OK:
        return errors.refused(answer.status, answer.headers, answer.body, "")
    try:
        return sorted(model.id for model in msgspec.json.decode(answer.body, type=_Models).data)
    except msgspec.DecodeError as error:
        what = f"something that is no list of models ({error})"
        return errors.malformed(what, answer.headers, expected="a list of models as JSON")


def as_deltas(reply: Reply | ProviderError) -> Iterator[Delta]:
    """Yield an answer that came whole though a stream was asked for, as a stream.

    Raises:
        Answered: It is an error.
    """
    if isinstance(reply, ProviderError):
        raise Answered(reply)
    if reply.text:
        yield Delta(text=reply.text, model=reply.model)
    yield Delta(
        tool_calls=reply.tool_calls,
        finish_reason=reply.finish_reason,
        usage=reply.usage,
        model=reply.model,
        service_tier=reply.service_tier,
        request_id=reply.request_id,
        body=reply.body,
        limits=reply.limits,
    )


def is_stream(response: httpx2.Response) -> bool:
    """Whether the answer can be read piece by piece. Some servers do not say what they send."""
    kind = response.headers.get("content-type", "")
    return response.status_code == _OK and "json" not in kind and "html" not in kind


def ends_by_itself(response: httpx2.Response) -> bool:
    """Whether the end of the body is marked, and so worth waiting for: the connection is then used again."""
    return "transfer-encoding" in response.headers or "content-length" in response.headers
