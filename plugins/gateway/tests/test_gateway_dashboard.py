"""The dashboard of a gateway: everything without a key, with a key its own calls and nothing of others."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from llmcore_testing.simulator import Simulator
from tests.kits.gateway import Served, make_config, serving


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Served]:
    with Simulator() as upstream, serving(make_config(upstream, tmp_path)) as served:
        yield served


def basic(key: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(f'me:{key}'.encode()).decode()}"}


def test_without_a_key_the_page_shows_everything(gateway: Served) -> None:
    gateway.chat("One")
    answer = gateway.http.get("/dashboard?range=today")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "openai:gpt-4o-mini" in answer.text
    assert gateway.http.get("/dashboard", headers={"host": "evil.example"}).status_code == 403


def test_a_key_sees_its_own_calls_whatever_the_address_says(gateway: Served) -> None:
    _, ann = gateway.core.keys.create("ann", budget=Decimal(1), per="day")
    _, ben = gateway.core.keys.create("ben", budget=Decimal(2), per="day")
    gateway.chat("One", headers={"authorization": f"Bearer {ann}"})
    gateway.core.usage.by("total")
    for query in ("", "?user=ann", "?group=user", "?key=ann", "?range=today&user=ann&group=key"):
        for _ in range(2):
            answer = gateway.http.get(f"/dashboard{query}", headers=basic(ben))
            assert answer.status_code == 200
            assert "ann" not in answer.text.partition("<main>")[2].partition("</main>")[0]
    own = gateway.http.get("/dashboard?range=today", headers=basic(ann)).text
    assert "openai:gpt-4o-mini" in own
    assert "day user=ann" in own
    assert "day user=ben" not in own


def test_a_page_takes_a_request_from_the_rate_limit_of_the_key(gateway: Served) -> None:
    _, key = gateway.core.keys.create("ann", requests_per_minute=1)
    answers = [gateway.http.get("/dashboard", headers=basic(key)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert int(answers[1].headers["retry-after"]) >= 1


def test_a_browser_asks_for_the_key(gateway: Served) -> None:
    gateway.core.keys.create("ann")
    for headers in ({}, basic("sk-llmcore-wrong"), {"authorization": "Basic !"}):
        answer = gateway.http.get("/dashboard", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic realm=")
    _, key = gateway.core.keys.create("ben")
    assert gateway.http.get("/v1/models", headers=basic(key)).status_code == 401, (
        "only the page takes a password"
    )


def test_a_gateway_without_the_dashboard_says_what_to_install(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llmcore_dashboard", None)
    answer = gateway.http.get("/dashboard")
    assert answer.status_code == 404
    assert "needs llmcore-dashboard" in answer.json()["error"]["message"]
