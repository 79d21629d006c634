"""Misspelt names of providers, models and aliases are refused before anything is sent; names that are only new are not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import llmcore
from llmcore.errors import ConfigError, LLMCoreError, PluginNotFound
from llmcore_openai_optimized.known_models import MODELS
from llmcore_testing.simulator import Simulator

Tree = dict[str, Any]

ALIASES = {"fast": "openai:gpt-5.6-luna", "safe": ["openai:gpt-6-sol", "openai:gpt-5.6-sol"], "cheap": "fast"}
LOCAL = {"use": "openai", "api_key": "sk-local", "base_url": "http://127.0.0.1:1/v1"}
PRICE = {"input": 1, "output": 2}

TYPOS: list[tuple[Tree, str | None, str]] = [
    # (the additional configuration, the requested model, the intended name)
    ({}, "opnai:gpt-4o", "openai:gpt-4o"),
    ({}, "openia:gpt-4o", "openai:gpt-4o"),
    ({}, "OpenAI:gpt-4o", "openai:gpt-4o"),
    ({}, "open-ai:gpt-4o", "openai:gpt-4o"),
    ({}, "ecko:x", "echo:x"),
    ({}, "locl:tiny", "local:tiny"),
    ({}, "saef", "safe"),
    ({}, "fsat", "fast"),
    ({}, "Fast", "fast"),
    ({}, "chaep", "cheap"),
    ({}, "opnai", "openai:MODEL"),
    ({}, "local", "local:MODEL"),
    ({}, "gpt-4o-mni", "gpt-4o-mini"),
    ({}, "gtp-4o", "gpt-4o"),
    ({}, "gpt4o", "gpt-4o"),
    ({}, "gpt-40-mini", "gpt-4o-mini"),
    ({}, "GPT-4o", "gpt-4o"),
    ({}, "gpt-o4-mini", "gpt-4o-mini"),
    ({}, "gpt-4-mini", "gpt-4o-mini"),
    ({}, "gpt-5.6_luna", "gpt-5.6-luna"),
    ({}, "openai/gpt-4o", "gpt-4o"),
    ({}, "openai:gpt-6-slo", "openai:gpt-6-sol"),
    ({}, "openai:gpt-5.6-lna", "openai:gpt-5.6-luna"),
    ({}, "openai:gpt-3.5-trubo", "openai:gpt-3.5-turbo"),
    ({}, "openai:o4-mimi", "openai:o4-mini"),
    ({"llm": {"provider": "opnai"}}, None, "openai"),
    ({"llm": {"model": "gpt-4o-mni"}}, None, "gpt-4o-mini"),
    ({"llm": {"model": "opnai:gpt-4o"}}, None, "openai:gpt-4o"),
    ({"llm": {"model": "saef"}}, None, "safe"),
    ({"llm": {"opnai": {"base_url": "http://127.0.0.1:1/v1"}}}, None, "openai"),
    ({"llm": {"new": {"use": "opnai"}}}, None, "openai"),
    ({"cache": {"provider": "fiel"}}, None, "file"),
    ({"cache": {"flie": {"cache_dir": "x"}}}, None, "file"),
    ({"storage": {"provider": "fss"}}, None, "fs"),
    ({"storage": {"s33": {"bucket": "x"}}}, None, "s3"),
    ({"voice": {"provider": "elevnlabs"}}, None, "elevenlabs"),
    ({"voice": {"provider": "espeak", "fallback": ["openia"]}}, None, "openai"),
    ({"voice": {"elvenlabs": {"voice": "x"}}}, None, "elevenlabs"),
    ({"models": {"new": "opnai:gpt-4o"}}, None, "openai:gpt-4o"),
    ({"models": {"new": ["openai:gpt-4o", "openai:gpt-4o-mni"]}}, None, "openai:gpt-4o-mini"),
    ({"models": {"new": "saef"}}, None, "safe"),
    ({"budgets": [{"limit": 1, "model": "opnai:gpt-4o"}]}, None, "openai:gpt-4o"),
    ({"budgets": [{"limit": 1, "model": "opnai:"}]}, None, "openai:"),
    ({"budgets": [{"limit": 1, "model": "openai:gpt-4o-mni"}]}, None, "openai:gpt-4o-mini"),
    ({"budgets": [{"limit": 1, "model": "openai:tts-1-dh"}]}, None, "openai:tts-1-hd"),
    ({"limits": {"opnai": {"concurrency": 1}}}, None, "openai"),
    ({"limits": {"openai:gpt-6-slo": {"concurrency": 1}}}, None, "openai:gpt-6-sol"),
    ({"prices": {"opnai:gpt-4o": PRICE}}, None, "openai:gpt-4o"),
    ({"prices": {"openai:gpt-5.6-lunaa": PRICE}}, None, "openai:gpt-5.6-luna"),
    ({"prices": {"elevenlabs:elevn_v3": PRICE}}, None, "elevenlabs:eleven_v3"),
]  # fmt: skip

FOREIGN = {"llm": {"openai": {"base_url": "https://openrouter.ai/api/v1", "api_key": "sk-test"}}}

CORRECT: list[tuple[Tree, str | None]] = [
    # A model that is newer than the table, at the vendor's own address.
    ({}, "gpt-7"),
    ({}, "gpt-6.3-sol"),
    ({}, "gpt-6-nova"),
    ({}, "gpt-6-luna-pro"),
    ({}, "gpt-5o"),
    ({}, "o5-mini"),
    ({}, "gpt-4o-2027-01-01"),
    ({}, "gpt-audio-nano"),
    ({}, "openai:ft:gpt-4o-mini-2024-07-18:acme::abc123"),
    ({"llm": {"openai": {"extra_models": ["gpt-4o-mimi"]}}}, "gpt-4o-mimi"),
    # Any model of another server.
    (FOREIGN, "openai/gpt-4o"),
    (FOREIGN, "gpt-4o-mni"),
    (FOREIGN, "openai:openai/gpt-4o:free"),
    (FOREIGN, "anthropic/claude-sonnet-5"),
    ({**FOREIGN, "models": {"gpt4o": "openai:gpt-4o"}}, "gpt-4o"),
    ({"llm": {"openai": {"azure_endpoint": "https://a.openai.azure.com", "api_version": "1"}}}, "gpt-35-trubo"),
    ({}, "local:tiny"),
    ({}, "local:llama3.2:3b"),
    ({}, "local:gpt-4o-mni"),
    ({}, "echo:anything-at-all"),
    ({"llm": {"provider": "local"}}, "phi4"),
    ({"llm": {"provider": "local", "model": "mistral"}}, None),
    # Names in the rest of a configuration.
    ({"prices": {"openai:my-deployment": PRICE}}, None),
    ({"prices": {"local:tiny": PRICE, "anthropic:claude-sonnet-5": PRICE}}, None),
    ({"limits": {"local": {"concurrency": 1}, "groq": {"concurrency": 2}}}, None),
    ({"budgets": [{"limit": 1, "model": "local:"}, {"limit": 1, "model": "elevenlabs:eleven_v5"}]}, None),
    ({"models": {"other": ["openai:gpt-7", "anthropic:claude-sonnet-5"]}}, "fast"),
    ({"models": {"one": "acme:model-of-a-plugin-that-is-elsewhere"}}, "fast"),
    ({"cache": {"memcached": {"host": "x"}}, "llm": {"anthropic": {"api_key": "sk-x"}}}, None),
    ({"voice": {"provider": "mine", "mine": {"use": "openai"}, "fallback": ["espeak"]}}, None),
]  # fmt: skip


def load_core(more: Tree) -> llmcore.Core:
    """Return a Core whose `openai` is the vendor, as far as the configuration knows, and that never reaches it."""
    tree: Tree = {
        "llm": {"provider": "openai", "openai": {"api_key": "sk-test"}, "local": LOCAL},
        "models": ALIASES,
        "retry": {"attempts": 1},
    }  # fmt: skip
    for section, value in more.items():
        if isinstance(value, dict):
            tree[section] = {**tree.get(section, {}), **value}
        else:
            tree[section] = value
    return llmcore.load(tree)


def resolve(core: llmcore.Core, model: str | None) -> Any:
    """Return the target of a call for *model*, without sending it."""
    return core.llm._models.find_targets(model)


def test_the_lists_are_as_long_as_they_were_promised() -> None:
    assert (len(TYPOS), len(CORRECT)) == (50, 30)


@pytest.mark.parametrize(("more", "model", "meant"), TYPOS)
def test_a_typing_mistake_is_refused_with_the_nearest_name(more: Tree, model: str | None, meant: str) -> None:
    with pytest.raises(LLMCoreError) as caught:
        resolve(load_core(more), model)
    assert caught.value.suggestion == meant
    assert caught.value.fix


@pytest.mark.parametrize(("more", "model"), CORRECT)
def test_a_correct_but_unknown_name_is_accepted(more: Tree, model: str | None) -> None:
    core = load_core(more)
    if model is not None:
        assert resolve(core, model)


@pytest.mark.parametrize(
    ("more", "model"),
    [
        ({**FOREIGN, "prices": {"openai:openai/gpt-4o": PRICE}}, "openai/gpt-4o"),
        ({**FOREIGN, "budgets": [{"limit": 1, "model": "openai:gpt-4o-mni"}]}, "gpt-4o-mni"),
        ({**FOREIGN, "limits": {"openai:gtp-4o": {"concurrency": 1}}}, "gtp-4o"),
        ({"llm": {**FOREIGN["llm"], "provider": "llmcore-openai-optimized:openai", "model": "gtp-4o"}}, None),
    ],
)
def test_the_models_of_a_foreign_server_are_its_own_everywhere(more: Tree, model: str | None) -> None:
    """The voice of the same name, at the vendor's own address, does not count."""
    assert resolve(load_core(more), model)


