"""Turn JSON documents of Chat Completions, which another client received, into deltas and replies. This module does no I/O."""

from __future__ import annotations

import httpx2

from llmcore.support.errors import raise_unchained
from llmcore.types import ChatRequest, Delta, Reply
from llmcore_openai_optimized.account import Account, Vendor
from llmcore_openai_optimized.chat_reader import ChatReader
from llmcore_openai_optimized.errors import AnswerError, Errors

__all__ = ["DocumentReader"]


class DocumentReader:
    """Reads one answer, whole or in chunks, as leniently as the provider `openai` does."""

    def __init__(self, request: ChatRequest, provider: str, address: str) -> None:
        """Read the answer to *request*.

        Args:
            request: The request.
            provider: The provider's name, for errors.
            address: The server, for errors.
        """
        vendor = Vendor(name=provider, url=address, key_variables=("",))
        account = Account(base_url=address, key=None, key_source="", vendor=vendor)
        self._reader = ChatReader(request, httpx2.Headers(), Errors(account))

    @property
    def is_done(self) -> bool:
        """True if the answer is complete."""
        return self._reader.is_done

    @property
    def text(self) -> str | None:
        """The text received so far; empty or None if no text has arrived."""
        return self._reader.text

    def feed_document(self, document: bytes) -> list[Delta]:
        """Add the whole answer; return it as deltas.

        Raises:
            ProviderError: *document* is not an answer, or reports an error.
        """
        try:
            return [*self._reader.feed(document), *self._reader.end()]
        except AnswerError as error:
            raise_unchained(error.error)

    def feed_chunk(self, chunk: bytes) -> list[Delta]:
        """Add a chunk of a stream; return its deltas.

        Raises:
            ProviderError: *chunk* is not a chunk, or reports an error.
        """
        try:
            return self._reader.feed(b"data: " + chunk + b"\n\n")
        except AnswerError as error:
            raise_unchained(error.error)

    def end(self) -> list[Delta]:
        """Mark the end of a stream; return the remaining deltas.

        Raises:
            ProviderError: The answer is not complete.
        """
        try:
            return self._reader.end()
        except AnswerError as error:
            raise_unchained(error.error)

    def make_reply(self) -> Reply:
        """Return the complete answer."""
        return self._reader.make_reply()
