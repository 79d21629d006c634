"""The site as the generator builds it.

The API reference has every public name, and every field with its type and docstring. In Chromium, search finds them, and
the picture of the architecture is legible on a phone.
"""

from __future__ import annotations

import functools
import http.server
import importlib
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import expect, sync_playwright

import llmcore
import llmcore_testing
from llmcore import contracts
from scripts import stage_docs

CHROMIUM: Final = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PAGES: Final = ("index", "architecture", *(f"reference/{name}" for name in ("core", "llm", "types", "voice")))
"""The pages that are built: the whole site takes several times as long."""
INTERNAL: Final = ("make_sender", "measure", "open_run", "set_engines", "set_run_budget")
"""Methods that only llmcore itself calls."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build PAGES, and return their folder."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    stage_docs.main(folder)
    for page in (folder / "pages").rglob("*.md"):
        if str(page.relative_to(folder / "pages").with_suffix("")) not in PAGES:
            page.unlink()
    done = subprocess.run([Path(sys.executable).with_name("zensical"), "build"], cwd=folder, capture_output=True, text=True, timeout=500, check=False)  # fmt: skip
    assert (folder / "site/reference/types.html").exists(), done.stdout + done.stderr
    return folder / "site"


def list_fields(name: str) -> list[str]:
    """Return the public fields and properties of the class `llmcore.types.NAME`."""
    found = getattr(llmcore.types, name)
    if not isinstance(found, type):
        return []
    annotated = [
        field for field, text in getattr(found, "__annotations__", {}).items() if "ClassVar" not in str(text)
    ]
    properties = [each for each, value in vars(found).items() if isinstance(value, property)]
    return [each for each in [*annotated, *properties] if not each.startswith("_")]


def get_part(page: str, identifier: str) -> str | None:
    """Return the HTML from the heading of *identifier* to the next heading; None if the page has no such heading."""
    found = re.search(rf'<h\d id="{re.escape(identifier)}".*?(?=<h\d id=|\Z)', page, re.DOTALL)
    return None if found is None else found[0]


def find_fault(page: str, name: str, field: str) -> str | None:
    """Return what the reference lacks of a field; None if it has the type and the docstring."""
    part = get_part(page, f"llmcore.types.{name}.{field}")
    if part is None:
        return "not shown"
    signature = re.sub("<[^>]+>", "", part).partition(field)[2].partition(field)[2]
    is_typed = re.match(r"\s*:", signature) or "doc-label-property" in part
    return None if is_typed and "<p>" in part else "shown without its type or without a docstring"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_built_reference_is_complete(site: Path) -> None:
    pages = {path.stem: path.read_text() for path in (site / "reference").glob("*.html")}
    types = [name for name in llmcore.types.__all__ if "<p>" not in (get_part(pages["types"], f"llmcore.types.{name}") or "")]  # fmt: skip
    assert types == [], "types that are not shown, or without a docstring"
    faults = {f"{name}.{field}": find_fault(pages["types"], name, field) for name in llmcore.types.__all__ for field in list_fields(name)}  # fmt: skip
    assert {name: fault for name, fault in faults.items() if fault} == {}

    for name, page in [("LLMClient", "llm"), ("ChatOptions", "llm"), ("VoiceClient", "voice"), ("SpeechOptions", "voice")]:  # fmt: skip
        members = stage_docs.list_members(f"llmcore.{name}")
        assert [each for each in members if get_part(pages[page], f"llmcore.{name}.{each}") is None] == []
        assert [each for each in INTERNAL if get_part(pages[page], f"llmcore.{name}.{each}")] == []

    parts = ["llm", "cache", "storage", "voice", "usage", "keys"]
    assert re.findall(r'<h3 id="llmcore\.Core\.(\w+)"', pages["core"])[:6] == parts
    llm = re.sub("<[^>]+>", "", get_part(pages["core"], "llmcore.Core.llm") or "")
    assert re.search(r"llm\s*:\s*LLMClient", llm), "a part of the Core is shown as a method"

    shown = list(dict.fromkeys(re.findall(r'id="llmcore\.LLMClient\.(\w+)"', pages["llm"])))
    assert shown[:6] == ["chat", "achat", "stream", "astream", "send", "asend"]
    chat = re.sub("<[^>]+>", "", get_part(pages["llm"], "llmcore.LLMClient.chat") or "")
    assert "response_format: ResponseFormat[T] | None = None" in chat


def list_shown(name: str) -> set[str]:
    """Return the names that `::: NAME` puts on a page: the object, or what the module NAME exports."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        return {name.rpartition(".")[2]}
    return set(getattr(module, "__all__", ()))


def test_the_reference_covers_every_public_name() -> None:
    shown: set[str] = set()
    for _, names in stage_docs.REFERENCE.values():
        shown = shown.union(*map(list_shown, stage_docs.list_objects(names)))
    public = {*llmcore.__all__, *llmcore.types.__all__, *contracts.__all__, *llmcore_testing.__all__}
    assert sorted(public - shown - {"__version__", "errors", "types"}) == []


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the standard library
        """Write nothing."""


@pytest.fixture
def url(site: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(site))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join(60)
    server.server_close()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
def test_search_and_the_picture_work_in_a_browser(url: str) -> None:
    requests: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=100_000)
        page = browser.new_page(viewport={"width": 360, "height": 800})
        page.set_default_timeout(60_000)
        page.on("request", lambda request: requests.append(request.url))

        page.goto(f"{url}architecture.html")
        picture = page.get_by_role("img", name="An application calls a Core")
        expect(picture).to_be_visible(timeout=60_000)
        expect(picture).to_have_js_property("complete", value=True, timeout=60_000)
        expect(picture).to_have_js_property("currentSrc", f"{url}architecture-narrow.svg", timeout=60_000)
        # The picture is drawn 340 pixels wide, with text of 12 pixels and more.
        assert picture.evaluate("image => image.clientWidth") > 0.9 * 340
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.set_viewport_size({"width": 1440, "height": 800})
        expect(picture).to_have_js_property("currentSrc", f"{url}architecture.svg", timeout=60_000)

        page.get_by_role("button", name="Search").first.click()
        page.get_by_role("combobox", name="Search").fill("cache_refresh")
        page.locator("a[href*='#llmcore.ChatOptions.cache_refresh']").first.click()
        expect(page.get_by_role("heading", name="cache_refresh").first).to_be_visible(timeout=60_000)
        browser.close()
    assert [address for address in requests if not address.startswith(url)] == []
