"""The page in Chromium: the same figures, no fault for axe-core, no request elsewhere, the keyboard alone, and print."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

import llmcore
from llmcore_dashboard import create_app, render_file
from tests.kits.usage_rows import add_rows, make_rows

CHROMIUM: Final = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
AXE: Final = os.environ.get("LLMCORE_AXE", "")
PICTURES: Final = os.environ.get("LLMCORE_PICTURES")
"""A folder for pictures of the page in four sizes and both schemes."""
WIDTHS: Final = (360, 768, 1024, 1440)
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
NOW: Final = time.time()
LONG: Final = "a-model-with-a-very-long-name-" * 6

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"),
]


class Ledgers(NamedTuple):
    """The page of each kind of ledger, by name."""

    cores: dict[str, llmcore.Core]
    urls: dict[str, str]


def fill(name: str, core: llmcore.Core) -> None:
    models = ["gpt-5.6-luna", "gpt-6-sol", "claude-opus-5", "mistral-large"]
    if name == "team":
        add_rows(core, make_rows(3000, NOW, days=45, models=models))
    elif name == "one row":
        add_rows(core, [{"at": NOW, "call": "c", "attempt": 1, "state": "done", "kind": "llm", "provider": "echo", "model": "a", "cost": 487_500_000}])  # fmt: skip
    elif name == "40 models and long names":
        add_rows(
            core, make_rows(800, NOW, days=80, models=[LONG, *(f"model-{number}" for number in range(40))])
        )
        add_rows(core, [{**row, "user": LONG} for row in make_rows(5, NOW, days=1)])
    elif name == "unknown prices":
        add_rows(
            core, [{**row, "cost": None} for row in make_rows(50, NOW, days=9) if row["state"] == "done"]
        )


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledgers]:
    cores, urls, servers = {}, {}, []
    for name in ("team", "empty", "one row", "40 models and long names", "unknown prices"):
        folder = tmp_path_factory.mktemp("browser")
        budgets = [{"limit": "40 USD", "per": "month"}, {"limit": "0.50 USD", "per": "day", "user": "ann"}]
        core = llmcore.load(
            {"llm": {"provider": "echo"}, "ledger": {"path": str(folder / "l.sqlite3")}, "budgets": budgets}
        )
        fill(name, core)
        listener, token = socket.create_server(("127.0.0.1", 0)), secrets.token_urlsafe(8)
        config = uvicorn.Config(create_app(core, token), ws="none", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        servers.append((server, thread, listener))
        cores[name], urls[name] = core, f"http://127.0.0.1:{listener.getsockname()[1]}/{token}/"
    yield Ledgers(cores, urls)
    for server, _, _ in servers:
        server.should_exit = True
    for _, thread, listener in servers:
        thread.join(60)
        listener.close()
    for core in cores.values():
        core.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=100_000)
        yield browser
        browser.close()


class Watched(NamedTuple):
    page: Page
    messages: list[str]
    """What the console shows, and errors of scripts."""
    requests: list[str]


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    yield Watched(page, messages, requests)
    context.close()


def read_amounts(page: Page, table: str, column: int) -> list[Decimal]:
    values: list[str] = page.evaluate(
        """([table, column]) => [...document.querySelectorAll(`[aria-label="${table}"] tbody tr`)]
            .map((row) => row.children[column].querySelector("data")?.value ?? "0")""",
        [table, column],
    )
    return [Decimal(value) for value in values]


def test_the_figures_are_those_of_the_library(ledgers: Ledgers, watched: Watched) -> None:
    page, usage = watched.page, ledgers.cores["team"].usage
    page.goto(f"{ledgers.urls['team']}?range=90d")
    rows = usage.by("model", since="100d")
    assert read_amounts(page, "By model", 1) == sorted((row.cost for row in rows), reverse=True)
    assert sum(read_amounts(page, "Cost a day, by model", 1)) == usage.sum(rows).cost
    assert sum(read_amounts(page, "Requests a day", 3)) == usage.sum(rows).cached
    assert (
        page.locator("dd").nth(3).locator("data").first.get_attribute("value") == f"{usage.sum(rows).saved:f}"
    )
    # A link of a table shows its calls alone, at an address of its own.
    page.get_by_role("link", name="openai:gpt-6-sol").first.click()
    page.wait_for_url("**model=openai%3Agpt-6-sol*")
    (row,) = usage.by("total", since="100d", model="openai:gpt-6-sol")
    assert sum(read_amounts(page, "By user", 1)) == row.cost
    page.locator("select[name=user]").select_option("ann")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**user=ann*")
    (row,) = usage.by("total", since="100d", model="openai:gpt-6-sol", user="ann")
    assert sum(read_amounts(page, "By model", 1)) == row.cost
    page.get_by_label("Remove the filter user").click()
    page.wait_for_url("**model=openai%3Agpt-6-sol")


def test_the_page_makes_no_other_request_and_renews_its_figures(ledgers: Ledgers, watched: Watched) -> None:
    page, url = watched.page, ledgers.urls["one row"]
    page.clock.install()
    page.goto(url)
    today = page.locator("dd").first.locator("data").first
    assert today.get_attribute("value") == "0.4875"
    page.get_by_text("Table").first.click()
    add_rows(ledgers.cores["one row"], [{"at": time.time(), "call": "d", "attempt": 1, "state": "done", "kind": "llm", "provider": "echo", "model": "a", "cost": 12_500_000}])  # fmt: skip
    page.locator("h1").click()
    page.evaluate("document.activeElement.blur()")
    page.clock.run_for(10_500)
    expect(today).to_have_attribute("value", "0.5", timeout=60_000)
    assert page.locator("details[open]").count() == 1, "an open table stays open"
    assert watched.messages == []
    assert {each.partition("?")[0] for each in watched.requests} <= {url, "data:,"}


@pytest.mark.skipif(not AXE, reason="axe-core is not there: make axe")
@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "widths"), [("light", (360, 1440)), ("dark", (1440, 360))])
def test_axe_finds_nothing(
    ledgers: Ledgers, browser: Browser, scheme: Literal["light", "dark"], widths: tuple[int, ...]
) -> None:
    """The long form, `make pictures`, tries each page at both widths."""
    script = Path(AXE).read_text(encoding="utf-8")
    faults = []
    for name, url in ledgers.urls.items():
        for width in widths if PICTURES else widths[:1]:
            with browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
            ) as context:
                page = context.new_page()
                page.set_default_timeout(60_000)
                page.goto(f"{url}?range={'90d' if PICTURES else '7d'}")
                page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
                page.evaluate(script)
                found = page.evaluate("axe.run().then((result) => result.violations)")
                faults += [
                    f"{name}, {width}: {each['id']} {each['nodes'][0]['html'][:150]} {each['nodes'][0]['failureSummary']}"
                    for each in found
                ]
                wide = page.evaluate("document.documentElement.scrollWidth")
                if wide > width:
                    faults.append(f"{name}, {width}: the page is {wide} wide")
    assert faults == []


def test_the_keyboard_reaches_everything(ledgers: Ledgers, watched: Watched) -> None:
    page = watched.page
    page.goto(ledgers.urls["team"])
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        where = page.evaluate(
            """() => { const at = document.activeElement, style = getComputedStyle(at);
                return [at.tagName, at.textContent.trim().slice(0, 20) || at.name || '', style.outlineStyle]; }"""
        )
        reached.append(where)
        if where[0] == "BODY":
            break
    assert all(outline != "none" for tag, _, outline in reached if tag != "BODY"), reached
    names = [name for _, name, _ in reached]
    assert {"Today", "7 days", "Apply", "Pause updates", "Table"} <= {*names}
    assert {tag for tag, _, _ in reached} >= {"A", "SELECT", "BUTTON", "SUMMARY", "DIV"}
    page.get_by_role("link", name="7 days").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**range=7d")
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#cost-table[open]").count() == 1


def test_paper_shows_the_tables_without_controls(ledgers: Ledgers, watched: Watched) -> None:
    page = watched.page
    page.goto(ledgers.urls["team"])
    page.emulate_media(media="print")
    assert not page.locator(".ranges").is_visible()
    assert not page.locator("form").is_visible()
    assert page.locator("#cost-table table").is_visible()
    assert page.pdf().startswith(b"%PDF")


def test_the_file_works_without_a_server(ledgers: Ledgers, watched: Watched, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_file(ledgers.cores["team"]), encoding="utf-8")
    watched.page.goto(path.as_uri())
    watched.page.get_by_text("Table").first.click()
    assert watched.page.locator("#cost-table tbody tr").count() == 30
    assert watched.messages == []
    assert set(watched.requests) <= {path.as_uri(), "data:,"}


@pytest.mark.slow
def test_pictures(ledgers: Ledgers, browser: Browser, tmp_path: Path) -> None:
    """Make pictures of the page in all sizes and both schemes, into the folder LLMCORE_PICTURES."""
    folder = Path(PICTURES) if PICTURES else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    names = ledgers.urls if PICTURES else ["one row"]
    for name in names:
        for width in WIDTHS if PICTURES else WIDTHS[:1]:
            for scheme in SCHEMES:
                size: Any = {"width": width, "height": 900}
                with browser.new_context(viewport=size, color_scheme=scheme) as context:
                    page = context.new_page()
                    page.goto(ledgers.urls[name], timeout=100_000)
                    path = folder / f"{name.replace(' ', '-')}-{width}-{scheme}.png"
                    page.screenshot(path=path, full_page=True)
                    if path.name == "team-1024-light.png":  # for the guide: the first screens
                        clip: Any = {"x": 0, "y": 0, "width": width, "height": 1500}
                        page.screenshot(path=folder / "guide.png", full_page=True, clip=clip)
    assert list(folder.glob("*.png"))
