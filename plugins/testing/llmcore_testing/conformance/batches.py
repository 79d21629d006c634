"""The tests of `LLMConformance` for batches, by the contract `llmcore.contracts.batches`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from llmcore.errors import NotFound
from llmcore.types import BatchLimits, BatchRequest, BatchResult, BatchStatus, ChatRequest
from llmcore_testing.conformance.abilities import Abilities, for_ability

__all__ = ["BatchCases"]

_QUESTIONS = ("What is seven times six?", "Name a river.", "\u4f60\u597d \U0001f600\u2028 end")
_DAY_S = 86_400.0
_PAUSE_S = 0.05


class BatchCases(Abilities):
    """Tests of batches.

    pytest skips them for a backend without `submit`, and does not collect them if `lacks` names "submit".
    """

    batch_wait_s: ClassVar[float] = 60.0
    """The maximum time in seconds that a batch of three requests may take. Set a longer time for a vendor's server,
    because vendors promise only that a batch ends within a day."""

    def batch(self) -> list[BatchRequest]:
        """Return the requests of a batch."""
        make: Any = self.request  # type: ignore[attr-defined]
        return [
            BatchRequest(id=f"Item_{number}-x", request=make(text, max_tokens=50))
            for number, text in enumerate(_QUESTIONS)
        ]

    @for_ability("submit")
    def test_each_request_of_a_batch_gets_its_own_answer(self) -> None:
        self.needs("submit", "status", "results", "cancel")
        requests = self.batch()
        results = self._read(self._finish(self._submit(requests)), requests)
        assert sorted(result.id for result in results) == sorted(each.id for each in requests), (
            "results must yield exactly one result for each request"
        )
        for result in results:
            reply = result.reply
            assert reply is not None, f"a request failed: {result.error}"
            assert reply.service_tier == "batch", f"the tier must be 'batch', got {reply.service_tier!r}"
            assert reply.usage.input_tokens > 0, (
                "input_tokens must be greater than 0 in every result of a batch"
            )
        if getattr(self, "deterministic", False):
            found = {result.id: result.reply.text for result in results if result.reply}
            alone = {each.id: self.call("complete", each.request).text for each in requests}
            assert found == alone, "a result has the answer to another request"

    @for_ability("submit")
    def test_the_results_of_a_batch_can_be_read_again(self) -> None:
        self.needs("submit")
        requests = self.batch()
        batch = self._finish(self._submit(requests))
        first, second = self._read(batch, requests), self._read(batch, requests)
        assert len(first) == len(second), (
            "`results` must yield the same number of results when it is called a second time"
        )

    @for_ability("submit")
    def test_results_of_other_requests_are_left_out(self) -> None:
        self.needs("submit")
        requests = self.batch()
        results = self._read(self._finish(self._submit(requests)), requests[:1])
        found = [result.id for result in results]
        assert found == [requests[0].id], f"expected the result of one request, got {found}"

    @for_ability("submit")
    def test_an_unknown_batch_is_not_found(self) -> None:
        self.needs("submit")
        self.fails(NotFound, "status", "batch_that_does_not_exist")

    @for_ability("submit")
    def test_a_batch_can_be_cancelled_at_any_time(self) -> None:
        self.needs("submit")
        batch = self._submit(self.batch()).id
        self.call("cancel", batch)
        self._finish(self._get_status(batch))
        self.call("cancel", batch)
        assert self._get_status(batch).state == "ended", "cancel must not change a batch that has ended"

    @for_ability("list_batches")
    def test_a_new_batch_is_listed(self) -> None:
        self.needs("list_batches")
        metadata = {"llmcore_run": "kit", "llmcore_chunk": str(time.time_ns())}
        began = time.time()
        batch = self._submit(self.batch(), metadata)
        listed = {status.id: status for status in self.call("list_batches", began - 60)}
        assert batch.id in listed, "list_batches must include a batch that was just created"
        kept = listed[batch.id].metadata
        assert kept is None or kept == metadata, f"the metadata must be as submitted or None, got {kept}"
        assert batch.id not in {status.id for status in self.call("list_batches", began + _DAY_S)}, (
            "list_batches must leave out batches that were created before *since*"
        )

    @for_ability("batch_limits")
    def test_the_limits_of_a_batch_are_positive(self) -> None:
        self.needs("batch_limits", plain=True)
        limits = self.caller.provider.batch_limits(str(getattr(self, "model", "")))
        assert isinstance(limits, BatchLimits), "batch_limits must return BatchLimits"
        for name in limits.__struct_fields__:
            value = getattr(limits, name)
            assert value is None or value > 0, f"{name} must be greater than 0 or None, got {value!r}"

    @for_ability("submit")
    def test_the_requests_of_a_batch_are_not_changed(self) -> None:
        self.needs("submit")
        requests = self.batch()
        before = msgspec.json.encode(requests)
        self._submit(requests)
        assert msgspec.json.encode(requests) == before, "submit must not change the caller's requests"

    def _submit(self, requests: list[BatchRequest], metadata: Mapping[str, str] | None = None) -> BatchStatus:
        __tracebackhide__ = True
        status = self.call("submit", requests, metadata or {"llmcore_run": "kit"})
        assert isinstance(status, BatchStatus), (
            f"submit must return a BatchStatus, got {type(status).__name__}"
        )
        assert status.id, "a new batch must have an id"
        return status

    def _get_status(self, batch: str) -> BatchStatus:
        __tracebackhide__ = True
        status = self.call("status", batch)
        assert isinstance(status, BatchStatus), (
            f"status must return a BatchStatus, got {type(status).__name__}"
        )
        return status

    def _finish(self, status: BatchStatus) -> str:
        """Wait until the batch has ended; return its id."""
        __tracebackhide__ = True
        ends = time.monotonic() + self.batch_wait_s
        while status.state == "running":
            assert time.monotonic() < ends, f"a small batch took more than {self.batch_wait_s} s"
            time.sleep(_PAUSE_S)
            status = self._get_status(status.id)
        assert status.state == "ended", f"the batch was refused: {status.faults}"
        return status.id

    def _read(self, batch: str, requests: list[BatchRequest]) -> list[BatchResult]:
        __tracebackhide__ = True
        by_id: dict[str, ChatRequest] = {each.id: each.request for each in requests}
        results = self.collect("results", batch, by_id)
        for result in results:
            assert isinstance(result, BatchResult), (
                f"a result must be a BatchResult, got {type(result).__name__}"
            )
        return results
