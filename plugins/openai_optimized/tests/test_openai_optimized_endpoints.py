"""Addresses and headers of requests are those of the vendor's SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import openai
import pytest

from llmcore.errors import ProviderError
from llmcore.types import ChatRequest, EmbeddingRequest, Secret
from llmcore_openai_optimized.endpoints import SDK_VERSION
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider

KEY = "sk-test"
OF_ITS_RETRIES = {"x-stainless-retry-count", "x-stainless-read-timeout"}
"""Headers about timeouts and retries, which only the SDK has."""

Sent = tuple[str, dict[str, str], Any]
"""Request line, headers with names in lower case, decoded body."""


class Server(HTTPServer):
    """Records requests as they arrive and refuses them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Refusal)
        self.sent: list[Sent] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Refusal(BaseHTTPRequestHandler):
    """The answer to any request."""

    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.sent.append((self.requestline, headers, json.loads(body) if body else None))
        self.send_response(400)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - a name of http.server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - a name of http.server
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as made:
        thread = Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "BASE_URL", "ORG_ID", "PROJECT_ID", "API_VERSION"):
        monkeypatch.delenv(f"OPENAI_{name}", raising=False)


def send_ours(server: Server, what: str, model: str, options: OpenAIOptions) -> Sent:
    provider = OpenAIProvider(options)
    with closing(provider), pytest.raises(ProviderError):
        _send_ours(provider, what, model)
    return server.sent.pop()


def _send_ours(provider: OpenAIProvider, what: str, model: str) -> None:
    messages: Any = [{"role": "user", "content": "Hello"}]
    if what == "chat":
        provider.complete(ChatRequest(model=model, messages=messages))
    elif what == "responses":
        provider.complete(
            ChatRequest(model=model, messages=[], parameters={"input": "Hello"}, api="responses")
        )
    elif what == "embeddings":
        provider.embed(EmbeddingRequest(model=model, texts=["Hello"]))
    else:
        provider.list_models()


def send_by_sdk(server: Server, what: str, model: str, client: openai.OpenAI) -> Sent:
    with client, pytest.raises(openai.APIStatusError):
        _send_by_sdk(client, what, model)
    line, headers, body = server.sent.pop()
    kept = {
        name: value.replace(openai.__version__, SDK_VERSION)
        for name, value in headers.items()
        if name not in OF_ITS_RETRIES
    }
    return line, kept, body


def _send_by_sdk(client: openai.OpenAI, what: str, model: str) -> None:
    if what == "chat":
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}])
    elif what == "responses":
        client.responses.create(model=model, input="Hello")
    elif what == "embeddings":
        client.embeddings.create(model=model, input=["Hello"])
    else:
        client.models.list()


WHATS = ["chat", "responses", "embeddings", "models"]


@pytest.mark.parametrize("what", WHATS)
@pytest.mark.parametrize("path", ["", "/v1", "/v1/", "/a%20b/ü/v1"])
def test_below_the_address_of_a_server(server: Server, what: str, path: str) -> None:
    options = OpenAIOptions(api_key=Secret(KEY), base_url=server.url + path)
    client = openai.OpenAI(api_key=KEY, base_url=server.url + path, max_retries=0)
    assert send_ours(server, what, "gpt-4o", options) == send_by_sdk(server, what, "gpt-4o", client)


HEADERS = [
    {},
    {
        "X-Team": "rain",
        "user-agent": "mine",
        "Accept": "text/plain",
        "Host": "other",
        "x-stainless-lang": "no",
    },
    {"AUTHORIZATION": "Bearer own", "OpenAI-Organization": "org-2", "Content-Type": "application/x-own"},
]


@pytest.mark.parametrize("what", ["chat", "models"])
@pytest.mark.parametrize("headers", HEADERS)
def test_with_an_organization_a_project_and_own_headers(
    server: Server, what: str, headers: dict[str, str]
) -> None:
    options = OpenAIOptions(
        api_key=Secret(KEY), base_url=server.url, organization="org-1", project="proj-1", headers=headers
    )
    client = openai.OpenAI(
        api_key=KEY,
        base_url=server.url,
        organization="org-1",
        project="proj-1",
        default_headers=headers,
        max_retries=0,
    )
    assert send_ours(server, what, "gpt-4o", options) == send_by_sdk(server, what, "gpt-4o", client)


@pytest.mark.parametrize("what", WHATS)
@pytest.mark.parametrize("path", ["", "/proxy/"])
@pytest.mark.parametrize("version", ["2024-10-21", "a b&c"])
def test_of_azure(server: Server, what: str, path: str, version: str) -> None:
    model = "my /?#%:@deployment+ü"
    options = OpenAIOptions(
        api_key=Secret(KEY), azure_endpoint=server.url + path, api_version=version, organization="org-1"
    )
    client = openai.AzureOpenAI(
        api_key=KEY,
        azure_endpoint=server.url + path,
        api_version=version,
        organization="org-1",
        max_retries=0,
    )
    assert send_ours(server, what, model, options) == send_by_sdk(server, what, model, client)


def test_of_azure_with_a_token(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "token")
    options = OpenAIOptions(azure_endpoint=server.url, api_version="2024-10-21")
    client = openai.AzureOpenAI(azure_endpoint=server.url, api_version="2024-10-21", max_retries=0)
    ours = send_ours(server, "chat", "gpt-4o", options)
    assert ours[1]["authorization"] == "Bearer token"
    assert ours == send_by_sdk(server, "chat", "gpt-4o", client)


def test_a_query_of_the_address_stays_behind_the_path(server: Server) -> None:
    options = OpenAIOptions(api_key=Secret(KEY), base_url=f"{server.url}/v1?tenant=a")
    line, *_ = send_ours(server, "chat", "gpt-4o", options)
    assert line == "POST /v1/chat/completions?tenant=a HTTP/1.1"


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", "limit=100"), ("?api-version=x", "limit=100&api-version=x"), ("?a=1&b=%26", "limit=100&a=1&b=%26")],
)
def test_a_list_of_batches_keeps_the_query_of_the_address(server: Server, query: str, expected: str) -> None:
    options = OpenAIOptions(api_key=Secret(KEY), base_url=f"{server.url}/v1{query}")
    with closing(OpenAIProvider(options)) as provider, pytest.raises(ProviderError):
        provider.list_batches(0)
    line, *_ = server.sent.pop()
    assert line == f"GET /v1/batches?{expected} HTTP/1.1"


def test_an_own_key_header_of_azure_takes_the_keys_place(server: Server) -> None:
    options = OpenAIOptions(
        api_key=Secret("unused"), azure_endpoint=server.url, api_version="1", headers={"Api-Key": "own"}
    )
    _, headers, _ = send_ours(server, "chat", "gpt-4o", options)
    assert headers["api-key"] == "own"
