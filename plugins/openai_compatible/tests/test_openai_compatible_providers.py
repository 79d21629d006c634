"""What each server gets from this plugin: its address and key, its names of parameters, its price and context length."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import AuthenticationFailed, BadRequest, ConfigError, NotFound, Unavailable
from llmcore.types import Usage
from llmcore_openai_compatible.servers import SERVERS
from llmcore_testing import Fault, Simulator

LOCAL = sorted(name for name, server in SERVERS.items() if server.local)
PAID = sorted(SERVERS.keys() - set(LOCAL))
USAGE = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests away from the cache and the ledger of the user, and of earlier runs on the same port."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for server in SERVERS.values():
        for variable in (*server.key_variables, *filter(None, [server.url_variable])):
            monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator(needs_key=False) as simulator:
        yield simulator


def load(name: str, url: str, **more: Any) -> llmcore.Core:
    table = {"base_url": url, **({} if SERVERS[name].local else {"api_key": "test-key"}), **more}
    return llmcore.load({"llm": {"provider": name, name: table}, "retry": {"attempts": 1}})


@pytest.mark.parametrize("name", LOCAL)
def test_a_local_server_needs_one_line(name: str, upstream: Simulator) -> None:
    with load(name, upstream.url) as core:
        reply = core.llm.chat("Hello")
        assert (reply.provider, reply.model, reply.cost) == (name, "gpt-4o-mini", Decimal(0))
        assert "".join(delta.text for delta in core.llm.stream("Hello there")).endswith("Hello there")
        assert asyncio.run(core.llm.achat("Good morning")).model == "gpt-4o-mini"
        assert core.llm.chat("Hello").cached
    assert [request.path for request in upstream.requests].count("/v1/models") == 1
    assert all("authorization" not in request.headers for request in upstream.requests)


def test_the_variable_of_ollama_is_its_address(upstream: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", upstream.url.removeprefix("http://"))
    with llmcore.load({"llm": {"provider": "ollama", "model": "llama3.2:1b"}}) as core:
        assert core.llm.chat("Hello").model == "llama3.2:1b"
        count = core.llm.count_tokens("Hello")
        assert (count.exact, count.bound) == (False, 5)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),  # noqa: S104 - as servers say it
        (":8080", "http://127.0.0.1:8080/v1"),
        ("box", "http://box:11434/v1"),
        ("[::1]:7000", "http://[::1]:7000/v1"),
        ("https://ollama.example", "https://ollama.example/v1"),
        ("http://box:1/prefix/v1", "http://box:1/prefix/v1"),
    ],
)
def test_the_forms_of_ollamas_variable(host: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    backend = llmcore.load({"llm": {"provider": "ollama"}}).backend("llm")
    assert backend.entry.identity is not None
    assert backend.entry.identity(backend.options)["base_url"] == url


@pytest.mark.parametrize("name", PAID)
def test_a_vendor_without_a_key_names_its_variable(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        llmcore.load({"llm": {"provider": name, "model": "any"}}).llm.chat("Hello")
    variable = SERVERS[name].key_variables[0]
    assert (caught.value.code, caught.value.where) == ("LC201", f"[llm.{name}] api_key")
    assert str(caught.value.fix).startswith(f"export {variable}=")


@pytest.mark.parametrize("name", SERVERS)
def test_the_context_length_is_what_the_server_tells(name: str, upstream: Simulator) -> None:
    with load(name, upstream.base_url) as core:
        expected = None if SERVERS[name].context is None else 131_072
        assert core.llm.context_length(f"{name}:gpt-4o-mini") == expected
        assert asyncio.run(core.llm.acontext_length(f"{name}:gpt-4o-mini")) == expected
        if SERVERS[name].local:
            assert core.llm.context_length() == 131_072


@pytest.mark.parametrize("name", SERVERS)
def test_the_models_are_those_of_the_server(name: str) -> None:
    upstream = Simulator(models=["models/gemini-2.5-flash", "other"])
    with upstream, load(name, upstream.start().base_url, api_key="test-key") as core:
        first = "gemini-2.5-flash" if name == "gemini" else "models/gemini-2.5-flash"
        assert core.llm.models() == asyncio.run(core.llm.amodels()) == [first, "other"]


@pytest.mark.parametrize("name", SERVERS)
def test_the_old_limit_is_sent_where_the_new_one_is_ignored(name: str, upstream: Simulator) -> None:
    with load(name, upstream.base_url) as core:
        core.llm.chat("Hello", model=f"{name}:m", max_completion_tokens=5)
    body = upstream.requests[-1].body
    wanted = "max_tokens" if "max_completion_tokens" in SERVERS[name].renames else "max_completion_tokens"
    assert {"max_tokens", "max_completion_tokens"} & body.keys() == {wanted}


@pytest.mark.parametrize("name", SERVERS)
def test_the_role_developer_becomes_system(name: str, upstream: Simulator) -> None:
    messages: Any = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    with load(name, upstream.base_url) as core:
        core.llm.chat(messages, model=f"{name}:m")
    role = upstream.requests[-1].body["messages"][0]["role"]
    assert role == ("developer" if name == "openrouter" else "system")
    assert messages[0]["role"] == "developer"


def test_mistral_gets_no_stream_options_and_its_name_of_the_seed(upstream: Simulator) -> None:
    with load("mistral", upstream.base_url) as core:
        assert "".join(delta.text for delta in core.llm.stream("Hello", model="mistral:m", seed=7))
    body = upstream.requests[-1].body
    assert (body["random_seed"], body["stream"]) == (7, True)
    assert not {"seed", "stream_options"} & body.keys()


def test_deepseek_refuses_a_schema_before_anything_is_sent(upstream: Simulator) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    with load("deepseek", upstream.base_url) as core, pytest.raises(BadRequest) as caught:
        core.llm.chat("Hello", model="deepseek:deepseek-chat", response_format=schema)
    assert "response_format" in str(caught.value.where)
    assert upstream.requests == []


@pytest.mark.parametrize("name", sorted(name for name, server in SERVERS.items() if server.lacks))
def test_a_parameter_that_a_server_lacks_is_refused_by_name(name: str, upstream: Simulator) -> None:
    for parameter in SERVERS[name].lacks - {"stream_options", "user"}:  # with values of other types
        refused: Any = {parameter: 2}
        with load(name, upstream.base_url) as core:
            with pytest.raises(BadRequest, match=f"`{parameter}`"):
                core.llm.chat("Hello", model=f"{name}:m", **refused)
            core.llm.chat("Hello", model=f"{name}:m", extra_body={parameter: 2}, cache=False)
        assert upstream.requests[-1].body[SERVERS[name].renames.get(parameter, parameter)] == 2


def test_an_answer_of_an_own_server_is_free_on_this_machine_only() -> None:
    def price(name: str, url: str, model: str) -> Decimal | None:
        return load(name, url).llm.price(USAGE, model=f"{name}:{model}")

    for url in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "http://a.localhost:1"):
        assert price("ollama", url, "gpt-4o") == 0
    assert price("ollama", "http://box.example:1", "gpt-4o") is None
    assert price("groq", "http://127.0.0.1:1", "no-such-model") is None
    assert price("groq", "https://api.groq.com/openai/v1", "llama-3.3-70b-versatile") == Decimal("1.38")
    assert price("openrouter", "https://openrouter.ai/api/v1", "anthropic/claude-sonnet-4") == Decimal(18)
    assert price("openrouter", "https://openrouter.ai/api/v1", "any/model:free") == 0


def test_what_the_server_bills_is_the_cost(upstream: Simulator) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 0.25}
    upstream.replies({"choices": [{"message": {"content": "Hi"}}], "usage": usage})
    with load("openrouter", upstream.base_url) as core:
        assert core.llm.chat("Hello", model="openrouter:anthropic/claude-sonnet-4").cost == Decimal("0.25")


def test_a_budget_lets_a_free_server_answer_without_a_limit(upstream: Simulator) -> None:
    tree = {
        "llm": {"provider": "ollama", "ollama": {"base_url": upstream.url}},
        "budget": {"limit": "1 USD", "per": "total"},
    }
    with llmcore.load(tree) as core:
        assert core.llm.chat("Hello").cost == 0


@pytest.mark.parametrize(
    ("provider", "name", "model"),
    [
        ("echo", "ollama:llama3.2:1b", "llama3.2:1b"),
        ("ollama", "llama3.2:1b", "llama3.2:1b"),
        ("ollama", "mistral:7b", "mistral:7b"),
        ("ollama", "mixtral:8x7b-instruct-v0.1-q4_K_M", "mixtral:8x7b-instruct-v0.1-q4_K_M"),
        ("ollama", "hf.co/org/model:Q4_K_M", "hf.co/org/model:Q4_K_M"),
        ("ollama", "mistral", "mistral"),
        ("ollama", "gemma", "gemma"),
        ("echo", "openrouter:anthropic/claude-sonnet-4", "anthropic/claude-sonnet-4"),
        ("openrouter", "anthropic/claude-sonnet-4:free", "anthropic/claude-sonnet-4:free"),
        ("echo", "box:qwen3:30b", "qwen3:30b"),
        ("box", "qwen3:30b", "qwen3:30b"),
    ],
)
def test_the_names_of_models(provider: str, name: str, model: str, upstream: Simulator) -> None:
    table = {"base_url": upstream.base_url, "api_key": "test-key"}
    tree: dict[str, Any] = {"provider": provider, "box": {"use": "ollama", **table}}
    tree |= {each: table for each in ("ollama", "openrouter") if each not in tree}
    for given in ({"model": name}, {}):
        aliases = {"fast": name} if ":" in name else {}
        with llmcore.load({"llm": {**tree, **given}, "models": aliases}) as core:
            for asked in (None if given else name, *aliases):
                assert core.llm.chat("Hello", model=asked, cache=False).model == model
                assert upstream.requests[-1].body["model"] == model


@pytest.mark.parametrize(
    ("written", "meant"),
    [("olama:x", "ollama:x"), ("open_router:a/b", "openrouter:a/b"), ("llamacpp:x", "llama_cpp:x"), ("vlm:x", "vllm:x")],
)  # fmt: skip
def test_an_unknown_provider_gets_the_nearest_name(written: str, meant: str) -> None:
    with pytest.raises(llmcore.errors.LLMCoreError) as caught:
        llmcore.load({}).llm.chat("Hello", model=written)
    assert caught.value.suggestion == meant


def test_a_server_that_is_not_started_names_the_command(upstream: Simulator) -> None:
    url = upstream.url
    upstream.close()
    with load("ollama", url) as core, pytest.raises(Unavailable) as caught:
        core.llm.chat("Hello", model="llama3.2:1b")
    assert (caught.value.fix, caught.value.provider) == ("ollama serve", "ollama")


def test_a_model_that_is_missing_names_the_command() -> None:
    upstream = Simulator(needs_key=False, models=["nomic-embed-text"])
    with upstream, load("ollama", upstream.start().url) as core:
        with pytest.raises(NotFound) as caught:
            core.llm.chat("Hello", model="llama3.2:1b")
        assert caught.value.fix == "ollama pull llama3.2:1b"
        with pytest.raises(NotFound) as caught:
            core.llm.chat("Hello")
        assert caught.value.fix == "ollama pull MODEL"


@pytest.mark.parametrize("name", SERVERS)
def test_an_error_names_the_provider_and_its_table(name: str, upstream: Simulator) -> None:
    upstream.fail(Fault.status(401), times=None)
    core = load(name, upstream.base_url, api_key="test-key")
    with core, pytest.raises(AuthenticationFailed) as caught:
        core.llm.chat("Hello", model=f"{name}:m")
    assert caught.value.provider == name
    assert "openai" not in str(caught.value)
    assert "test-key" not in str(caught.value)
