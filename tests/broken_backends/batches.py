"""Batches, good and broken on purpose, under `LLMConformance`; test_conformance_batches.py runs this file."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from llmcore.errors import NotFound
from llmcore.types import (
    BatchLimits,
    BatchRequest,
    BatchResult,
    BatchStatus,
    ChatRequest,
    Reply,
    Usage,
)
from llmcore_testing.conformance import LLMConformance


class Plain:
    """Correct, blocking, without listing and limits."""

    def __init__(self) -> None:
        self.batches: dict[str, tuple[BatchStatus, list[BatchRequest]]] = {}
        self.numbers = itertools.count(1)

    def complete(self, request: ChatRequest) -> Reply:
        text = str(request.messages[-1].get("content")) if request.messages else ""
        usage = Usage(input_tokens=len(text.split()) + 1, output_tokens=1)
        return Reply(text=f"You said {text}", model="parrot", usage=usage, finish_reason="stop")

    def submit(self, requests: Sequence[BatchRequest], metadata: Mapping[str, str]) -> BatchStatus:
        status = BatchStatus(
            id=f"b{next(self.numbers)}", state="running", created_at=time.time(), metadata=dict(metadata)
        )
        self.batches[status.id] = (status, list(requests))
        return status

    def status(self, batch: str) -> BatchStatus:
        if batch not in self.batches:
            raise NotFound(f"no batch {batch}")
        status, requests = self.batches[batch]
        return msgspec.structs.replace(status, state="ended", answered=len(requests))

    def results(self, batch: str, requests: Mapping[str, ChatRequest]) -> Iterator[BatchResult]:
        for each in self.batches[batch][1]:
            if each.id in requests:
                reply = msgspec.structs.replace(self.complete(each.request), service_tier="batch")
                yield BatchResult(id=each.id, reply=reply)

    def cancel(self, batch: str) -> None:
        self.status(batch)


class Full(Plain):
    """Correct, sync and async, with listing and limits."""

    async def acomplete(self, request: ChatRequest) -> Reply:
        return self.complete(request)

    async def asubmit(self, requests: Sequence[BatchRequest], metadata: Mapping[str, str]) -> BatchStatus:
        return self.submit(requests, metadata)

    async def astatus(self, batch: str) -> BatchStatus:
        return self.status(batch)

    async def aresults(self, batch: str, requests: Mapping[str, ChatRequest]) -> AsyncIterator[BatchResult]:
        for result in self.results(batch, requests):
            yield result

    async def acancel(self, batch: str) -> None:
        self.cancel(batch)

    def list_batches(self, since: float) -> Sequence[BatchStatus]:
        return [status for status, _ in self.batches.values() if status.created_at >= since]

    async def alist_batches(self, since: float) -> Sequence[BatchStatus]:
        return self.list_batches(since)

    def batch_limits(self, model: str) -> BatchLimits:  # noqa: ARG002 - one limit
        return BatchLimits(max_requests=10)


class MixesUpResults(Full):
    def results(self, batch: str, requests: Mapping[str, ChatRequest]) -> Iterator[BatchResult]:
        found = list(super().results(batch, requests))
        for one, other in zip(found, found[::-1], strict=True):
            yield msgspec.structs.replace(one, reply=other.reply)


class LosesAResult(Full):
    def results(self, batch: str, requests: Mapping[str, ChatRequest]) -> Iterator[BatchResult]:
        yield from list(super().results(batch, requests))[1:] or super().results(batch, requests)


class RepeatsAResult(Full):
    def results(self, batch: str, requests: Mapping[str, ChatRequest]) -> Iterator[BatchResult]:
        found = list(super().results(batch, requests))
        yield from found + found[:1] if len(found) > 1 else found


class ForgetsTheTier(Full):
    def results(self, batch: str, requests: Mapping[str, ChatRequest]) -> Iterator[BatchResult]:
        for result in super().results(batch, requests):
            assert result.reply is not None
            yield msgspec.structs.replace(
                result, reply=msgspec.structs.replace(result.reply, service_tier="default")
            )


class ReadsOnce(Full):
    def results(self, batch: str, requests: Mapping[str, ChatRequest]) -> Iterator[BatchResult]:
        yield from super().results(batch, requests)
        self.batches[batch] = (self.batches[batch][0], [])


class YieldsUnrequestedResults(Full):
    def results(self, batch: str, requests: Mapping[str, ChatRequest]) -> Iterator[BatchResult]:
        del requests
        return super().results(batch, {each.id: each.request for each in self.batches[batch][1]})


class InventsBatches(Full):
    def status(self, batch: str) -> BatchStatus:
        return super().status(batch) if batch in self.batches else BatchStatus(id=batch, state="running")


class ReturnsAnId(Full):
    def submit(self, requests: Sequence[BatchRequest], metadata: Mapping[str, str]) -> Any:
        return super().submit(requests, metadata).id


class RefusesASecondCancel(Full):
    def cancel(self, batch: str) -> None:
        super().cancel(batch)
        if self.batches[batch][0].total == -1:
            raise NotFound("it has ended")
        status, requests = self.batches[batch]
        self.batches[batch] = (msgspec.structs.replace(status, total=-1), requests)


class ListsNothing(Full):
    def list_batches(self, since: float) -> Sequence[BatchStatus]:  # noqa: ARG002
        return []


class IgnoresSince(Full):
    def list_batches(self, since: float) -> Sequence[BatchStatus]:
        del since
        return super().list_batches(0.0)


class LosesTheMetadata(Full):
    def submit(self, requests: Sequence[BatchRequest], metadata: Mapping[str, str]) -> BatchStatus:
        return super().submit(requests, dict(list(metadata.items())[:1]))


class HasNoLimits(Full):
    def batch_limits(self, model: str) -> BatchLimits:  # noqa: ARG002
        return BatchLimits(max_requests=0)


class ChangesTheRequests(Full):
    def submit(self, requests: Sequence[BatchRequest], metadata: Mapping[str, str]) -> BatchStatus:
        status = super().submit(requests, metadata)
        requests.pop()  # type: ignore[attr-defined]
        return status


class Good(LLMConformance):
    backend: type = Full

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()


class Broken(Good):
    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param


class TestFull(Good):
    """Every test applies."""


class TestPlain(Good):
    backend = Plain


for _backend in (
    ChangesTheRequests, ForgetsTheTier, HasNoLimits, IgnoresSince, InventsBatches, ListsNothing, LosesAResult, LosesTheMetadata,
    MixesUpResults, ReadsOnce, RefusesASecondCancel, RepeatsAResult, ReturnsAnId, YieldsUnrequestedResults,
):  # fmt: skip
    globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Broken,), {"backend": _backend})
