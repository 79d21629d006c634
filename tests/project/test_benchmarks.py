"""The benchmarks' harness: its figures and comparisons, and that a failing side is an error."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from openai import OpenAI

from benchmarks.__main__ import list_rows, main
from benchmarks.environments import ROOT, Environment
from benchmarks.harness import Row, Side, measure, measure_cpu_seconds, render_table
from benchmarks.upstream import BODY, serve

HERE = Environment(Path(sys.executable).parents[1])
NOTE = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"


def _make_side(name: str, *arguments: str, at_most: float | None = None) -> Side:
    return Side(name=name, environment=HERE, arguments=("-S", *arguments), at_most=at_most)


def test_sides_are_taken_in_turn_after_an_uncounted_round(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    sides = [_make_side(name, "-c", NOTE, str(notes), name) for name in "AB"]
    result = measure(Row(title="turns", sides=sides), rounds=3)
    assert notes.read_text() == "AB" + "BA" + "AB" + "BA"
    assert [side["name"] for side in result["sides"]] == ["A", "B"]
    assert result["rounds"] == 3


def test_more_work_costs_more_and_is_compared_with_the_promise() -> None:
    loop = "sum(range(20_000_000))"  # some forty times the cost of starting
    row = Row(
        title="work", sides=[_make_side("none", "-c", "pass"), _make_side("much", "-c", loop, at_most=1.0)]
    )
    result = measure(row, rounds=1)
    assert result["sides"][0]["ratio"] == 1.0
    assert result["sides"][1]["ratio"] > 1.0
    assert "OVER 1.0x" in list(render_table(result))[2]
    assert json.loads(json.dumps(result)) == result


def test_the_cost_of_a_call_leaves_the_start_out(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    row = Row(title="calls", sides=[_make_side("A", "-c", NOTE, str(notes), "{calls} ")], calls=(2, 5))
    assert measure(row, rounds=1)["unit"] == "us of CPU a call"
    assert sorted(notes.read_text().split()) == ["2", "2", "5", "5"]


def test_a_failing_side_is_an_error_with_its_output() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)bad ended with 1.*out of paper"):
        measure_cpu_seconds(_make_side("bad", "-c", "raise SystemExit('out of paper')"), None)


def test_a_peer_that_fails_or_is_not_there_has_a_reason_in_place_of_a_number() -> None:
    broken = Side(name="broken", environment=HERE, arguments=("-c", "raise SystemExit('no ink')"), peer=True)
    absent = Side(name="absent", environment="cannot be installed: no wheel", arguments=(), peer=True)
    row = Row(
        title="peers", sides=[_make_side("ours", "-c", "print(3)"), broken, absent], unit="pages", exact=True
    )
    lines = list(render_table(measure(row, rounds=1)))
    assert lines[2].endswith("broken  no figure: no ink")
    assert lines[3].endswith("absent  no figure: cannot be installed: no wheel")


def test_a_base_that_fails_is_an_error_with_its_reason() -> None:
    broken = Side(name="broken", environment=HERE, arguments=("-c", "raise SystemExit('no ink')"), peer=True)
    row = Row(title="peers", sides=[broken, _make_side("ours", "-c", "pass")])
    with pytest.raises(RuntimeError, match="broken, the base of the ratios, failed: no ink"):
        measure(row, rounds=1)


def test_a_program_that_measures_itself_is_held_to_a_figure_and_a_ratio() -> None:
    sides = [
        Side(name=name, environment=HERE, arguments=("-S", "-c", f"print({figure})"), at_most=ratio, limit=limit)
        for name, figure, ratio, limit in [
            ("base", 2, None, None), ("little", 8.9, None, 9.0), ("much", 9.5, None, 9.0),
            ("sum", 6.4, 3.0, 0.4), ("over", 6.5, 3.0, 0.4),
        ]
    ]  # fmt: skip
    lines = list(render_table(measure(Row(title="told", sides=sides, unit="pages"), rounds=1)))
    ends = ["within 9.0", "OVER 9.0 by 0.50", "within 3.0x + 0.4", "OVER 3.0x + 0.4 by 0.10"]
    assert [line.rpartition("  ")[2] for line in lines[2:]] == ends


def test_each_side_runs_in_its_own_home_without_settings_of_the_developer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("LLMCORE_PROFILE", "prod")
    code = """
import os
assert os.path.samefile(os.environ["HOME"], os.getcwd()) and os.listdir() == []
assert not {"PYTHONDONTWRITEBYTECODE", "LLMCORE_PROFILE"} & set(os.environ)
"""
    assert measure_cpu_seconds(_make_side("home", "-c", code), None) > 0


def test_the_upstream_answers_every_request_of_a_connection() -> None:
    from http.client import HTTPConnection

    with serve() as address:
        connection = HTTPConnection(address.split("/")[2])
        for length in (1, 100_000):
            connection.request("POST", "/v1/chat/completions", body=b"x" * length)
            assert connection.getresponse().read() == BODY
        connection.close()


def test_a_row_that_does_not_exist_is_refused_with_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["flying"])
    said = capsys.readouterr().err
    assert all(name in said for name in ("flying", *list_rows()))


def test_a_stream_of_the_upstream_has_as_many_chunks_as_its_request_says() -> None:
    with serve() as address, OpenAI(base_url=address, api_key="sk-test") as client:
        stream = client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "Stream 3 words"}], stream=True
        )
        deltas = [(chunk.choices[0].delta.content, chunk.choices[0].finish_reason) for chunk in stream]
    assert deltas == [(" rain", None)] * 3 + [(None, "stop")]


def test_the_figures_of_the_readme_are_in_the_results() -> None:
    readme, results = ((ROOT / name).read_text() for name in ("README.md", "benchmarks/results.md"))
    table = readme.partition("## Why")[2].partition("\n## ")[0]
    figures = re.findall(r"(?:\d+/\d+ of|\d+(?:\.\d+)? times|\d+ request)\b", table)
    assert len(figures) >= 5
    recorded = re.findall(r"^\| ([^|]+?) \|", results, re.MULTILINE)
    assert [figure for figure in figures if figure not in recorded] == []
