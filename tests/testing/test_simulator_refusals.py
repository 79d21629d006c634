"""The requests that the simulator rejects, and its messages."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from llmcore_testing import Simulator

USER = {"role": "user", "content": "Hi"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def send(
    upstream: Simulator, method: str, path: str, body: bytes | None = None, key: str | None = "k"
) -> tuple[int, Any, http.client.HTTPMessage]:
    with closing(http.client.HTTPConnection(upstream.url.removeprefix("http://"), timeout=30)) as connection:
        connection.request(method, path, body, {"authorization": f"Bearer {key}"} if key else {})
        response = connection.getresponse()
        return response.status, json.loads(response.read()), response.headers


def chat(upstream: Simulator, **body: Any) -> tuple[int, Any]:
    status, answer, _ = send(
        upstream, "POST", "/v1/chat/completions", json.dumps({"model": "m", **body}).encode()
    )
    return status, answer.get("error", answer)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "messages", "missing_required_parameter"),
        ({"messages": "Hi"}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": ["Hi"]}, "messages[0]", "invalid_type"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [USER, {"role": "usr", "content": "x"}]}, "messages[1].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", None),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]", "invalid_type"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "missing_required_parameter"),
        ({"messages": [USER], "temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"messages": [USER], "temperature": "hot"}, "temperature", "invalid_type"),
        ({"messages": [USER], "max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"messages": [USER], "n": 1.5}, "n", "invalid_type"),
        ({"messages": [USER], "stream": "yes"}, "stream", "invalid_type"),
        ({"messages": [USER], "stream_options": {"include_usage": True}}, "stream_options", None),
        ({"messages": [USER], "tool_choice": "required"}, "tool_choice", None),
        ({"messages": [USER], "response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"messages": [USER], "response_format": {"type": "json_object"}}, "messages", None),
    ],
)  # fmt: skip
def test_a_malformed_request_is_rejected_with_the_parameter(
    upstream: Simulator, body: dict[str, Any], param: str, code: str | None
) -> None:
    status, error = chat(upstream, **body)
    assert (status, error["type"], error["param"], error["code"]) == (
        400,
        "invalid_request_error",
        param,
        code,
    )
    assert error["message"]


def test_a_schema_that_nothing_fits_is_refused(upstream: Simulator) -> None:
    schema = {"type": "integer", "minimum": 5, "maximum": 4}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    status, error = chat(upstream, messages=[USER], response_format=wanted)
    assert (status, error["code"]) == (400, "invalid_schema")


def test_a_schema_that_never_ends_is_refused(upstream: Simulator) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    status, error = chat(upstream, messages=[USER], response_format=wanted)
    assert (status, error["code"]) == (400, "invalid_schema")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_a_body_that_is_not_a_json_object_is_rejected(upstream: Simulator, body: bytes) -> None:
    status, answer, _ = send(upstream, "POST", "/v1/chat/completions", body)
    assert status == 400
    assert "could not parse the JSON body" in answer["error"]["message"]


def test_a_request_without_key_is_refused(upstream: Simulator) -> None:
    status, answer, _ = send(upstream, "GET", "/v1/models", key=None)
    assert status == 401
    assert "didn't provide an API key" in answer["error"]["message"]


def test_azure_wants_its_version(upstream: Simulator) -> None:
    body = json.dumps({"messages": [USER]}).encode()
    path = "/openai/deployments/d/chat/completions"
    assert send(upstream, "POST", path, body)[0] == 404
    assert send(upstream, "POST", f"{path}?api-version=2024-10-21", body)[0] == 200


def test_unknown_paths_and_methods_are_rejected(upstream: Simulator) -> None:
    status, answer, _ = send(upstream, "POST", "/chat/completions", b"{}")
    assert (status, answer["error"]["message"]) == (404, "Invalid URL (POST /chat/completions)")
    assert send(upstream, "GET", "/v1/chat/completions")[0] == 405


def test_answers_have_the_usual_headers(upstream: Simulator) -> None:
    body = json.dumps({"model": "m", "messages": [USER]}).encode()
    first = send(upstream, "POST", "/v1/chat/completions", body)[2]
    second = send(upstream, "POST", "/v1/chat/completions", body)[2]
    assert first["x-request-id"].startswith("req_")
    assert first["x-request-id"] != second["x-request-id"]
    assert int(first["x-ratelimit-remaining-requests"]) > 0
    assert first["openai-processing-ms"]
