"""How a test controls the simulator: hold and release, waiting, reset, and the same from another process."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from llmcore.errors import ConfigError
from llmcore_testing import Fault, Simulator

CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def call(upstream: Simulator, path: str = "/v1/chat/completions", body: str | None = CHAT) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection(upstream.url.removeprefix("http://"), timeout=30)) as connection:
        connection.request("POST" if body is not None else "GET", path, body, {"authorization": "Bearer k"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_requests_wait_at_the_gate_until_it_opens(upstream: Simulator) -> None:
    upstream.hold()
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(call, upstream) for _ in range(20)]
        assert len(upstream.wait_for_requests(20)) == 20
        assert upstream.in_flight == 20
        assert upstream.counts["chat"] == 0
        upstream.release()
        assert {future.result()[0] for future in calls} == {200}
    assert upstream.counts["chat"] == 20
    assert upstream.max_in_flight == 20


def test_a_request_that_is_cancelled_at_the_gate_is_counted_as_gone(upstream: Simulator) -> None:
    upstream.hold()
    with closing(http.client.HTTPConnection(upstream.url.removeprefix("http://"))) as connection:
        connection.request("POST", "/v1/chat/completions", CHAT, {"authorization": "Bearer k"})
        upstream.wait_for_requests(1)
    assert upstream.wait_for(lambda: upstream.counts["gone"] == 1)
    upstream.release()
    assert call(upstream)[0] == 200


def test_waiting_for_requests_that_do_not_come_says_how_many_came(upstream: Simulator) -> None:
    call(upstream)
    with pytest.raises(TimeoutError, match=r"waited 0.01 s for 2 requests; 1 arrived"):
        upstream.wait_for_requests(2, timeout_s=0.01)


def test_latency_lets_calls_overlap() -> None:
    with Simulator(latency_s=0.2) as upstream, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: call(upstream), range(4)))
        assert upstream.max_in_flight > 1


def test_reset_forgets_everything(upstream: Simulator) -> None:
    upstream.replies("Old.")
    upstream.fail(Fault.status(500), times=None)
    upstream.hold()
    upstream.reset()
    assert call(upstream)[1]["choices"][0]["message"]["content"].endswith("Hi")
    upstream.reset()
    assert upstream.requests == []
    assert not upstream.counts


def test_only_the_latest_requests_are_recorded() -> None:
    with Simulator(keep_requests=2) as upstream:
        for number in range(4):
            call(upstream, body=json.dumps({"number": number}))
        assert [request.body["number"] for request in upstream.requests] == [2, 3]
        assert upstream.counts["requests"] == 4


def test_another_process_can_script_it_and_read_its_requests(upstream: Simulator) -> None:
    fault = {"fault": "status", "status": 429, "retry_after": 1, "times": 2, "model": "m"}
    assert call(upstream, "/_simulator/fail", json.dumps(fault)) == (200, {"ok": True})
    assert call(upstream, "/_simulator/replies", '{"replies": ["Paris."]}') == (200, {"ok": True})
    assert [call(upstream)[0] for _ in range(2)] == [429, 429]
    assert call(upstream)[1]["choices"][0]["message"]["content"] == "Paris."
    counts = call(upstream, "/_simulator/counts", None)[1]
    assert counts["counts"]["status_429"] == 2
    assert counts["in_flight"] == 0
    requests = call(upstream, "/_simulator/requests", None)[1]["requests"]
    assert [request["body"]["model"] for request in requests] == ["m"] * 3
    assert requests[0]["headers"]["authorization"] == "…"
    assert call(upstream, "/_simulator/reset", "")[0] == 200
    assert upstream.requests == []


def test_another_process_holds_and_releases(upstream: Simulator) -> None:
    call(upstream, "/_simulator/hold", "")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(call, upstream)
        upstream.wait_for_requests(1)
        assert not waiting.done()
        call(upstream, "/_simulator/release", "")
        assert waiting.result()[0] == 200


@pytest.mark.parametrize(
    "body", ["", "[]", '{"fault": "hung"}', '{"fault": "hang", "x": 1}', '{"fault": "hang", "times": 0}']
)
def test_a_fault_that_is_not_one_is_refused_with_a_reason(upstream: Simulator, body: str) -> None:
    status, answer = call(upstream, "/_simulator/fail", body)
    assert status == 400
    assert "xpected" in answer["error"]["message"]
    assert call(upstream)[0] == 200


def test_the_control_is_closed_to_a_page_that_calls_it_by_another_name(upstream: Simulator) -> None:
    with closing(http.client.HTTPConnection(upstream.url.removeprefix("http://"))) as connection:
        connection.request("GET", "/_simulator/requests", headers={"host": "evil.test"})
        assert connection.getresponse().status == 403


def test_close_frees_the_port_and_leaves_no_thread(upstream: Simulator) -> None:
    before = {thread.name for thread in threading.enumerate()}
    upstream.close()
    upstream.close()
    assert "llmcore-simulator" in before
    assert "llmcore-simulator" not in {thread.name for thread in threading.enumerate()}
    port = int(upstream.url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError), closing(socket.create_connection(("127.0.0.1", port))):
        pass


def test_it_starts_again_after_close(upstream: Simulator) -> None:
    upstream.close()
    with upstream:
        assert call(upstream)[0] == 200


def test_a_port_that_is_taken_is_an_error_at_the_start(upstream: Simulator) -> None:
    port = int(upstream.url.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        Simulator(port=port).start()


def test_it_has_no_address_before_the_start_and_no_impossible_port() -> None:
    with pytest.raises(ConfigError, match="no address before it is started"):
        _ = Simulator().base_url
    with pytest.raises(ConfigError, match="`port` must be 0"):
        Simulator(port=70000)
