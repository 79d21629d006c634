"""One application and twelve lines of configuration on every language model and every cache, over HTTP.

The servers are the simulated upstream and aimock, a mock server of another project; Redis and memcached are real.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

import llmcore
from llmcore_testing import Simulator
from llmcore_testing.memcached_server import MemcachedServer, find_memcached
from llmcore_testing.redis_server import RedisServer, find_redis_server
from tests.kits.aimock import KEY, run_aimock

HAIKU: Final = "Light rain falls on stone."
MOST_LINES: Final = 12
LIMIT: Final = 200


class Model(NamedTuple):
    """A language model of the grid."""

    provider: str
    model: str
    options: str
    """The lines of its table, with `{root}` and `{v1}` for the address of the server."""

    def write(self, root: str) -> str:
        table = self.options.format(root=root, v1=f"{root}/v1")
        return f'[llm]\nprovider = "{self.provider}"\nmodel = "{self.model}"\n' + (
            f"[llm.{self.provider}]\n{table}\n" if table else ""
        )


_OPENAI = 'base_url = "{v1}"\napi_key = "env:MY_KEY"'
MODELS: Final = {
    "openai-chat": Model("openai", "gpt-5.6-luna", _OPENAI),
    "openai-responses": Model("openai", "o3-pro", _OPENAI),
    "anthropic": Model("anthropic", "claude-sonnet-5", 'base_url = "{root}"\napi_key = "env:MY_KEY"'),
    "ollama": Model("ollama", "llama3.2:1b", 'base_url = "{root}"\napi_key = "env:MY_KEY"'),
    "any_llm": Model("any_llm", "openai:gpt-5.6-luna", 'api_base = "{v1}"\napi_key = "env:MY_KEY"'),
    "echo": Model("echo", "echo", ""),
}
NATIVE: Final = {
    "any_llm-ollama": Model(
        "any_llm",
        "ollama:llama3.2:1b",
        f'api_base = "{{root}}"\nclient_args.headers = {{{{ authorization = "Bearer {KEY}" }}}}',
    ),
}
"""Models that are reached by Ollama's own API, `/api/chat`, which the simulator does not speak."""
CACHES: Final[dict[str, str]] = {
    "memory": "",
    "file": 'cache_dir = "kept"',
    "redis": 'url = "{address}", timeout = "30s", connect_timeout = "30s"',
    "memcached": 'servers = ["{address}"], timeout = "30s", connect_timeout = "30s"',
}
SHARED: Final = ("file", "redis", "memcached")
"""The caches that a second process shares."""
PATHS: Final = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "ollama": "/v1/chat/completions",
    "any_llm": "/v1/chat/completions",
}


@pytest.fixture(scope="module")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if find_redis_server() is None:
        pytest.skip("no redis-server")
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="module")
def memcached_address() -> Iterator[str]:
    if find_memcached() is None:
        pytest.skip("no memcached")
    with MemcachedServer() as server:
        yield server.address


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of aimock, which answers every chat with the haiku."""
    answers = [{"match": {}, "response": {"content": HAIKU}}]
    with run_aimock(tmp_path_factory.mktemp("aimock"), answers) as address:
        yield address


@pytest.fixture(params=CACHES)
def cache(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Return the name of a cache and the lines that configure it."""
    name: str = request.param
    address = request.getfixturevalue(f"{name}_address") if name in {"redis", "memcached"} else ""
    options = CACHES[name].format(address=address)
    namespace = f"grid{time.monotonic_ns()}"  # the servers are shared by the tests
    table = (
        f"{name} = {{ {options} }}\n" if options else ""
    )  # a cache that is late on a loaded machine is not a miss
    return name, f'[cache]\nprovider = "{name}"\nnamespace = "{namespace}"\n{table}'


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)


def configure(model: Model, cache: str, root: str) -> Path:
    """Write the configuration; return its file."""
    text = f'budget.limit = "50 USD"\n{model.write(root)}{cache}'
    assert len(text.splitlines()) <= MOST_LINES, text
    path = Path("llmcore.toml")
    path.write_text(text)
    return path


def application(core: llmcore.Core) -> dict[str, str]:
    """Do what an application does, the same on every backend; return the answer to each question."""

    async def ask(question: str) -> str:
        deltas = [delta.text async for delta in core.llm.astream(f"{question} twice", max_tokens=LIMIT)]
        return "".join(deltas) + (await core.llm.achat(question, max_tokens=LIMIT)).text

    reply = core.llm.chat("Write a haiku about rain", max_tokens=LIMIT)
    assert reply.usage.total_tokens > 0
    assert reply.cost is not None
    return {
        "haiku": reply.text,
        "story": "".join(delta.text for delta in core.llm.stream("Tell me a story", max_tokens=LIMIT)),
        "poem": asyncio.run(ask("Write a poem")),
        "cached": str(reply.cached),
    }


def run_twice(cache: str) -> dict[str, str]:
    """Run the application twice in one Core, and once more in another; return its first answers."""
    with llmcore.load() as core:
        first, again = application(core), application(core)
        assert (first.pop("cached"), again.pop("cached")) == ("False", "True")
        assert again == first
        assert sum(row.requests for row in core.usage.by("model")) == 4
    with llmcore.load() as core:
        later = application(core)
        assert later.pop("cached") == str(cache in SHARED)
        assert later == first
    return first


@pytest.mark.parametrize("name", MODELS)
def test_an_application_runs_on_every_model_and_cache(name: str, cache: tuple[str, str]) -> None:
    with Simulator() as upstream:
        configure(MODELS[name], cache[1], upstream.url)
        answers = run_twice(cache[0])
    assert "haiku" in answers["haiku"], "the simulator and echo repeat the question"
    asked = 4 if cache[0] in SHARED else 8
    assert [request.path for request in upstream.requests] == ([PATHS[name]] * asked if name in PATHS else [])


@pytest.mark.parametrize("name", [*(name for name in MODELS if name != "echo"), *NATIVE])
def test_an_application_runs_on_a_server_of_another_project(
    name: str, cache: tuple[str, str], aimock: str
) -> None:
    configure({**MODELS, **NATIVE}[name], cache[1], aimock)
    answers = run_twice(cache[0])
    assert answers == {"haiku": HAIKU, "story": HAIKU, "poem": HAIKU + HAIKU}
