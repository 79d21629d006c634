"""`[llm.local] use = "openai"` is a second instance of a provider: its own name, key, address and account."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.cache import get_cache
from llmcore.errors import AuthenticationFailed, BudgetExceeded, ConfigError, PluginNotFound, RateLimited
from llmcore_testing.simulator import Fault, Simulator

Tree = dict[str, Any]


@pytest.fixture
def servers() -> Iterator[tuple[Simulator, Simulator]]:
    with Simulator() as first, Simulator() as second:
        yield first, second


@pytest.fixture
def tree(servers: tuple[Simulator, Simulator], monkeypatch: pytest.MonkeyPatch) -> Tree:
    first, second = servers
    monkeypatch.setenv("FIRST_KEY", "sk-first")
    monkeypatch.setenv("SECOND_KEY", "sk-second")
    return {
        "llm": {
            "provider": "openai",
            "model": "gpt-5.6-luna",
            "openai": {"base_url": first.base_url, "api_key": "env:FIRST_KEY"},
            "local": {"use": "openai", "base_url": second.base_url, "api_key": "env:SECOND_KEY"},
        },
        "retry": {"attempts": 1},
    }


def test_two_servers_of_one_protocol_each_get_their_own_requests_and_key(
    tree: Tree, servers: tuple[Simulator, Simulator]
) -> None:
    first, second = servers
    with llmcore.load(tree) as core:
        assert core.llm.chat("Hello").provider == "openai"
        reply = asyncio.run(core.llm.achat("Hello", model="local:tiny"))
        assert (reply.provider, reply.cached) == ("local", False)
        assert "".join(delta.text for delta in core.llm.stream("Hello", model="local:tiny")) == reply.text
    assert [request.headers["authorization"] for request in first.requests] == ["Bearer sk-first"]
    assert [request.headers["authorization"] for request in second.requests] == ["Bearer sk-second"]
    assert second.requests[0].body["model"] == "tiny"


def test_two_instances_share_no_entry_of_the_cache(tree: Tree, servers: tuple[Simulator, Simulator]) -> None:
    tree["llm"]["other"] = {**tree["llm"]["local"], "api_key": "env:FIRST_KEY"}
    with llmcore.load(tree) as core:
        names = ["openai:tiny", "local:tiny", "other:tiny"]
        assert [core.llm.chat("Hello", model=name).cached for name in names] == [False, False, False]
        assert [core.llm.chat("Hello", model=name).cached for name in names] == [True, True, True]
    assert [len(server.requests) for server in servers] == [1, 2]


def test_a_model_with_a_colon_is_written_after_the_instance(
    tree: Tree, servers: tuple[Simulator, Simulator]
) -> None:
    with llmcore.load(tree) as core:
        core.llm.chat("Hello", model="local:llama3.2:3b")
        core.llm.chat("Hello", model="openai:local:tiny")
    assert [server.requests[0].body["model"] for server in servers] == ["local:tiny", "llama3.2:3b"]


def test_a_table_with_use_wins_over_a_provider_of_that_name(
    tree: Tree, servers: tuple[Simulator, Simulator]
) -> None:
    tree["llm"]["echo"] = {**tree["llm"]["local"]}
    with llmcore.load(tree) as core:
        assert core.llm.chat("Hello", model="echo:tiny").provider == "echo"
    assert [len(server.requests) for server in servers] == [0, 1]


def test_an_instance_may_be_the_configured_provider_and_have_the_providers_name(
    tree: Tree, servers: tuple[Simulator, Simulator]
) -> None:
    tree["llm"] |= {"provider": "openai", "openai": {**tree["llm"]["local"]}, "model": "tiny"}
    with llmcore.load(tree) as core:
        core.llm.chat("Hello")
    assert [len(server.requests) for server in servers] == [0, 1]


def test_prices_budgets_and_the_ledger_know_instances(tree: Tree) -> None:
    tree |= {
        "prices": {"local:tiny": {"input": 1_000_000, "output": 0}},
        "budgets": [{"limit": "100 USD", "model": "local:tiny"}],
        "cache": {"provider": "memory"},
    }
    with llmcore.load(tree) as core:
        assert (core.llm.chat("Hello", model="openai:gpt-4o-mini").cost or Decimal(0)) < 1
        cost = core.llm.chat("Hello", model="local:tiny", max_tokens=5).cost or Decimal(0)
        assert cost >= 1
        with pytest.raises(BudgetExceeded, match="local:tiny"):
            core.llm.chat("Hello " * 200, model="local:tiny", max_tokens=5)
        rows = {row.name: row.cost for row in core.usage.by("model")}
    assert rows["local:tiny"] == cost
    assert "openai:gpt-4o-mini" in rows


def test_a_limit_holds_for_one_instance_only(tree: Tree) -> None:
    tree["limits"] = {"local": {"requests_per_minute": 1}}
    with llmcore.load(tree) as core:
        core.llm.chat("one", model="local:tiny")
        core.llm.chat("one")
        core.llm.chat("two")
        with pytest.raises(RateLimited, match="local"):
            core.llm.chat("two", model="local:tiny", timeout=10)


def test_an_alias_falls_back_from_one_instance_to_another(
    tree: Tree, servers: tuple[Simulator, Simulator]
) -> None:
    first, second = servers
    first.fail(Fault.status(500), times=None)
    tree["models"] = {"safe": ["openai:gpt-4o", "local:tiny"]}
    with llmcore.load(tree) as core:
        assert core.llm.chat("Hello", model="safe").provider == "local"
    assert len(second.requests) == 1


def test_a_plugins_errors_speak_of_the_instance(tree: Tree, servers: tuple[Simulator, Simulator]) -> None:
    tree["llm"]["local"] |= {"base_url": "ftp://x"}
    with pytest.raises(ConfigError) as caught:
        llmcore.load(tree).llm.chat("Hello", model="local:tiny")
    assert caught.value.where == "[llm.local] base_url"
    assert caught.value.fix == '{"llm": {"local": {"base_url": "https://api.openai.com/v1"}}}'
    servers[1].fail(Fault.status(401), times=None)
    tree["llm"]["local"] |= {"base_url": servers[1].base_url}
    with pytest.raises(AuthenticationFailed) as refused:
        llmcore.load(tree).llm.chat("Hello", model="local:tiny")
    assert refused.value.provider == "local"
    assert "llm.openai" not in str(refused.value)


def test_options_of_an_instance_are_checked_as_those_of_its_provider(tree: Tree) -> None:
    tree["llm"]["local"]["base_ulr"] = tree["llm"]["local"].pop("base_url")
    with pytest.raises(ConfigError) as caught:
        llmcore.load(tree).llm.chat("Hello", model="local:tiny")
    assert caught.value.message == "unknown key `base_ulr` in [llm.local]"
    assert caught.value.suggestion == "base_url"


@pytest.mark.parametrize(
    ("used", "suggestion"), [("opnai", "openai"), ("local", "openai"), ("", None), (3, None)]
)
def test_use_must_name_an_installed_provider(tree: Tree, used: Any, suggestion: str | None) -> None:
    tree["llm"]["more"] = {"use": used}
    with pytest.raises((ConfigError, PluginNotFound)) as caught:
        llmcore.load(tree)
    assert caught.value.suggestion == suggestion
    assert "use" in str(caught.value)


def test_caches_storages_and_voices_have_instances_too(tmp_path: Path) -> None:
    tree: Tree = {
        "cache": {"provider": "mine", "mine": {"use": "file", "cache_dir": str(tmp_path / "cache")}},
        "storage": {"provider": "archive", "archive": {"use": "fs", "root": str(tmp_path / "archive")}},
        "voice": {"provider": "reader", "reader": {"use": "espeak"}, "fallback": ["espeak"]},
    }
    with llmcore.load(tree) as core:
        core.cache.set("a", 1)
        core.storage.save("a.txt", "a")
        assert core.voice.synthesize("Hello").provider == "reader"
        rows = {row.name for row in core.usage.by("model")}
    assert any(key.startswith("reader:") for key in rows)
    assert (tmp_path / "archive" / "a.txt").read_text() == "a"
    assert list((tmp_path / "cache").iterdir())


def test_the_shared_cache_may_be_an_instance(tmp_path: Path) -> None:
    Path("llmcore.toml").write_text(
        f'[cache]\nprovider = "mine"\n[cache.mine]\nuse = "file"\ncache_dir = "{tmp_path / "cache"}"\n'
    )
    get_cache().set("a", 1)
    assert list((tmp_path / "cache").iterdir())


def test_an_instance_may_come_from_a_variable(
    tree: Tree, servers: tuple[Simulator, Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMCORE__LLM__SECOND__USE", "openai")
    monkeypatch.setenv("LLMCORE__LLM__SECOND__BASE_URL", servers[1].base_url)
    monkeypatch.setenv("LLMCORE__LLM__SECOND__API_KEY", "sk-third")
    with llmcore.load(tree) as core:
        core.llm.chat("Hello", model="second:tiny")
    assert servers[1].requests[0].headers["authorization"] == "Bearer sk-third"
