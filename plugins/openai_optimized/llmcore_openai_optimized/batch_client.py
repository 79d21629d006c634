"""The methods of the provider `openai` for batches, blocking and asynchronous."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final

import httpx2
import msgspec

from llmcore.errors import ProviderError
from llmcore.support.http import LineParser
from llmcore.support.sending import track_sending
from llmcore.types import BatchLimits, BatchRequest, BatchResult, BatchStatus, ChatRequest
from llmcore_openai_optimized.answers import is_success, read_json
from llmcore_openai_optimized.batches import (
    FORM_TYPE,
    LIMITS,
    encode_creation,
    encode_upload,
    find_result_files,
    read_listing,
    read_result,
    read_status,
)
from llmcore_openai_optimized.client import OpenAIClient
from llmcore_openai_optimized.http import RequestTemplate, RequestTimeout
from llmcore_openai_optimized.read_timeout import ReadTimeout

__all__ = ["OpenAIBatches"]

_SHORT_S: Final = 60.0
_LONG_S: Final = 3600.0
"""Timeout in seconds for an upload and for a file of results."""
_IDLE_S: Final = 60.0
_CONFLICT: Final = 409
"""The HTTP status of the answer if the batch to cancel has already ended."""


class OpenAIBatches(OpenAIClient):
    """Implement the contracts of `llmcore.contracts.batches`."""

    def batch_limits(self, model: str) -> BatchLimits:  # noqa: ARG002 - all models have the same limits
        """See `BatchBounds.batch_limits`."""
        return LIMITS

    # -- blocking

    def submit(self, requests: Sequence[BatchRequest], metadata: Mapping[str, str]) -> BatchStatus:
        """See `BatchLLMProvider.submit`."""
        form, endpoint = self._encode_upload(requests)
        file = self._get_document(partial(self._templates.get_form, "/files", FORM_TYPE), form, _LONG_S)
        del form
        track_sending()
        content = encode_creation(_read_id(file), endpoint, metadata, azure=self._is_azure)
        return self._read_status(self._get_document(self._find_template("POST", "/batches"), content))

    def status(self, batch: str) -> BatchStatus:
        """See `BatchLLMProvider.status`."""
        return self._read_status(self._get_document(self._find_template("GET", f"/batches/{batch}")))

    def results(self, batch: str, requests: Mapping[str, ChatRequest]) -> Iterator[BatchResult]:
        """See `BatchLLMProvider.results`."""
        adapted = _Adapted(requests, self.adapt)
        for file in find_result_files(self._get_document(self._find_template("GET", f"/batches/{batch}"))):
            failure = yield from self._read_lines(file, adapted)
            if failure is not None:
                raise failure

    def cancel(self, batch: str) -> None:
        """See `BatchLLMProvider.cancel`."""
        document = self._find_template("POST", f"/batches/{batch}/cancel")
        answer = read_json(self._fetch(document, b"{}", _SHORT_S), self._errors)
        if isinstance(answer, ProviderError) and answer.status != _CONFLICT:
            raise answer

    def list_batches(self, since: float) -> Sequence[BatchStatus]:
        """See `BatchListing.list_batches`."""
        found: list[BatchStatus] = []
        after: str | None = ""
        while after is not None:
            page = read_listing(
                self._get_document(self._find_template("GET", _make_page(after))), self._errors
            )
            after = _add_page(page, found, since)
        return found

    def _get_document(
        self, find_template: Callable[[], RequestTemplate], content: bytes = b"", timeout_s: float = _SHORT_S
    ) -> Any:
        document = read_json(self._fetch(find_template, content, timeout_s), self._errors)
        if isinstance(document, ProviderError):
            raise document
        return document

    def _read_lines(
        self, file: str, requests: Mapping[str, ChatRequest]
    ) -> Generator[BatchResult, None, ProviderError | None]:
        """Yield the results in *file*; return the error, if any."""
        parser, timeout = LineParser(), RequestTimeout(_LONG_S, _IDLE_S)
        begun = False
        try:
            template = self._find_template("GET", f"/files/{file}/content")()
            response = self._client.get().send(template.request(b"", timeout))
            begun = True
            try:
                if not is_success(response.status_code):
                    body = b"".join(response.iter_bytes())
                    return self._errors.from_status(response.status_code, response.headers, body, "")
                for piece in response.iter_bytes():
                    timeout.check()
                    for line in parser.feed(piece):
                        if (result := read_result(line, requests, self._errors)) is not None:
                            yield result
                for line in parser.end():
                    if (result := read_result(line, requests, self._errors)) is not None:
                        yield result
            finally:
                response.close()
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            return self._errors.translate_error(error, begun=begun)
        return None

    # -- asynchronous: the same steps

    async def asubmit(self, requests: Sequence[BatchRequest], metadata: Mapping[str, str]) -> BatchStatus:
        """See `BatchLLMProvider.submit`."""
        form, endpoint = self._encode_upload(requests)
        file = await self._aget_document(
            partial(self._templates.get_form, "/files", FORM_TYPE), form, _LONG_S
        )
        del form
        track_sending()
        content = encode_creation(_read_id(file), endpoint, metadata, azure=self._is_azure)
        return self._read_status(await self._aget_document(self._find_template("POST", "/batches"), content))

    async def astatus(self, batch: str) -> BatchStatus:
        """See `BatchLLMProvider.status`."""
        return self._read_status(await self._aget_document(self._find_template("GET", f"/batches/{batch}")))

    async def aresults(self, batch: str, requests: Mapping[str, ChatRequest]) -> AsyncIterator[BatchResult]:
        """See `BatchLLMProvider.results`."""
        adapted = _Adapted(requests, self.adapt)
        document = await self._aget_document(self._find_template("GET", f"/batches/{batch}"))
        failures: list[ProviderError] = []
        for file in find_result_files(document):
            async with aclosing(self._aread_lines(file, adapted, failures)) as found:
                async for result in found:
                    yield result
            if failures:
                raise failures[0]

    async def acancel(self, batch: str) -> None:
        """See `BatchLLMProvider.cancel`."""
        document = self._find_template("POST", f"/batches/{batch}/cancel")
        answer = read_json(await self._afetch(document, b"{}", _SHORT_S), self._errors)
        if isinstance(answer, ProviderError) and answer.status != _CONFLICT:
            raise answer

    async def alist_batches(self, since: float) -> Sequence[BatchStatus]:
        """See `BatchListing.list_batches`."""
        found: list[BatchStatus] = []
        after: str | None = ""
        while after is not None:
            document = await self._aget_document(self._find_template("GET", _make_page(after)))
            after = _add_page(read_listing(document, self._errors), found, since)
        return found

    async def _aget_document(
        self, find_template: Callable[[], RequestTemplate], content: bytes = b"", timeout_s: float = _SHORT_S
    ) -> Any:
        document = read_json(await self._afetch(find_template, content, timeout_s), self._errors)
        if isinstance(document, ProviderError):
            raise document
        return document

    async def _aread_lines(
        self, file: str, requests: Mapping[str, ChatRequest], failures: list[ProviderError]
    ) -> AsyncGenerator[BatchResult]:
        """See `_read_lines`. Append the error to *failures*."""
        parser, timeout = LineParser(), RequestTimeout(_LONG_S, _IDLE_S)
        begun = False
        try:
            template = self._find_template("GET", f"/files/{file}/content")()
            client = await self._clients.get()
            response = await client.send(template.request(b"", timeout))
            begun = True
            try:
                pieces, body = response.aiter_bytes(), b""
                while (piece := await _read_piece(pieces, timeout)) is not None:
                    timeout.check()
                    if not is_success(response.status_code):
                        body += piece
                        continue
                    for line in parser.feed(piece):
                        if (result := read_result(line, requests, self._errors)) is not None:
                            yield result
                if not is_success(response.status_code):
                    error = self._errors.from_status(response.status_code, response.headers, body, "")
                    failures.append(error)
                    return
                for line in parser.end():
                    if (result := read_result(line, requests, self._errors)) is not None:
                        yield result
            finally:
                await response.aclose()
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            failures.append(self._errors.translate_error(error, begun=begun))

    # -- shared

    def _encode_upload(self, requests: Sequence[BatchRequest]) -> tuple[bytes, str]:
        adapted = [msgspec.structs.replace(each, request=self.adapt(each.request)) for each in requests]
        return encode_upload(adapted, azure=self._is_azure)

    @property
    def _is_azure(self) -> bool:
        host = httpx2.URL(self.account.base_url).host
        return bool(self.account.azure_endpoint) or host.endswith(".azure.com")

    def _find_template(self, method: str, path: str) -> Callable[[], RequestTemplate]:
        return partial(self._templates.get_document, method, path)

    def _read_status(self, document: Any) -> BatchStatus:
        status = read_status(document, self._errors)
        if isinstance(status, ProviderError):
            raise status
        return status


class _Adapted(Mapping[str, ChatRequest]):
    """The requests in the form in which they were sent: *adapt* translates each request when it is read."""

    def __init__(
        self, requests: Mapping[str, ChatRequest], adapt: Callable[[ChatRequest], ChatRequest]
    ) -> None:
        self._requests = requests
        self._adapt = adapt

    def __getitem__(self, name: str) -> ChatRequest:
        return self._adapt(self._requests[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._requests)

    def __len__(self) -> int:
        return len(self._requests)


async def _read_piece(pieces: AsyncIterator[bytes], limits: RequestTimeout) -> bytes | None:
    async with ReadTimeout(limits):
        return await anext(pieces, None)


def _read_id(file: Any) -> str:
    return str(file.get("id")) if isinstance(file, dict) else ""


def _make_page(after: str) -> str:
    return f"/batches?limit=100&after={after}" if after else "/batches?limit=100"


def _add_page(
    page: tuple[list[BatchStatus], str | None] | ProviderError, found: list[BatchStatus], since: float
) -> str | None:
    """Add the batches of *page* that are new enough. Return the id after which the next page begins.

    Raises:
        ProviderError: The page is an error.
    """
    if isinstance(page, ProviderError):
        raise page
    statuses, after = page
    found += [status for status in statuses if status.created_at >= since]
    is_past = bool(statuses) and statuses[-1].created_at < since
    return None if is_past else after
