"""The long form of the figures of batches works, with few items."""

from __future__ import annotations

import pytest

from tests.batch_figures import measure_bad, measure_million


@pytest.mark.slow
def test_a_small_run_sends_each_new_prompt_once() -> None:
    found = measure_million(200)
    assert (found["answered"], found["resumed"], found["cached_before"]) == (200, 200, 40)
    assert found["upstream"] == 100
    assert found["memory_mb"] > 0


@pytest.mark.slow
def test_bad_lines_are_told_apart() -> None:
    assert measure_bad(lines=300, bad=30) == {
        "code": 0,
        "errors": 30,
        "at_the_right_lines": True,
        "with_a_reason": True,
        "answered": 270,
    }