def test_every_model_of_the_vendor_is_accepted() -> None:
    core = load_core({})
    for model in MODELS:
        assert resolve(core, model)[0].model == model


def test_no_model_of_the_vendor_is_taken_for_another_before_it_is_known() -> None:
    """Each model in turn is the one that is newer than the table."""
    from llmcore.config.typos import find_typo

    taken = {model: meant for model in MODELS if (meant := find_typo(model, MODELS - {model}))}
    assert taken == {}


def test_every_fault_is_reported_with_its_line_and_a_fix_that_loads(tmp_path: Any) -> None:
    file = tmp_path / "llmcore.toml"
    file.write_text(
        '[models]\nfast = "opnai:gpt-4o"\n\n[[budgets]]\nlimit = 1\nmodel = "openai:gpt-4o-mni"\n\n'
        "[limits.opnai]\nconcurrency = 1\n"
    )
    with pytest.raises(ConfigError) as caught:
        llmcore.load(file)
    llmcore_file = f"llmcore --config {file}"
    assert [(fault.where, fault.suggestion, fault.fix) for fault in caught.value.faults] == [
        (f"{file}:2:8", "openai:gpt-4o", f"{llmcore_file} config set models.fast openai:gpt-4o"),
        (
            f"{file}:6:9",
            "openai:gpt-4o-mini",
            f"{llmcore_file} config set budgets.0.model openai:gpt-4o-mini",
        ),
        (f"{file}:8:9", "openai", "[limits.openai]"),
    ]


