"""The methods of the provider `anthropic` for batches, blocking and asynchronous."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final

import httpx2
import msgspec

from llmcore.errors import ProviderError
from llmcore.support.errors import raise_unchained
from llmcore.support.http import LineParser, RequestDeadline
from llmcore.types import BatchLimits, BatchRequest, BatchResult, BatchStatus, ChatRequest
from llmcore_anthropic.batches import LIMITS, encode_batch, read_listing, read_result, read_status
from llmcore_anthropic.transport import Transport

__all__ = ["Batches"]

_BATCHES: Final = "/v1/messages/batches"
_SHORT_S: Final = 60.0
_LONG_S: Final = 3600.0
"""The timeout in seconds for the creation of a batch and for its results."""
_IDLE_S: Final = 60.0


class Batches(Transport):
    """Implements the contracts of `llmcore.contracts.batches`."""

    _max_tokens: int

    def batch_limits(self, model: str) -> BatchLimits:  # noqa: ARG002 - all models have the same limits
        """See `BatchBounds.batch_limits`."""
        return LIMITS

    # -- sync

    def submit(self, requests: Sequence[BatchRequest], metadata: Mapping[str, str]) -> BatchStatus:  # noqa: ARG002 - the vendor stores no metadata
        """See `BatchLLMProvider.submit`."""
        content = encode_batch(requests, default_max_tokens=self._max_tokens)
        return self._read_status(*self._post(_BATCHES, content, None, _LONG_S))

    def status(self, batch: str) -> BatchStatus:
        """See `BatchLLMProvider.status`."""
        return self._read_status(*self._post(f"{_BATCHES}/{batch}", None, None, _SHORT_S))

    def results(self, batch: str, requests: Mapping[str, ChatRequest]) -> Iterator[BatchResult]:
        """See `BatchLLMProvider.results`."""
        deadline, parser = RequestDeadline(_LONG_S, _IDLE_S), LineParser()
        response: httpx2.Response | None = None
        try:
            response = self._send(f"{_BATCHES}/{batch}/results", None, deadline)
            for piece in response.iter_bytes():
                deadline.check()
                yield from self._read_results(parser.feed(piece), requests)
            yield from self._read_results(parser.end(), requests)
        except Exception as error:  # noqa: BLE001 - every exception becomes an error of llmcore
            raise_unchained(self._translate_error(error, None, deadline, ""))
        finally:
            if response is not None:
                response.close()

    def cancel(self, batch: str) -> None:
        """See `BatchLLMProvider.cancel`."""
        self._post(f"{_BATCHES}/{batch}/cancel", b"{}", None, _SHORT_S)

    def list_batches(self, since: float) -> Sequence[BatchStatus]:
        """See `BatchListing.list_batches`."""
        found: list[BatchStatus] = []
        after: str | None = ""
        while after is not None:
            after = self._add_page(*self._post(_make_page(after), None, None, _SHORT_S), found, since)
        return found

    # -- asynchronous: the same steps

    async def asubmit(self, requests: Sequence[BatchRequest], metadata: Mapping[str, str]) -> BatchStatus:  # noqa: ARG002 - the vendor stores no metadata
        """See `BatchLLMProvider.submit`."""
        content = encode_batch(requests, default_max_tokens=self._max_tokens)
        return self._read_status(*await self._apost(_BATCHES, content, None, _LONG_S))

    async def astatus(self, batch: str) -> BatchStatus:
        """See `BatchLLMProvider.status`."""
        return self._read_status(*await self._apost(f"{_BATCHES}/{batch}", None, None, _SHORT_S))

    async def aresults(self, batch: str, requests: Mapping[str, ChatRequest]) -> AsyncIterator[BatchResult]:
        """See `BatchLLMProvider.results`."""
        deadline, parser = RequestDeadline(_LONG_S, _IDLE_S), LineParser()
        response: httpx2.Response | None = None
        try:
            response = await self._asend(f"{_BATCHES}/{batch}/results", None, deadline)
            async for piece in response.aiter_bytes():
                deadline.check()
                for result in self._read_results(parser.feed(piece), requests):
                    yield result
            for result in self._read_results(parser.end(), requests):
                yield result
        except Exception as error:  # noqa: BLE001 - every exception becomes an error of llmcore
            raise_unchained(self._translate_error(error, None, deadline, ""))
        finally:
            if response is not None:
                await response.aclose()

    async def acancel(self, batch: str) -> None:
        """See `BatchLLMProvider.cancel`."""
        await self._apost(f"{_BATCHES}/{batch}/cancel", b"{}", None, _SHORT_S)

    async def alist_batches(self, since: float) -> Sequence[BatchStatus]:
        """See `BatchListing.list_batches`."""
        found: list[BatchStatus] = []
        after: str | None = ""
        while after is not None:
            headers, body = await self._apost(_make_page(after), None, None, _SHORT_S)
            after = self._add_page(headers, body, found, since)
        return found

    # -- shared

    def _read_results(
        self, lines: Sequence[bytes], requests: Mapping[str, ChatRequest]
    ) -> Iterator[BatchResult]:
        for line in lines:
            if (result := read_result(line, requests, self._errors)) is not None:
                yield result

    def _read_status(self, headers: httpx2.Headers, body: bytes) -> BatchStatus:
        status = read_status(self._read_json(headers, body), self._errors)
        if isinstance(status, ProviderError):
            raise status
        return status

    def _add_page(
        self, headers: httpx2.Headers, body: bytes, found: list[BatchStatus], since: float
    ) -> str | None:
        """Add the batches of a page that are new enough. Return the id after which the next page begins."""
        page = read_listing(self._read_json(headers, body), self._errors)
        if isinstance(page, ProviderError):
            raise page
        statuses, after = page
        found += [status for status in statuses if status.created_at >= since]
        is_past = bool(statuses) and statuses[-1].created_at < since
        return None if is_past else after

    def _read_json(self, headers: httpx2.Headers, body: bytes) -> Any:
        try:
            return msgspec.json.decode(body)
        except (ValueError, RecursionError):
            raise_unchained(self._errors.make_malformed("a body that is not JSON", headers))


def _make_page(after: str) -> str:
    return f"{_BATCHES}?limit=100&after_id={after}" if after else f"{_BATCHES}?limit=100"
