"""Which models the plugin knows, and at which addresses."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore_openai_optimized.known_models import MODELS, known_models
from llmcore_openai_optimized.shutdown_dates import _DATES


def test_every_model_with_a_price_or_an_end_is_known() -> None:
    from genai_prices.data import providers

    priced = {model.id for vendor in providers if vendor.id == "openai" for model in vendor.models}
    plain = {name for name in priced if ":" not in name and not name.endswith("-")}
    assert plain | set(_DATES) <= MODELS


@pytest.mark.parametrize(
    ("table", "variable", "known"),
    [
        ({}, "", True),
        ({"base_url": "https://api.openai.com/v1/"}, "", True),
        ({"base_url": "https://eu.api.openai.com/v1"}, "", True),
        ({}, "https://api.openai.com/v1", True),
        ({}, "http://127.0.0.1:8080/v1", False),
        ({"base_url": "https://api.openai.com/v1"}, "http://127.0.0.1:8080/v1", True),
        ({"base_url": "https://openrouter.ai/api/v1"}, "", False),
        ({"base_url": "https://api.openai.com.example.org/v1"}, "", False),
        ({"base_url": "https://notapi.openai.com.evil/v1"}, "", False),
        ({"base_url": "env:OPENAI_URL"}, "", False),
        ({"base_url": "http://[::1"}, "", False),
        ({"azure_endpoint": "https://a.openai.azure.com", "api_version": "1"}, "", False),
    ],
)
def test_models_are_known_only_at_the_vendors_own_address(
    *,
    table: dict[str, Any],
    variable: str,
    known: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", variable)
    assert bool(known_models(table)) is known
