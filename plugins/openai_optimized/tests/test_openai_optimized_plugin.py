"""The light module, the options, and the account that they lead to."""

from __future__ import annotations

import inspect
import subprocess
import sys
from datetime import date

import pytest

from llmcore.contracts import ModelLifetimes
from llmcore.errors import ConfigError
from llmcore.types import Secret
from llmcore_openai_optimized import plugin
from llmcore_openai_optimized.account import Account
from llmcore_openai_optimized.plugin import OpenAIOptions, create, identity, offline

VARIABLES = (
    "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_API_VERSION",
    "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN",
)  # fmt: skip


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_the_plugin_module_and_the_package_load_no_sdk() -> None:
    program = (
        "import sys, llmcore_openai_optimized, llmcore_openai_optimized.plugin as p;"
        "next(iter(p.llmcore_llm_providers()));"
        "p.identity(p.OpenAIOptions());"
        "print([m for m in ('openai', 'httpx2', 'tiktoken', 'genai_prices', 'pydantic', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_parameters_are_those_of_the_sdk() -> None:
    from openai.resources.chat.completions import Completions

    theirs = set(inspect.signature(Completions.create).parameters)
    apart = {"self", "messages", "model", "stream", "extra_headers", "extra_query", "extra_body", "timeout"}
    assert theirs - apart == plugin.PARAMETERS


def test_a_missing_key_is_reported_with_its_variable_and_an_alternative() -> None:
    with pytest.raises(ConfigError) as caught:
        create(OpenAIOptions())
    assert caught.value.code == "LC201"
    assert caught.value.fix == "export OPENAI_API_KEY=sk-..."
    assert "echo" in str(caught.value)


def test_an_empty_key_is_a_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " \n")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        create(OpenAIOptions())


def test_the_error_of_a_local_server_says_that_any_key_works() -> None:
    with pytest.raises(ConfigError, match="any text works as a key"):
        create(OpenAIOptions(base_url="http://localhost:11434/v1"))


def test_a_key_that_no_header_holds_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        create(OpenAIOptions(api_key=Secret("sk-canary\x00bad")))
    assert caught.value.code == "LC204"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "localhost:8000",
        "ftp://host/v1",
        "https://name:word@host/v1",
        "https://",
        "https:///v1",
        "http://a b/",
    ],
)
def test_an_invalid_address_is_rejected(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create(OpenAIOptions(api_key=Secret("k"), base_url=address))
    assert caught.value.where == "[llm.openai] base_url"
    assert "word" not in caught.value.message


def test_missing_options_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env\n")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1/")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-env")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-env")
    account = Account.from_options(OpenAIOptions(organization="org-own"))
    assert account.key is not None
    assert account.key.reveal() == "sk-env"
    assert (account.base_url, account.organization, account.project) == (
        "http://localhost:1/v1",
        "org-own",
        "proj-env",
    )


def test_azure_wants_both_its_address_and_its_version() -> None:
    with pytest.raises(ConfigError, match="`api_version`"):
        create(OpenAIOptions(azure_endpoint="https://example.openai.azure.com"))
    with pytest.raises(ConfigError, match="`azure_endpoint`"):
        create(OpenAIOptions(api_version="2024-10-21"))
    with pytest.raises(ConfigError, match="only one is allowed"):
        create(OpenAIOptions(azure_endpoint="https://a", api_version="1", base_url="https://b"))


def test_azure_names_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    options = OpenAIOptions(azure_endpoint="https://example.openai.azure.com", api_version="2024-10-21")
    with pytest.raises(ConfigError, match="AZURE_OPENAI_API_KEY is not set"):
        create(options)
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "token")
    assert Account.from_options(options).bearer
    monkeypatch.delenv("AZURE_OPENAI_AD_TOKEN")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "key")
    assert not Account.from_options(options).bearer


def test_the_identity_distinguishes_accounts_and_contains_no_key() -> None:
    one = identity(OpenAIOptions(api_key=Secret("sk-canary-one")))
    other = identity(OpenAIOptions(api_key=Secret("sk-canary-two")))
    elsewhere = identity(OpenAIOptions(api_key=Secret("sk-canary-one"), base_url="http://localhost/v1"))
    with_header = identity(OpenAIOptions(api_key=Secret("sk-canary-one"), headers={"x": "y"}))
    seen = [one, other, elsewhere, with_header]
    assert all(a != b for i, a in enumerate(seen) for b in seen[i + 1 :])
    assert "canary" not in repr(seen)


def test_keys_of_one_project_share_their_answers() -> None:
    one = identity(OpenAIOptions(api_key=Secret("a"), project="p"))
    assert one == identity(OpenAIOptions(api_key=Secret("b"), project="p"))
    assert one != identity(OpenAIOptions(api_key=Secret("a"), project="q"))


def test_the_identity_needs_no_key() -> None:
    assert identity(OpenAIOptions())["key"] == ""


def test_values_of_headers_and_queries_are_not_shown() -> None:
    options = OpenAIOptions(headers={"Authorization": "Bearer canary"}, base_url="http://host/v1?key=canary")
    assert "canary" not in repr(options)
    assert "Authorization" in repr(options)
    assert Account.from_options(options).shown_url == "http://host/v1"


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("gpt-4", date(2026, 10, 23)),
        ("gpt-5-mini-2025-08-07", date(2026, 12, 11)),
        ("gpt-4o", date(2027, 1, 14)),
        ("ft:gpt-4o-2024-08-06:acme::1", date(2027, 1, 14)),
        ("tts-1", date(2027, 1, 6)),
        ("gpt-5.6-luna", None),
        ("my-deployment", None),
    ],
)
def test_it_knows_when_models_are_shut_down(model: str, day: date | None) -> None:
    knows: object = offline(OpenAIOptions())
    assert isinstance(knows, ModelLifetimes)
    assert knows.shutdown_date(model) == day
    azure = OpenAIOptions(azure_endpoint="https://a.openai.azure.com", api_version="2024-10-21")
    assert offline(azure).shutdown_date(model) is None
