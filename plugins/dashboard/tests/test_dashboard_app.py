"""The page over HTTP: who may see it, what it contains, and that its figures are those of `core.usage.by`."""

from __future__ import annotations

import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
import uvicorn

import llmcore
from llmcore_dashboard import create_app, render_file
from llmcore_dashboard.answer import answer_request
from llmcore_dashboard.view import ViewError, parse_view
from tests.kits.usage_rows import add_rows, make_rows

HOSTILE = '<script>alert("1")</script>&\u202e' + "x" * 300
NOW = time.time()


class Served(NamedTuple):
    core: llmcore.Core
    url: str
    http: httpx2.Client


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    ledger = str(tmp_path_factory.mktemp("dashboard") / "ledger.sqlite3")
    settings = {
        "llm": {"provider": "echo"},
        "ledger": {"path": ledger},
        "budgets": [{"limit": "50 USD", "per": "month"}, {"limit": "1 USD", "per": "day", "user": "ann"}],
    }
    token = secrets.token_urlsafe(8)
    with llmcore.load(settings) as core, socket.create_server(("127.0.0.1", 0)) as listener:
        add_rows(core, make_rows(400, NOW, days=20))
        add_rows(core, [{**row, "model": HOSTILE, "user": HOSTILE} for row in make_rows(3, NOW, days=1)])
        config = uvicorn.Config(create_app(core, token), ws="none", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/{token}/"
        with httpx2.Client(base_url=url, timeout=60) as http:
            yield Served(core, url, http)
        server.should_exit = True
        thread.join(60)


class Page(HTMLParser):
    """What a reader of the page finds in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[Any]]] = {}
        self._rows: list[list[Any]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "div" and found.get("role") == "region":
            self._rows = self.tables.setdefault(found["aria-label"] or "", [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in {"td", "th"} and self._rows:
            self._rows[-1].append([])
        elif tag == "data" and self._rows and self._rows[-1]:
            self._rows[-1][-1].append(Decimal(found["value"] or ""))


def get_page(served: Served, query: str = "") -> Page:
    answer = served.http.get(query)
    assert answer.status_code == 200, answer.text
    return Page(answer.text)


def test_only_the_whole_address_shows_the_page(served: Served) -> None:
    root = served.url[: served.url.rindex("/", 0, -1)]
    assert served.http.get("").status_code == 200
    for path in ("/", "/x/", served.url[len(root) : -1], f"{served.url[len(root) :]}x", "/favicon.ico"):
        assert served.http.get(f"{root}{path}").status_code == 404, path
    assert served.http.post("", content=b"x").status_code == 405
    assert served.http.head("").content == b""


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:80"},
        {"host": "127.0.0.1.evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
def test_pages_of_others_cannot_read_it(served: Served, headers: dict[str, str]) -> None:
    assert served.http.get("", headers=headers).status_code == 403


def test_the_page_loads_nothing_and_its_policy_forbids_it(served: Served) -> None:
    answer = served.http.get("")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    page = Page(answer.text)
    addresses = [
        value for _, found in page.tags for name, value in found.items() if name in {"src", "href", "action"}
    ]
    assert all(address and address.startswith(("?", "data:,")) for address in addresses)
    assert not [
        tag for tag, found in page.tags if "style" in found or any(name.startswith("on") for name in found)
    ]
    assert len(answer.content) < 200_000


def test_names_are_escaped(served: Served) -> None:
    text = served.http.get("").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;" in text
    assert "<script>alert" not in served.http.get("", params={"model": HOSTILE}).text
    assert served.http.get("", params={"<b>": "1"}).status_code == 400
    assert "<b>" not in served.http.get("", params={"<b>": "1"}).text


@pytest.mark.parametrize(
    "query",
    ["", "?range=7d", "?range=today&group=user", "?user=ann&group=tag", "?step=week&zone=Asia/Kathmandu"],
)
def test_the_figures_are_those_of_the_library(served: Served, query: str) -> None:
    view = parse_view(query.removeprefix("?"))
    page = get_page(served, query)
    zone = served.core.usage.zone(view.zone or None)
    days = {"today": 1, "7d": 7, "30d": 30}[view.range]
    from datetime import timedelta

    since = zone.find_start(zone.find_date(time.time()) - timedelta(days=days - 1))
    arguments: dict[str, Any] = {"since": since, "zone": view.zone or None, **dict(view.filters)}
    models = served.core.usage.by("model", **arguments)
    total = served.core.usage.sum(models)
    *rows, foot = page.tables["By model"][1:]
    assert [row[1][0] for row in rows] == sorted((row.cost for row in models), reverse=True)
    assert sum(row[1][0] for row in rows) == foot[1][0] == total.cost
    costs = next(rows for name, rows in page.tables.items() if name.startswith("Cost "))
    assert costs[-1][1] == [total.cost]
    assert sum((cell for row in costs[1:-1] for cell in row[1]), Decimal(0)) == total.cost
    assert sum((cell for row in costs[1:-1] for cell in row[3]), Decimal(0)) == total.saved
    if view.group != "tag":
        assert sum(cell for row in costs[1:-1] for column in row[5:] for cell in column) == total.cost
    requests = next(rows for name, rows in page.tables.items() if name.startswith("Requests "))
    assert requests[-1][1:4] == [[total.requests], [total.failures], [total.cached]]
    errors = page.tables.get("Errors", [[]])
    assert sum(row[2][0] for row in errors[1:]) == total.failures


def test_a_fragment_is_the_content_of_main(served: Served) -> None:
    whole, part = served.http.get("").text, served.http.get("", headers={"x-llmcore-fragment": "main"}).text
    inner = whole.partition("<main>")[2].partition("</main>")[0]
    clock = r"<time>[^<]+</time>|Pace: <data.*?</data>|<data[^>]+>[^<]+</data></td><td class=\"n w\">2"
    assert re.sub(clock, "", part) == re.sub(clock, "", inner)


@pytest.mark.parametrize(
    "query",
    [
        "?range=8d",
        "?group=x",
        "?zone=Mars",
        "?since=x",
        "?until=2026-01-01",
        "?x=1",
        "?range=7d&range=7d",
        f"?{'&' * 50}",
        "?since=0001-01-01",
        "?since=2001-01-01&step=month",
    ],
)
def test_a_wrong_address_is_explained(served: Served, query: str) -> None:
    answer = served.http.get(query)
    assert answer.status_code == 400
    assert "<h1>This address does not work</h1><p>" in answer.text


def test_the_file_is_the_page_without_script_and_links(served: Served) -> None:
    text = render_file(served.core, parse_view("range=7d"))
    page = Page(text)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "form", "a", "iframe", "img"}
    assert "default-src 'none'" in text
    figures = get_page(served, "?range=7d").tables
    assert page.tables["By model"] == figures["By model"]


def test_an_empty_ledger_and_one_row_have_a_page(tmp_path: Path) -> None:
    with llmcore.load({"llm": {"provider": "echo"}, "ledger": {"path": str(tmp_path / "l.sqlite3")}}) as core:
        assert "No calls in this range." in render_file(core)
        row = {"at": time.time(), "call": "c", "attempt": 1, "state": "done", "kind": "llm", "provider": "echo", "model": "a"}  # fmt: skip
        add_rows(core, [row])
        text = render_file(core, parse_view("range=7d"))
        assert "No request in this range has a known price." in text
        assert '<data value="1">1</data> request<' in text
        add_rows(core, [{**row, "cost": 487_500_000}])
        text = render_file(core, parse_view("range=7d"))
        assert "has a known price" not in text
        assert '<data value="0.4875" title="$0.4875">$0.488</data>' in text


def test_uncertain_and_unpriced_amounts_are_shown_as_such(served: Served) -> None:
    text = served.http.get("").text
    (total,) = served.core.usage.by("total")
    assert f'may have cost up to <data value="{total.uncertain:f}"' in text
    assert f'the price of <data value="{total.unpriced}">' in text
    assert "cancelled</span>: the caller cancelled it" in text or "LC40" in text


def test_a_user_with_the_name_of_the_remainder_has_its_own_column(tmp_path: Path) -> None:
    costs = {"a": 900, "b": 800, "others": 700, "d": 600, "e": 500, "f": 400, "g": 30, "h": 2}
    with llmcore.load({"llm": {"provider": "echo"}, "ledger": {"path": str(tmp_path / "l.sqlite3")}}) as core:
        add_rows(core, [{"at": time.time(), "call": user, "attempt": 1, "state": "done", "kind": "llm", "provider": "echo", "model": "a", "cost": cost * 10**9, "user": user} for user, cost in costs.items()])  # fmt: skip
        page = Page(render_file(core, parse_view("range=today&group=user")))
    foot = next(rows for name, rows in page.tables.items() if name.startswith("Cost "))[-1]
    assert foot[5:] == [[900], [800], [700], [600], [500], [400], [32]]


def test_the_log_says_why_there_are_no_figures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "ledger.sqlite3"
    path.write_text("not a database")
    with llmcore.load({"llm": {"provider": "echo"}, "ledger": {"path": str(path)}}) as core:
        answer = answer_request(core, "", {}, user="ann")
    assert answer.status == 503
    assert b"the log of the server says why" in answer.body
    assert str(path).encode() not in answer.body
    (record,) = [each for each in caplog.records if each.name == "llmcore_dashboard.answer"]
    assert (record.levelname, str(path) in record.getMessage()) == ("ERROR", True)


def test_a_filter_that_is_fixed_cannot_be_changed() -> None:
    assert dict(parse_view("user=ben&model=a", fixed={"user": "ann"}).filters) == {
        "user": "ann",
        "model": "a",
    }
    with pytest.raises(ViewError):
        parse_view("users=ben")