def test_a_limit_for_a_name_of_models_is_pointed_to_its_model() -> None:
    with pytest.raises(ConfigError) as caught:
        load_core({"limits": {"fast": {"concurrency": 1}}})
    assert caught.value.suggestion == "openai:gpt-5.6-luna"
    assert caught.value.fix == '{"limits": {"openai:gpt-5.6-luna": {...}}}'


def test_a_prompt_for_an_address_without_use_goes_nowhere() -> None:
    """`[llm.local]` without `use` was ignored, and `local:tiny` was sent to the default address with the key."""
    with Simulator() as upstream:
        tree: Tree = {
            "llm": {
                "provider": "openai",
                "openai": {"base_url": upstream.base_url, "api_key": "sk-test"},
                "local": {"base_url": "http://127.0.0.1:1/v1"},
            }
        }
        with pytest.raises(ConfigError) as caught:
            llmcore.load(tree).llm.chat("Hello", model="local:tiny")
        assert caught.value.fix == '{"llm": {"local": {"use": "openai"}}}'
        assert upstream.requests == []


def test_a_provider_that_is_not_installed_is_rejected_in_the_call(scripted: Any) -> None:
    del scripted
    with pytest.raises(PluginNotFound) as caught:
        llmcore.load({"llm": {"provider": "scripted"}}).llm.chat("Hello", model="scirpted:x")
    assert (caught.value.suggestion, caught.value.fix) == ("scripted:x", 'model="scripted:x"')


@pytest.mark.parametrize("model", [":x", "llama3:8b"])
def test_a_colon_that_follows_no_provider_is_explained(model: str) -> None:
    with pytest.raises(LLMCoreError) as caught:
        llmcore.load({}).llm.chat("Hello", model=model)
    assert caught.value.fix == f'model="echo:{model}"'
    assert "written after its provider" in str(caught.value)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_misspelt_model_of_a_call_reaches_no_server(*, asynchronous: bool) -> None:

    with Simulator() as upstream:
        tree: Tree = {
            "llm": {"provider": "openai", "openai": {"base_url": upstream.base_url, "api_key": "sk-test"}},
            "models": {"safe": "openai:gpt-6-sol"},
        }
        core = llmcore.load(tree)
        for model in ("saef", "opnai:gpt-4o", "ft:gpt-4o:org"):
            with pytest.raises(LLMCoreError):
                _ = (
                    asyncio.run(core.llm.achat("Hello", model=model))
                    if asynchronous
                    else core.llm.chat("Hello", model=model)
                )
        assert upstream.requests == []
        assert core.llm.chat("Hello", model="safe").text
