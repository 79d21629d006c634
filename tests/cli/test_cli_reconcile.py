"""`llmcore usage reconcile`: what a person reads, what a script reads, and the errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore_testing.simulator import Charge, Fault, Simulator
from tests.kits.bills import make_books
from tests.kits.cli import CommandLine
from tests.kits.usage_rows import add_rows

_ADMIN = {"OPENAI_ADMIN_KEY": "sk-admin-1", "ANTHROPIC_ADMIN_KEY": "sk-ant-admin-1"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def get_midnight() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def billed(tmp_path: Path, upstream: Simulator) -> CommandLine:
    """A ledger with calls of both vendors, four to two days ago, and their bills."""
    upstream.reset()
    cli = CommandLine(tmp_path)
    (cli.folder / "llmcore.toml").write_text(
        '[llm]\nprovider = "openai"\nmodel = "model-b"\n[ledger]\npath = "./ledger.sqlite3"\n'
        f'[openai_bill]\nbase_url = "{upstream.base_url}"\napi_key_ids = ["key_1"]\n'
        f'[anthropic_bill]\nbase_url = "{upstream.url}"\napi_key_ids = ["key_1"]\n'
    )
    start = (get_midnight() - timedelta(days=5)).timestamp()
    with llmcore.load(str(cli.folder / "llmcore.toml")) as core:
        books = make_books(200, start, cancelled=0.05, lost=0.05, others=0.1)
        add_rows(core, books.rows)
    upstream.bill(books.charges)
    upstream.bill([Charge(at=start + 1, costs={"Web Search Usage": Decimal("0.125")})])
    return cli


def read(cli: CommandLine, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = cli("usage", "reconcile", *arguments, "--json", **_ADMIN)
    assert done.returncode == code, done.stderr
    (found,) = json.loads(done.stdout, parse_float=Decimal)["vendors"]
    assert sum(Decimal(cause["amount"]) for cause in found["causes"]) == Decimal(found["difference"])
    return dict(found)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_the_terminal(billed: CommandLine, width: int) -> None:
    for by in ("day", "model", "key"):
        done = billed("usage", "reconcile", "--by", by, COLUMNS=str(width), **_ADMIN)
        assert done.returncode == 0, done.stderr
        assert max(map(len, done.stdout.splitlines())) <= width
        head, causes, parts = done.stdout.split("\n\n")
        assert head.splitlines()[0].startswith("openai, 20")
        assert "cancelled" in causes
        assert causes.splitlines()[-1].split()[-1] == "difference"
        assert parts.splitlines()[-1].startswith("total")


def test_json_has_every_digit_and_the_table_the_same_amounts(billed: CommandLine) -> None:
    found = read(billed)
    assert found["reconciled"] is True
    assert found["unexplained"] == "0"
    assert {cause["cause"] for cause in found["causes"]} >= {"other_keys", "cancelled", "lost", "fees"}
    assert sum(Decimal(row["billed"]) for row in found["rows"]) == Decimal(found["billed"])
    assert sum(Decimal(each["billed"]) for each in found["keys"]) == Decimal(found["billed"])
    table = billed("usage", "reconcile", "openai", **_ADMIN).stdout
    for cause in found["causes"]:
        if abs(Decimal(cause["amount"])) > Decimal("0.001"):
            assert f"{Decimal(cause['amount']):+,.4f}" in table


def test_a_saved_report_is_compared_again_without_a_key(billed: CommandLine, upstream: Simulator) -> None:
    first = billed("usage", "reconcile", "--save", "bill.json", "--json", **_ADMIN)
    assert "saved" in first.stderr
    requests = upstream.counts["requests"]
    again = billed("usage", "reconcile", "--from", "bill.json", "--json")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == first.stdout
    assert upstream.counts["requests"] == requests


def test_pages_of_the_vendor_are_read_from_files(billed: CommandLine) -> None:
    expected = read(billed, "--save", "bill.json")
    saved = json.loads((billed.folder / "bill.json").read_text(), parse_float=str)
    names = []
    for number, page in enumerate(saved["documents"]):
        names += ["--from", f"{number}.json"]
        text = json.dumps(page)
        (billed.folder / f"{number}.json").write_text(text)
    found = read(billed, "openai", *names)
    assert found["causes"] == expected["causes"]
    one = read(billed, "openai", *names, "--since", expected["since"], "--until", expected["until"])
    assert one == found


def test_what_is_unexplained_fails_beyond_the_tolerance(billed: CommandLine, upstream: Simulator) -> None:
    with llmcore.load(str(billed.folder / "llmcore.toml")) as core:
        at = (get_midnight() - timedelta(days=4, hours=12)).timestamp()
        add_rows(core, [{"at": at, "call": "x", "attempt": 1, "state": "done", "kind": "llm", "provider": "openai",
                         "model": "model-c", "cost": 40_000_000, "input_tokens": 10}])  # fmt: skip
    found = read(billed, code=1)
    assert (found["unexplained"], found["reconciled"]) == ("0.04", False)
    done = billed("usage", "reconcile", **_ADMIN)
    assert "error[LC612]: 0.0400 USD between the ledger and the bill of openai are unexplained" in done.stderr
    assert "booked, but not billed: model-c" in done.stdout
    assert read(billed, "--tolerance", "0.04")["reconciled"] is True
    assert read(billed, "--tolerance", "50%")["reconciled"] is True
    upstream.reset()
    done = billed("usage", "reconcile", **_ADMIN)
    assert done.returncode == 1
    assert "the bill of openai is empty: the admin key may belong to another organisation" in done.stderr


def test_a_month_is_that_of_the_bill(billed: CommandLine) -> None:
    month = (get_midnight() - timedelta(days=5)).strftime("%Y-%m")
    found = read(billed, "openai", "--month", month)
    assert found["since"] == f"{month}-01"


def test_both_vendors_are_compared_one_after_another(billed: CommandLine) -> None:
    start = (get_midnight() - timedelta(days=3)).timestamp()
    books = make_books(50, start, days=1, provider="anthropic", others=0, cancelled=0, lost=0)
    with llmcore.load(str(billed.folder / "llmcore.toml")) as core:
        add_rows(core, books.rows)
    done = billed("usage", "reconcile", "--json", **_ADMIN)
    assert [each["provider"] for each in json.loads(done.stdout)["vendors"]] == ["anthropic", "openai"]
    done = billed("usage", "reconcile", "--save", "bill.json", **_ADMIN)
    assert done.returncode == 2
    assert "the reports are those of one vendor, but the ledger has several" in done.stderr


def test_days_without_calls_say_so(billed: CommandLine, upstream: Simulator) -> None:
    period = ("--since", "2020-01-01", "--until", "2020-01-03")
    done = billed("usage", "reconcile", "openai", *period, **_ADMIN)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "openai, 2020-01-01 to 2020-01-02 UTC"
    assert done.stdout.splitlines()[-1] == "neither the ledger nor the bill has anything on these days"
    at = datetime(2020, 1, 1, 12, tzinfo=UTC).timestamp()
    upstream.bill([Charge(at=at, model="model-b", tokens={"input": 10}, costs={"input": Decimal(1)})])
    done = billed("usage", "reconcile", "openai", *period, **_ADMIN)
    assert "your keys, but not in this ledger: model-b" in done.stdout
    assert "the ledger has no calls to openai on these days" in done.stderr


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_a_missing_or_refused_admin_key_is_explained(billed: CommandLine, vendor: str) -> None:
    variable = f"{vendor.upper()}_ADMIN_KEY"
    done = billed("usage", "reconcile", vendor)
    assert done.returncode == 4
    assert f"no admin key for the bill of `{vendor}`: {variable} is not set" in done.stderr
    assert f"fix: export {variable}=sk-" in done.stderr
    done = billed("usage", "reconcile", vendor, **{variable: "sk-proj-0123456789abcdef"})
    assert done.returncode == 4
    assert f"the admin key from {variable} was refused" in done.stderr
    assert "an admin key of the organisation can" in done.stderr
    assert "0123456789abcdef" not in done.stderr


def test_a_temporary_failure_of_the_reports_is_retried(billed: CommandLine, upstream: Simulator) -> None:
    upstream.fail(Fault.status(429, retry_after=0), times=2)
    assert read(billed, "openai")["reconciled"] is True


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["echo"], 6, "the llm provider `echo` reads no bills"),
        (["opnai"], 6, "openai"),
        (["openai", "--tolerance", "much"], 2, "--tolerance must be an amount or a share of the bill, got 'much'"),
        (["openai", "--from", "none.json"], 2, "the file none.json cannot be read"),
        (["openai", "--from", "llmcore.toml"], 2, "is not a report of a vendor: it is not JSON"),
        (["openai", "--from", "a", "--save", "b"], 2, "--from and --save exclude each other"),
        (["openai", "--since", "2026-10-02", "--until", "2026-10-02"], 2, "the period has no day"),
        (["--since", "2001-01-01", "--until", "2001-02-01"], 2, "the ledger has no calls to a vendor whose bill can be read"),
    ],
)  # fmt: skip
def test_a_mistake_is_explained(billed: CommandLine, arguments: list[str], code: int, text: str) -> None:
    done = billed("usage", "reconcile", *arguments, **_ADMIN)
    assert text in done.stderr
    assert done.returncode == code
