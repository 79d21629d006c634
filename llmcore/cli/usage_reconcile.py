"""`llmcore usage reconcile`: compare the ledger with the bill of a vendor."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from llmcore.atomic_write import write_atomically
from llmcore.calls.bills import find_billed_providers
from llmcore.cli.command_errors import UsageError
from llmcore.cli.command_helpers import make_read_error, open_core
from llmcore.cli.show import note, print_json
from llmcore.cli.usage_bill import print_reconciliation, to_document
from llmcore.errors import LedgerError, LLMCoreError
from llmcore.support.errors import raise_unchained

if TYPE_CHECKING:
    from llmcore.core import Core
    from llmcore.ledger.reconciliation import Reconciliation

__all__ = ["configure_reconcile", "reconcile"]

_DAYS: Final = 7
"""The number of days that are compared without `--since`."""
_EPILOG: Final = """The admin key is read from OPENAI_ADMIN_KEY or ANTHROPIC_ADMIN_KEY, or from admin_key in
[openai_bill] or [anthropic_bill]. All days are in UTC, as on the bill.

examples:
  llmcore usage reconcile                          the last 7 days, every vendor in the ledger
  llmcore usage reconcile openai --month last-month --by model
  llmcore usage reconcile openai --save bill.json  keep the vendor's reports
  llmcore usage reconcile openai --from bill.json  compare again, without a key"""


class _UnexplainedBill(LLMCoreError):
    """More than the tolerance is booked but not billed, or billed without usage."""

    code = "LC612"


class _Reports(NamedTuple):
    """The reports of a vendor, and their period."""

    documents: Sequence[Any]
    read_at: float
    since: date | None
    until: date | None


def configure_reconcile(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `usage reconcile`."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "provider", metavar="PROVIDER", nargs="?", help="openai or anthropic; default: all in the ledger"
    )
    parser.add_argument(
        "--by", choices=("day", "model", "key"), default=None, help="also show each day, model or API key of the bill"
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="files", metavar="FILE", action="append", default=None,
        help="read the vendor's reports from FILE, not from the vendor; can be repeated",
    )  # fmt: skip
    parser.add_argument("--save", metavar="FILE", help="write the vendor's reports to FILE")
    parser.add_argument(
        "--tolerance", metavar="USD", default="0.01",
        help="exit with 1 if more than this is unexplained: USD, or a share of the bill such as 1%%; default: 0.01",
    )  # fmt: skip


def reconcile(args: argparse.Namespace, period: tuple[date | None, date | None]) -> int:
    """Compare the ledger with the bill of each vendor, for the UTC days of *period*. Print the causes of the differences.

    Raises:
        UnexplainedBill: More than the tolerance is unexplained.
        LedgerError: The ledger has no calls to a vendor whose bill can be read.
    """
    if args.files and args.save:
        raise UsageError(
            "--from and --save exclude each other", where="--save", fix="llmcore usage reconcile --save FILE"
        )
    _parse_tolerance(args.tolerance, Decimal(0))
    with open_core(args) as core:
        providers = _find_providers(core, args, period)
        if len(providers) > 1 and (args.files or args.save):
            raise UsageError(
                "the reports are those of one vendor, but the ledger has several",
                where="PROVIDER",
                expected=" or ".join(providers),
                fix=f"llmcore usage reconcile {next(iter(providers))} --{'from' if args.files else 'save'} FILE",
            )
        results = {name: _compare(core, args, name, names, period) for name, names in providers.items()}
    rests = [_find_rest(name, result, args.tolerance) for name, result in results.items()]
    if args.json:
        documents = [
            to_document(name, result, is_reconciled=rest is None)
            for (name, result), rest in zip(results.items(), rests, strict=True)
        ]
        print_json(vendors=documents)
    else:
        for number, (name, result) in enumerate(results.items()):
            print_reconciliation(name, result, args, core.settings.format_set_line, is_first=not number)
    failure = next((rest for rest in rests if rest is not None), None)
    if failure is not None:
        raise failure
    return 0


def _parse_tolerance(text: str, billed: Decimal) -> Decimal:
    """Return the tolerance in USD: *text* is an amount, or a share of *billed* such as "1%".

    Raises:
        UsageError: *text* is neither.
    """
    number = text.strip().removesuffix("USD").removeprefix("$").strip()
    try:
        amount = Decimal(number.removesuffix("%"))
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise_unchained(
            UsageError(
                f"--tolerance must be an amount or a share of the bill, got {text!r}",
                where="--tolerance",
                expected='USD such as "0.05", or "1%"',
                fix="llmcore usage reconcile --tolerance 0.05",
            )
        )
    return abs(billed) * amount / 100 if number.endswith("%") else amount


def _find_providers(
    core: Core, args: argparse.Namespace, period: tuple[date | None, date | None]
) -> dict[str, list[str]]:
    """Return the providers whose bills are compared: provider -> the names that the ledger has for the provider."""
    since = period[0] or (None if args.files else _get_today() - timedelta(days=_DAYS - 1))
    names = [row.name for row in core.usage.by("provider", since=since, until=period[1], zone="UTC")]
    if args.provider is not None:
        core.bill_reader(args.provider)  # raises an error for a provider without bills
        used = core.settings.list_instances("llm").get(args.provider, args.provider)
        found = find_billed_providers(core.settings, core.catalogue, [*names, used])
        return {used: list(dict.fromkeys(found[used]))}
    found = find_billed_providers(core.settings, core.catalogue, names)
    if not found:
        raise LedgerError(
            "the ledger has no calls to a vendor whose bill can be read, in this period",
            where="PROVIDER",
            expected="a provider such as openai or anthropic, or an earlier --since",
            fix=core.settings.format_command("usage reconcile openai --since 30d"),
        )
    return found


def _compare(
    core: Core, args: argparse.Namespace, name: str, names: list[str], period: tuple[date | None, date | None]
) -> Reconciliation:
    reader = core.bill_reader(name)
    since, until = period
    if args.files:
        reports = _load(args.files)
    else:
        until = until or _get_today() + timedelta(days=1)
        since = since or until - timedelta(days=_DAYS)
        _check_period(since, until)
        pages = reader.fetch(since, until)
        reports = _Reports([_decode(page) for page in pages], time.time(), since, until)
        if args.save:
            _save(args.save, name, pages, reports)
    bill = reader.parse(reports.documents)
    since = since or reports.since or min(bill.days, default=None)
    until = until or reports.until or (max(bill.days) + timedelta(days=1) if bill.days else None)
    if since is None or until is None:
        raise UsageError(
            "the reports cover no day", where="--from", fix=f"llmcore usage reconcile {name} --save FILE"
        )
    _check_period(since, until)
    if args.files:
        _check_covered(since, until, bill.days, name)
    return core.usage.reconcile(bill, names, since=since, until=until, read_at=reports.read_at)


def _check_period(since: date, until: date) -> None:
    if since >= until:
        raise UsageError(
            f"the period has no day: from {since} to before {until}",
            where="--since",
            fix="llmcore usage reconcile --since 7d",
        )


def _check_covered(since: date, until: date, days: frozenset[date], name: str) -> None:
    """Warn about days that the files lack, because requests of these days would appear as booked but not billed."""
    lacking = [
        day
        for day in (since + timedelta(days=number) for number in range((until - since).days))
        if day not in days
    ]
    if lacking:
        note(
            f"warning: the files have no report of {name} for {len(lacking)} of the days, such as {lacking[0]}"
        )


def _find_rest(name: str, result: Reconciliation, tolerance: str) -> _UnexplainedBill | None:
    """Return the error if more USD than *tolerance* are unexplained; otherwise None."""
    rest = result.unexplained
    if rest <= _parse_tolerance(tolerance, result.billed):
        return None
    notes = ["the lines `booked, but not billed` and `billed, without usage in the report` have no cause"]
    if not result.billed:
        notes.append(f"the bill of {name} is empty: the admin key may belong to another organisation")
    return _UnexplainedBill(
        f"{rest:.4f} USD between the ledger and the bill of {name} are unexplained",
        where="--tolerance",
        expected=f"at most {tolerance}",
        notes=notes,
        fix=f"llmcore usage reconcile {name} --since {result.since} --until {result.until} --by day",
    )


def _get_today() -> date:
    return datetime.now(UTC).date()


def _decode(text: bytes | str) -> Any:
    return json.loads(text, parse_float=Decimal)


def _load(paths: Sequence[str]) -> _Reports:
    """Return the reports in files: those that `--save` wrote, or pages as the vendor sent them.

    A file of `--save` contains the time at which the vendor was asked. For a page, this is the time of the last change
    of its file.
    """
    documents: list[Any] = []
    moments: list[float] = []
    days: list[date] = []
    for path in paths:
        try:
            data, moment = Path(path).read_bytes(), Path(path).stat().st_mtime
        except OSError as error:
            raise_unchained(make_read_error(path, error))
        found = _parse(data, path)
        if isinstance(found, dict) and {"documents", "read_at", "since", "until"} <= found.keys():
            documents += found["documents"]
            moments.append(float(found["read_at"]))
            days += [date.fromisoformat(found["since"]), date.fromisoformat(found["until"])]
        else:
            documents += found if isinstance(found, list) else [found]
            moments.append(moment)
    for each in documents:
        if not isinstance(each, dict) or not isinstance(each.get("data"), list):
            _reject(paths[0], 'a document has no list "data"')
    return _Reports(documents, min(moments), min(days, default=None), max(days, default=None))


def _parse(data: bytes, path: str) -> Any:
    try:
        return _decode(data)
    except (ValueError, RecursionError):
        _reject(path, "it is not JSON")


def _reject(path: str, why: str) -> NoReturn:
    raise_unchained(
        UsageError(
            f"the file {path} is not a report of a vendor: {why}",
            where="--from",
            expected="a file of --save, or pages of the vendor's cost and usage reports as JSON",
            fix="llmcore usage reconcile openai --save bill.json",
        )
    )


def _save(path: str, name: str, pages: Sequence[bytes], reports: _Reports) -> None:
    head = {
        "provider": name,
        "since": str(reports.since),
        "until": str(reports.until),
        "read_at": reports.read_at,
    }
    body = b",\n".join(pages)  # as the vendor sent them, so that no digit changes
    text = json.dumps(head).encode()[:-1] + b', "documents": [\n' + body + b"\n]}\n"
    write_atomically(Path(path), [text])
    note(f"saved {len(pages)} pages of the reports of {name} to {path}")
