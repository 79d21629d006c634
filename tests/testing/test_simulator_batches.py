"""Files and batches of the simulator, through the vendors' own clients, with every fault of a batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from llmcore.errors import ConfigError
from llmcore_testing import Fault, Simulator
from llmcore_testing.simulator.faults import BATCH_FAULTS

NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def client(upstream: Simulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=upstream.base_url, api_key="k", max_retries=0) as made:
        yield made


@pytest.fixture
def claude(upstream: Simulator) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=upstream.url, api_key="k", max_retries=0) as made:
        yield made


def make_line(name: str, **changes: Any) -> dict[str, Any]:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"Say {name}\u2028."}]}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body} | changes


def create(client: openai.OpenAI, lines: list[Any] | None = None, **options: Any) -> Any:
    lines = [make_line(name) for name in NAMES] if lines is None else lines
    content = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", **options
    )


def look(client: openai.OpenAI, batch: str) -> Any:
    return client.batches.retrieve(batch)


def read(client: openai.OpenAI, file: str | None) -> list[Any]:
    if file is None:
        return []
    lines = client.files.content(file).text.split("\n")
    return [json.loads(line) if line.endswith("}") else None for line in lines if line]


def create_claude(claude: anthropic.Anthropic) -> Any:
    return claude.messages.batches.create(
        requests=[
            {
                "custom_id": name,
                "params": {
                    "model": "claude-sonnet-5",
                    "max_tokens": 50,
                    "messages": [{"role": "user", "content": name}],
                },
            }
            for name in NAMES
        ]
    )


def test_openai_answers_a_batch_and_bills_each_line_once(upstream: Simulator, client: openai.OpenAI) -> None:
    made = create(client, metadata={"run": "r1"})
    assert (made.status, made.metadata, made.request_counts.total) == ("validating", {"run": "r1"}, 4)
    done = look(client, made.id)
    assert (done.status, done.request_counts.completed, done.error_file_id) == ("completed", 4, None)
    assert done.expires_at == done.created_at + 86_400
    lines = read(client, done.output_file_id)
    assert [line["custom_id"] for line in lines] == NAMES
    assert "Say a" in lines[0]["response"]["body"]["choices"][0]["message"]["content"]
    assert done.usage.input_tokens == sum(
        line["response"]["body"]["usage"]["prompt_tokens"] for line in lines
    )
    look(client, made.id)
    assert (upstream.counts["batches"], upstream.counts["batch_items"], upstream.counts["files"]) == (1, 4, 1)
    assert [each.id for each in client.batches.list()] == [made.id]


def test_files_are_listed_expire_and_are_deleted(client: openai.OpenAI) -> None:
    file = client.files.create(
        file=("in.jsonl", b"{}\r\n--x"),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert file.expires_at == file.created_at + 3600
    assert (file.bytes, client.files.content(file.id).content) == (7, b"{}\r\n--x")
    assert [each.id for each in client.files.list()] == [file.id]
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.content(file.id)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", "invalid_json_line"),
        (make_line("a"), "duplicate_custom_id"),
        (make_line("e", url="/v1/responses"), "mismatched_endpoint"),
        ({"custom_id": "e"}, "missing_required_parameter"),
    ],
)
def test_a_batch_with_a_bad_line_fails_as_a_whole(
    upstream: Simulator, client: openai.OpenAI, line: Any, code: str
) -> None:
    done = look(client, create(client, [make_line("a"), line]).id)
    assert (done.status, done.errors.data[0].code, done.errors.data[0].line) == ("failed", code, 2)
    assert upstream.counts["batch_items"] == 0


def test_a_line_that_the_model_refuses_is_in_the_error_file(client: openai.OpenAI) -> None:
    done = look(client, create(client, [make_line("a"), make_line("b", body={"model": "m"})]).id)
    (error,) = read(client, done.error_file_id)
    assert (error["custom_id"], error["response"]["status_code"]) == ("b", 400)
    assert len(read(client, done.output_file_id)) == 1


@pytest.mark.slow
def test_a_held_batch_is_cancelled_with_what_was_done() -> None:
    with Simulator(holds_batches=True) as held, openai.OpenAI(base_url=held.base_url, api_key="k") as other:
        made = create(other)
        assert look(other, made.id).status == "in_progress"
        held.finish_batches(0.5)
        assert other.batches.cancel(made.id).status == "cancelling"
        done = look(other, made.id)
        assert (done.status, held.counts["batch_items"]) == ("cancelled", 2)
        assert len(read(other, done.output_file_id)) == 2
        with pytest.raises(openai.ConflictError):
            other.batches.cancel(made.id)
        waiting = create(other)
        held.finish_batches()
        assert look(other, waiting.id).status == "completed"


def test_a_batch_expires_after_its_window_and_tokens_are_limited() -> None:
    with (
        Simulator(holds_batches=True, batch_window_s=0.0, batch_tokens=100) as upstream,
        openai.OpenAI(base_url=upstream.base_url, api_key="k") as client,
    ):
        made = create(client)
        assert look(client, create(client).id).errors.data[0].code == "token_limit_exceeded"
        done = look(client, made.id)
        assert (done.status, read(client, done.error_file_id)[0]["error"]["code"]) == (
            "expired",
            "batch_expired",
        )


STATES = {
    "bad_line": ("completed", 4, 0, 4),
    "error_file_only": ("completed", 0, 4, 0),
    "expired": ("expired", 0, 4, 0),
    "half_done": ("expired", 2, 2, 2),
    "no_output_file": ("completed", 0, 0, 4),
    "reordered": ("completed", 4, 0, 4),
    "results_twice": ("completed", 8, 0, 4),
    "validation_failed": ("failed", 0, 0, 0),
}


def test_every_fault_of_a_batch_is_tried() -> None:
    assert {*STATES, "lost", "listed_late"} == set(BATCH_FAULTS)
    with pytest.raises(ConfigError, match="`how` of the fault `batch` must be one of"):
        Fault.batch("late")
    with pytest.raises(ConfigError, match="`then` of the fault `batch` must be a fault"):
        Fault.batch("expired", then=Fault.reset())


@pytest.mark.parametrize("how", STATES)
def test_a_batch_of_openai_goes_wrong(upstream: Simulator, client: openai.OpenAI, how: str) -> None:
    upstream.fail(Fault.batch(how))
    done = look(client, create(client).id)
    good, bad = read(client, done.output_file_id), read(client, done.error_file_id)
    assert (done.status, len(good), len(bad), upstream.counts["batch_items"]) == STATES[how]
    assert (None in good) is (how == "bad_line")
    if how == "reordered":
        assert [line["custom_id"] for line in good] == NAMES[::-1]


@pytest.mark.parametrize("how", STATES)
def test_a_batch_of_anthropic_goes_wrong(upstream: Simulator, claude: anthropic.Anthropic, how: str) -> None:
    upstream.fail(Fault.batch(how))
    if how == "validation_failed":
        with pytest.raises(anthropic.BadRequestError):
            create_claude(claude)
        return
    done = claude.messages.batches.retrieve(create_claude(claude).id)
    assert (done.processing_status, upstream.counts["batch_items"]) == ("ended", STATES[how][3])
    if how == "no_output_file":
        assert done.results_url is None
        return
    if how == "bad_line":
        with pytest.raises(json.JSONDecodeError):
            list(claude.messages.batches.results(done.id))
        return
    results = list(claude.messages.batches.results(done.id))
    kinds = [result.result.type for result in results]
    assert (kinds.count("succeeded"), len(kinds) - kinds.count("succeeded")) == STATES[how][1:3]
    if how == "results_twice":
        assert done.request_counts.succeeded == 4
    if how == "reordered":
        assert [result.custom_id for result in results] == NAMES[::-1]


def test_a_lost_batch_exists_although_no_client_received_its_id(
    upstream: Simulator, client: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    upstream.fail(Fault.batch("lost"), times=2)
    with pytest.raises(openai.APIConnectionError):
        create(client, metadata={"run": "r1"})
    with pytest.raises(anthropic.APIConnectionError):
        create_claude(claude)
    assert [each.metadata for each in client.batches.list()] == [{"run": "r1"}]
    assert [each.request_counts.succeeded for each in claude.messages.batches.list()] == [4]


def test_anthropic_answers_cancels_and_lists_batches(claude: anthropic.Anthropic) -> None:
    with (
        Simulator(holds_batches=True) as held,
        anthropic.Anthropic(base_url=held.url, api_key="k") as other,
    ):
        made = [create_claude(other) for _ in range(3)]
        assert [each.id for each in other.messages.batches.list(limit=2)] == [each.id for each in made[::-1]]
        assert other.messages.batches.cancel(made[0].id).processing_status == "canceling"
        assert other.messages.batches.retrieve(made[0].id).request_counts.canceled == 4
    done = claude.messages.batches.retrieve(create_claude(claude).id)
    (first, *_) = claude.messages.batches.results(done.id)
    assert first.result.type == "succeeded"
    assert first.result.message.usage.service_tier == "batch"
