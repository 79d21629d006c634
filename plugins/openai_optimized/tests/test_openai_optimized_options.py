"""Options that no request can carry are refused by name, before anything is sent, in sync and async."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmcore.errors import ConfigError
from llmcore.types import ChatRequest, Secret
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider
from llmcore_testing.simulator import Simulator

REQUEST = ChatRequest(model="gpt-6-sol", messages=[{"role": "user", "content": "q"}], timeout_s=20)


def ask(way: str, **options: Any) -> str:
    provider = OpenAIProvider(OpenAIOptions(**{"api_key": Secret("sk-test-key"), **options}))
    try:
        if way == "complete":
            return provider.complete(REQUEST).text
        return asyncio.run(provider.acomplete(REQUEST)).text
    finally:
        provider.close()


def catch_refusal(way: str, **options: Any) -> ConfigError:
    """Ask; return the error that must come before anything is sent."""
    with pytest.raises(ConfigError) as caught:
        ask(way, **options)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "sk-test-key" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"api_key": Secret("sk-\u200b1")}, "api_key"),
        ({"api_key": Secret("sk-ü1")}, "api_key"),
        ({"api_key": Secret("sk-1\n2")}, "api_key"),
        ({"organization": "Bücher"}, "organization"),
        ({"organization": "a\nb"}, "organization"),
        ({"project": "proj\u00a0x"}, "project"),
        ({"headers": {"x-a": "ü"}}, "headers.x-a"),
        ({"headers": {"x-a": "1\r\nx-b: 2"}}, "headers.x-a"),
        ({"headers": {"x a": "1"}}, "headers.'x a'"),
        ({"headers": {"Expect": "100-continue"}}, "headers.Expect"),
        ({"headers": {"Content-Length": "3"}}, "headers.Content-Length"),
        ({"base_url": "http://127.0.0.1\u200b:1/v1"}, "base_url"),
        ({"base_url": "http://::1:8000/v1"}, "base_url"),
        ({"base_url": "http://h:99999/v1"}, "base_url"),
        ({"base_url": "http://h:x/v1"}, "base_url"),
        ({"base_url": "http://a..b/v1"}, "base_url"),
        ({"base_url": "http://-ü.de/v1"}, "base_url"),
        ({"base_url": "localhost:8000/v1"}, "base_url"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("way", ["complete", "acomplete"])
def test_an_unsendable_option_is_named(way: str, options: dict[str, Any], where: str) -> None:
    error = catch_refusal(way, **{"base_url": "http://127.0.0.1:1/v1", **options})
    assert error.where == f"[llm.openai] {where}"


@pytest.mark.parametrize("way", ["complete", "acomplete"])
@pytest.mark.parametrize(
    "address", ["socks4://127.0.0.1:1", "ftp://h", "http://", "http://h:99999", "http//h:1"]
)
def test_an_unusable_proxy_names_its_variable(
    way: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    error = catch_refusal(way, base_url="https://llm.invalid/v1")
    assert error.where == "HTTPS_PROXY"


@pytest.mark.parametrize("way", ["complete", "acomplete"])
@pytest.mark.parametrize("content", [None, b"", b"no certificate"], ids=["missing", "empty", "text"])
def test_unusable_certificates_name_their_variable(
    way: str, content: bytes | None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "certificates.pem"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    error = catch_refusal(way, base_url="https://127.0.0.1:1/v1")
    assert error.where == "SSL_CERT_FILE"
    assert str(file) in str(error)


@pytest.mark.parametrize("way", ["complete", "acomplete"])
def test_spaces_and_line_ends_around_options_are_dropped(way: str) -> None:
    with Simulator() as upstream:
        assert ask(
            way,
            base_url=f"{upstream.base_url}\n",
            api_key=Secret("sk-test-key\n"),
            organization=" org \n",
            headers={"x-a": "1\r\n"},
        )
        headers = {name.lower(): value for name, value in upstream.requests[0].headers.items()}
    assert headers["authorization"] == "Bearer sk-test-key"
    assert headers["openai-organization"] == "org"
    assert headers["x-a"] == "1"
