"""What a resumed run reads, writes and sends: finished items are read from the file of the run, in pages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

import llmcore
from llmcore.core import Core
from llmcore.llm.batch.queue_store import QueueStore
from llmcore.llm.batch.store import RunStore
from llmcore_testing.simulator import Fault, Simulator

ITEMS = [{"prompt": f"q{number % 210}", "id": f"line {number}"} for number in range(260)]
"""More than a page, with duplicates."""


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def upstream(server: Simulator) -> Simulator:
    server.reset()
    return server


@pytest.fixture
def core(upstream: Simulator) -> Iterator[Core]:
    config = {
        "llm": {
            "provider": "openai",
            "model": "gpt-4o-mini",
            "openai": {"base_url": upstream.base_url, "api_key": "sk-test"},
        },
        "cache": {"provider": "memory"},
        "retry": {"attempts": 1},
    }
    with llmcore.load(config) as core:
        yield core


def mark(path: Path) -> None:
    """Write a mark into each stored item. An item that is written again loses it."""
    with apsw.Connection(str(path)) as db:
        db.execute('UPDATE items SET error = \'{"code": "mark", "message": ""}\'')


def list_marked(path: Path) -> set[int]:
    """Return the positions of the items that have the mark."""
    db = apsw.Connection(str(path))
    rows: list[Any] = db.execute("SELECT position FROM items WHERE error LIKE '%mark%'").fetchall()
    return {position for (position,) in rows}


@pytest.mark.parametrize("lane", ["now", "queue"])
@pytest.mark.parametrize("in_order", [True, False])
def test_finished_items_are_read_and_not_written_again(
    core: Core, upstream: Simulator, *, lane: Any, in_order: bool
) -> None:
    run = core.llm.batch(ITEMS, lane=lane, max_tokens=20)
    before = {item.index: item for item in run}
    sent = upstream.counts["chat"] + upstream.counts["batch_items"]
    mark(run.path)
    changed = [
        *ITEMS[:7],
        {"prompt": "changed", "id": "line 7"},
        {**ITEMS[8], "id": "other id"},
        *ITEMS[9:],
        "more",
    ]
    again = core.llm.resume_batch(run.id, changed, max_tokens=20)
    found = list(again.results() if in_order else again)
    if in_order:
        assert [item.index for item in found] == list(range(261))
    items = {item.index: item for item in found}
    assert upstream.counts["chat"] + upstream.counts["batch_items"] == sent + 2
    for index, item in before.items():
        if index not in {7, 8}:
            assert items[index] == item
    assert items[8].id == "other id"
    assert items[7].reply is not None
    assert "changed" in items[7].reply.text
    assert list_marked(run.path) == set(range(260)) - {7, 8}
    assert (again.summary.items, again.summary.done) == (261, 261)


@pytest.mark.slow
@pytest.mark.parametrize("has_items", [True, False])
def test_failed_items_are_sent_again_and_malformed_ones_fail_again(
    core: Core, upstream: Simulator, *, has_items: bool
) -> None:
    items = [*ITEMS[:210], {"prompt": ""}]
    upstream.fail(Fault.status(400, message="refused"), times=3)
    run = core.llm.batch(items, concurrency=1)
    assert [item.index for item in run if item.error] == [0, 1, 2, 210]
    before = upstream.counts["requests"]
    again = core.llm.resume_batch(run.id, items if has_items else None)
    found = {item.index: item for item in again}
    assert [index for index, item in found.items() if item.error] == [210]
    assert len(found) == 211
    assert (again.summary.done, again.summary.failed) == (210, 1)
    assert upstream.counts["requests"] == before + 3


def test_a_cleared_run_counts_no_answers_of_the_old_one(tmp_path: Path) -> None:
    with contextlib.closing(RunStore(tmp_path / "run.sqlite3")) as store:
        for _ in range(2):
            queue = QueueStore(store)
            chunk = queue.add("openai:gpt-4o-mini", [(b"key", 0)], 10)
            assert queue.count_billed(chunk) == 0
            queue.remove_billed([queue.make_name(chunk.id, 0)])
            assert queue.count_billed(chunk) == 1
            store.clear()
