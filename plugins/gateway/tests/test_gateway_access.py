"""Who may call: keys, names of the server, and pages of other origins. Each cause of a CVE of another gateway has a test."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from llmcore_testing.simulator import Simulator
from tests.kits.gateway import KEY, MODEL, Served, make_config, serving
from tests.kits.waiting import wait_until


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def gateway(upstream: Simulator, tmp_path: Path) -> Iterator[Served]:
    with serving(make_config(upstream, tmp_path)) as served:
        yield served


def make_headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_once_a_key_exists_every_request_needs_one(gateway: Served, upstream: Simulator) -> None:
    assert gateway.chat().status_code == 200
    _, key = gateway.core.keys.create("ann")
    for headers in (
        {},
        make_headers(key[:-1]),
        make_headers("-"),
        {"authorization": key},
        {"authorization": f"Basic {key}"},
    ):
        answer = gateway.chat("Hi", headers=headers)
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert upstream.counts["requests"] == 1
    for headers in (make_headers(key), {"authorization": f"bearer {key}"}, {"x-api-key": key}):
        assert gateway.chat("Hi", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/fast"),
        ("POST", "/v1/audio/speech"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/messages"),
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1/responses"),
    ],
)
def test_every_route_but_the_health_needs_a_key(gateway: Served, method: str, path: str) -> None:
    gateway.core.keys.create("ann")
    assert gateway.http.request(method, path, json={}).status_code == 401
    assert gateway.http.get("/health/live").status_code == 200
    assert gateway.http.get("/health/ready").status_code == 200


def test_a_revoked_key_is_refused(gateway: Served) -> None:
    _, key = gateway.core.keys.create("ann")
    assert gateway.chat(headers=make_headers(key)).status_code == 200
    gateway.core.keys.revoke("ann")
    wait_until(lambda: gateway.chat(headers=make_headers(key)).status_code == 401)
    assert gateway.chat().status_code == 401, "a gateway that had a key stays closed"


def test_the_name_of_the_key_is_the_user_whatever_the_body_says(gateway: Served, upstream: Simulator) -> None:
    _, key = gateway.core.keys.create("ann")
    gateway.chat(headers=make_headers(key), user="bob")
    assert [row.name for row in gateway.core.usage.by("user")] == ["ann"]
    assert upstream.requests[-1].body["user"] == "bob"


def test_the_budget_of_a_key_refuses_its_calls_alone(gateway: Served) -> None:
    _, poor = gateway.core.keys.create("ann", budget=Decimal("0.0000001"), per="day")
    _, rich = gateway.core.keys.create("bob")
    answer = gateway.chat("One", headers=make_headers(poor))
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "budget_exceeded")
    assert answer.json()["error"]["message"].endswith("(max_tokens= limits the answer), or the next period")
    assert gateway.chat("One", headers=make_headers(rich)).status_code == 200


def test_a_key_has_its_models_and_its_rate(gateway: Served) -> None:
    _, key = gateway.core.keys.create("ann", models=["fast"], requests_per_minute=3)
    assert gateway.chat(model="fast", headers=make_headers(key)).status_code == 200
    assert gateway.chat(model=MODEL, headers=make_headers(key)).status_code == 404
    listed = gateway.http.get("/v1/models", headers=make_headers(key)).json()["data"]
    assert [model["id"] for model in listed] == ["fast"]
    limited = gateway.chat(model="fast", headers=make_headers(key))
    assert limited.status_code == 429
    assert 0 < int(limited.headers["retry-after"]) <= 20


def test_speech_obeys_the_models_and_the_cache_of_a_key(upstream: Simulator, tmp_path: Path) -> None:
    voice = {"provider": "openai", "openai": {"base_url": upstream.base_url, "api_key": "sk-x"}}
    with serving(make_config(upstream, tmp_path, voice=voice), cache="per-key") as gateway:
        chats = gateway.core.keys.create("ann", models=["fast"])[1]
        speaks = gateway.core.keys.create("bob", models=["fast", "default"])[1]
        free = gateway.core.keys.create("eve")[1]
        body = {"model": "default", "voice": "alloy", "input": "Hello."}

        def speak(key: str, **fields: str) -> httpx2.Response:
            return gateway.http.post("/v1/audio/speech", json={**body, **fields}, headers=make_headers(key))

        refused = speak(chats)
        assert (refused.status_code, refused.json()["error"]["param"]) == (404, "model")
        assert upstream.counts["requests"] == 0
        assert speak(speaks, model="tts-1").status_code == 404
        answers = [speak(key) for key in (speaks, free)]
        assert [answer.headers["x-llmcore-cached"] for answer in answers] == ["false", "false"]


def test_tenants_may_have_caches_of_their_own(upstream: Simulator, tmp_path: Path) -> None:
    with serving(make_config(upstream, tmp_path), cache="per-key") as gateway:
        keys = [gateway.core.keys.create(name)[1] for name in ("ann", "bob")]
        cached = [
            gateway.chat(headers=make_headers(key)).headers["x-llmcore-cached"] for key in (*keys, *keys)
        ]
        assert cached == ["false", "false", "true", "true"]


def test_a_web_page_cannot_lead_its_name_here(gateway: Served) -> None:
    for host in ("evil.example", "evil.example:4000", "localhost.evil.example", "", "127.0.0.1.evil.example"):
        assert gateway.chat(headers={"host": host}).status_code == 403, host
    for host in ("localhost", "LOCALHOST:4000", "127.0.0.1", "[::1]:4000"):
        assert gateway.chat(headers={"host": host}).status_code == 200, host


def test_pages_of_other_origins_are_refused_unless_listed(upstream: Simulator, tmp_path: Path) -> None:
    page = "https://chat.example.com"
    with serving(make_config(upstream, tmp_path), origins=(page,)) as gateway:
        for origin in ("https://evil.example", "null", "https://chat.example.com.evil.example", ""):
            answer = gateway.chat(headers={"origin": origin})
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers
        assert gateway.chat(headers={"origin": page}).headers["access-control-allow-origin"] == page
        asked = {
            "origin": page,
            "access-control-request-method": "POST",
            "access-control-request-headers": "x-a",
        }
        preflight = gateway.http.options("/v1/chat/completions", headers=asked)
        assert (preflight.status_code, preflight.headers["access-control-allow-headers"]) == (204, "x-a")
        asked["origin"] = "https://evil.example"
        assert gateway.http.options("/v1/chat/completions", headers=asked).status_code == 403


def test_nothing_in_a_request_names_a_host_a_header_or_a_file(gateway: Served, upstream: Simulator) -> None:
    """CVE-2024-6587: `api_base` in the body sent the key of the gateway to any client."""
    with Simulator() as attacker:
        fields = dict.fromkeys(
            ("api_base", "base_url", "api_key", "organization", "extra_body_url", "proxy"), attacker.base_url
        )
        gateway.chat(**fields, extra_headers={"x-evil": "1"}, extra_body={"url": attacker.base_url})
        gateway.chat("Again", headers={"x-base-url": attacker.base_url, "x-forwarded-host": "evil.example"})
        assert attacker.counts["connections"] == 0
    for request in upstream.requests:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert "x-evil" not in request.headers
        assert "x-base-url" not in request.headers


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/../../metrics",
        "//v1/chat/completions",
        "/v1/chat/completions/",
        "/V1/chat/completions",
        "/v1/chat%2Fcompletions",
        "/health/live/../../v1/chat/completions",
        "/v1/models/{id}",
        "/admin",
        "/key/generate",
        "/v1/files",
        "/",
    ],
)
def test_a_path_is_compared_as_it_is(gateway: Served, path: str) -> None:
    """CVE-2026-48710 and -12773: a rebuilt path was authorised, another one was served; forgotten routes had no check."""
    gateway.core.keys.create("ann")
    for method in ("GET", "POST"):
        status = send_raw(
            gateway, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        )
        assert status in {401, 404, 405}, status


def test_a_route_has_one_method(gateway: Served) -> None:
    answer = gateway.http.get("/v1/chat/completions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert gateway.http.delete("/v1/models/fast").status_code == 405
    assert gateway.http.head("/health/live").status_code == 200


@pytest.mark.parametrize("name", ["host", "authorization", "x-api-key", "origin"])
def test_a_header_that_decides_is_there_once(gateway: Served, name: str) -> None:
    head = "GET /v1/models HTTP/1.1\r\n"
    host = "" if name == "host" else "Host: localhost\r\n"
    assert send_raw(gateway, f"{head}{host}{name}: localhost\r\n{name}: localhost\r\n\r\n") == 400


@pytest.mark.parametrize(
    "key",
    [
        "' OR 1=1 --",
        "llmcore-' OR 1=1 --",
        "\x00",
        "é" * 5000,
        "llmcore-00000000-" + "a" * 43,
        "%27%20OR%201=1",
    ],
)
def test_a_key_is_never_part_of_a_statement(gateway: Served, key: str) -> None:
    """CVE-2026-42208: the header was pasted into SQL, on the error path."""
    gateway.core.keys.create("ann")
    raw = f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n"
    assert send_raw(gateway, raw) in {400, 401}
    assert len(gateway.core.keys.list_keys()) == 1


def test_keys_that_begin_alike_are_different_keys(gateway: Served) -> None:
    """CVE-2026-35030: a cache of identities was keyed by the first twenty characters of the token."""
    _, key = gateway.core.keys.create("ann")
    assert gateway.chat(headers=make_headers(key)).status_code == 200
    assert gateway.chat(headers=make_headers(key[:40] + "x" * (len(key) - 40))).status_code == 401


def test_there_is_no_administration_over_http(gateway: Served) -> None:
    """CVE-2026-47101: a client that could create a key could also store routes with it."""
    _, key = gateway.core.keys.create("ann", models=["fast"])
    for path in ("/keys", "/key/update", "/user/update", "/v1/keys", "/config", "/mcp/test", "/llmcore/keys"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            assert (
                gateway.http.request(
                    method, path, headers=make_headers(key), json={"models": ["*"]}
                ).status_code
                == 404
            )
    assert gateway.core.keys.list_keys()[0].models == ("fast",)


def test_bodies_are_bounded(upstream: Simulator, tmp_path: Path) -> None:
    with serving(make_config(upstream, tmp_path), max_body=10_000) as gateway:
        assert gateway.chat("a" * 5_000).status_code == 200
        assert gateway.chat("a" * 10_001).status_code == 413
        answer = gateway.http.post("/v1/chat/completions", content=(b"a" * 1_000 for _ in range(11)))
        assert answer.status_code == 413
        zipped = gateway.http.post("/v1/chat/completions", content=b"x", headers={"content-encoding": "gzip"})
        assert zipped.status_code == 415


def test_slow_heads_and_bodies_are_ended(upstream: Simulator, tmp_path: Path) -> None:
    with serving(make_config(upstream, tmp_path), header_timeout=0.2, body_timeout=0.2) as gateway:
        for start in (b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost: local"):
            with connect(gateway) as client:
                client.sendall(start)
                assert client.recv(100) == b"", "the connection is closed"
        with connect(gateway) as client:
            client.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
            )
            assert client.recv(100).startswith(b"HTTP/1.1 408 ")
        assert gateway.chat().status_code == 200


def test_neither_key_nor_content_is_logged(gateway: Served, caplog: pytest.LogCaptureFixture) -> None:
    _, key = gateway.core.keys.create("ann")
    with caplog.at_level("DEBUG", logger="llmcore_gateway"):
        gateway.chat("a secret question", headers=make_headers(key))
        gateway.chat("a secret question", headers=make_headers(key + "x"))
        wait_until(lambda: caplog.text.count("/v1/chat/completions") == 2)
    assert '"user":"ann"' in caplog.text
    assert "secret" not in caplog.text
    assert key not in caplog.text
    assert KEY not in caplog.text


def connect(gateway: Served) -> socket.socket:
    port = int(gateway.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def send_raw(gateway: Served, head: str) -> int:
    """Send *head* as it is; return the status of the answer."""
    with connect(gateway) as client:
        client.sendall(head.encode("utf-8"))
        return int(client.recv(100).split()[1])
