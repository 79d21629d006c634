"""Batches of Azure: the addresses of Azure with the api-version, endpoints without /v1, and deployments as models."""

from __future__ import annotations

import json
from typing import Any

import pytest

import llmcore
from llmcore_testing.simulator import Simulator

PROMPTS = [f"Question {number}" for number in range(5)]
VERSION = "2024-10-21"


@pytest.fixture
def config() -> dict[str, Any]:
    return {"provider": "openai", "model": "my-batch-deployment"}


def test_a_batch_is_created_at_azures_addresses(config: dict[str, Any]) -> None:
    prices = {"openai:my-batch-deployment": {"input": 0.15, "output": 0.6}}
    with Simulator() as upstream:
        azure = {"azure_endpoint": upstream.url, "api_version": VERSION, "api_key": "sk-test"}
        settings = {"llm": {**config, "openai": azure}, "cache": {"provider": "memory"}, "prices": prices}
        with llmcore.load(settings) as core:
            items = list(core.llm.batch(PROMPTS, lane="queue", max_tokens=20))
            assert all(item.reply is not None and item.reply.service_tier == "batch" for item in items)
            assert {row["state"] for row in core.usage.export()} == {"done"}
        requests = upstream.requests
    assert {request.query.get("api-version") for request in requests} == {VERSION}
    assert {request.path.split("/")[2] for request in requests} == {"files", "batches"}
    assert all(request.headers["api-key"] == "sk-test" for request in requests)
    creation = next(each for each in requests if (each.method, each.path) == ("POST", "/openai/batches"))
    assert creation.body["endpoint"] == "/chat/completions"
    assert "output_expires_after" not in creation.body
    upload = next(each for each in requests if each.path == "/openai/files")
    lines = [json.loads(line) for line in upload.raw.splitlines() if line.startswith(b'{"custom_id"')]
    assert {(line["url"], line["body"]["model"]) for line in lines} == {
        ("/chat/completions", "my-batch-deployment")
    }
    assert upstream.counts["batch_items"] == 5
