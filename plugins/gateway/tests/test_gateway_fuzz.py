"""Random requests after the OpenAPI description of what is served: no failure of the gateway, no traceback, no secret."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcore_testing.simulator import Simulator
from tests.kits.gateway import KEY, MODEL, make_config, serving

COUNT = int(os.environ.get("LLMCORE_FUZZ", "500"))
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def make_values(schema: dict[str, Any], name: str = "") -> st.SearchStrategy[Any]:
    """Return what *schema* allows; now and then something else."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"]) | JUNK
    if name == "model":
        return st.sampled_from(["fast", MODEL]) | JUNK
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of(*(make_kind(kind, schema) for kind in kinds)) | JUNK


def make_kind(kind: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if kind == "object":
        return make_objects(schema)
    if kind == "array":
        return st.lists(make_values(schema["items"]) if "items" in schema else JUNK, max_size=3)
    return {
        "string": st.sampled_from(["user", "assistant", "Hello"]) | st.text(max_size=8),
        "integer": st.integers(),
        "number": st.floats(),
        "boolean": st.booleans(),
        "null": st.none(),
    }[kind]


def make_objects(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    properties = {name: make_values(each, name) for name, each in schema.get("properties", {}).items()}
    required = {name: properties.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional={**properties, "x": JUNK}) | JUNK


def encode(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@pytest.mark.slow
def test_no_request_makes_the_gateway_fail(tmp_path: Path) -> None:
    voice = {"provider": "openai", "openai": {"api_key": KEY}}
    with Simulator() as upstream:
        voice["openai"]["base_url"] = upstream.base_url  # type: ignore[index]
        with serving(make_config(upstream, tmp_path, voice=voice)) as gateway:
            description = gateway.http.get("/openapi.json").json()
            operations = [
                (method, path, operation)
                for path, methods in description["paths"].items()
                for method, operation in methods.items()
            ]
            assert len(operations) == 13

            def make_requests(chosen: Any) -> st.SearchStrategy[tuple[str, str, Any]]:
                method, path, operation = chosen
                if "requestBody" not in operation:
                    return st.tuples(st.just(method), st.just(path), st.text(max_size=8))
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                return st.tuples(st.just(method), st.just(path), make_objects(schema))

            @settings(
                max_examples=COUNT,
                deadline=None,
                database=None,
                derandomize="LLMCORE_FUZZ" not in os.environ,
                suppress_health_check=list(HealthCheck),
            )
            @given(st.sampled_from(operations).flatmap(make_requests))
            def send(request: tuple[str, str, Any]) -> None:
                method, path, value = request
                body = encode(value) if method == "post" else None
                path = path.replace("{id}", quote(value, safe="") if method == "get" else "")
                answer = gateway.http.request(method.upper(), path, content=body)
                assert answer.status_code < 500 or answer.status_code in {502, 503, 504}, answer.text
                assert "Traceback" not in answer.text
                assert KEY not in answer.text
                assert str(tmp_path) not in answer.text

            send()
