"""An API key in place of a model is rejected everywhere, and never sent, stored or shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.config.misplaced_keys import is_like_key
from llmcore.errors import BadRequest, ConfigError
from llmcore.types import Usage
from llmcore_testing.simulator import Simulator
from tests.kits.cli import CommandLine

KEY = "sk-proj-0123456789abcdefghijklmnop"

KEYS = [
    KEY, "sk-x", "sk-ant-api03-abc", "sk_0123456789abcdef", "gsk_0123456789abcdefghij0123", "hf_abcdefghijklmnopqrstuv",
    "AIzaSyA0123456789abcdefghijklmnopq", "AKIA0123456789ABCDEF", "xai-0123456789abcdefghijklmno", "r8_0123456789abcdefghij0",
    "nvapi-0123456789abcdefghij-x", "github_pat_0123456789abcdefghij", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "0123456789abcdef0123456789abcdef", "Bearer sk-abc", f"openai:{KEY}", f" {KEY} ",
]  # fmt: skip

MODELS = [
    "gpt-5.6-luna", "gpt-4o-mini-2024-07-18", "o3", "ft:gpt-4o-mini-2024-07-18:my-org:suffix:9AbCdEfG", "claude-sonnet-5",
    "claude-opus-4-1-20250805", "hf-internal-testing/tiny-random-gpt2", "skt/A.X-4.0", "openai/gpt-4o", "tiny", "echo",
    "accounts/fireworks/models/llama-v3p1-405b-instruct", "meta-llama/Llama-3.3-70B-Instruct", "xai-grok-4-fast-reasoning",
    "anthropic.claude-3-5-sonnet-20241022-v2:0", "local:tiny", "openai:local:tiny", "qwen2.5-coder:7b-instruct-q4_K_M",
    "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M", "pplx-70b-online", "my-deployment", "gemini-3-pro-preview",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0", "deepseek-reasoner",
    "d8f1a2b3-0c4d-4e5f-8a9b-0123456789ab", "ai/smollm2@sha256:" + "0123456789abcdef" * 4, "mistral.magistral-small-2509",
    "@cf/meta/llama-3.1-8b-instruct", "text-embedding-3-large", "/models/Qwen3-0.6B", "command-a-03-2025", "r1-1776",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_keys_look_like_keys(key: str) -> None:
    assert is_like_key(key)


@pytest.mark.parametrize("model", MODELS)
def test_names_of_models_do_not(model: str) -> None:
    assert not is_like_key(model)


def test_no_call_takes_one(monkeypatch: pytest.MonkeyPatch, speaker: Any) -> None:
    with Simulator() as upstream:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.base_url)
        core = llmcore.load(
            {"llm": {"provider": "openai", "model": "gpt-4o-mini"}, "voice": {"provider": "speaker"}}
        )
        calls: list[Callable[[], object]] = [
            lambda: core.llm.chat("Hello", model=KEY),
            lambda: core.llm.chat("Hello", model=f"openai:{KEY}"),
            lambda: asyncio.run(core.llm.achat("Hello", model=KEY)),
            lambda: list(core.llm.stream("Hello", model=KEY)),
            lambda: core.llm.generate_completion("Hello", model=KEY),
            lambda: core.llm.count_tokens("Hello", model=KEY),
            lambda: core.llm.price(Usage(input_tokens=1, output_tokens=1), model=KEY),
            lambda: core.voice.synthesize("Hello", model=KEY),
        ]
        for call in calls:
            with pytest.raises(BadRequest, match="model looks like an API key") as caught:
                call()
            assert KEY not in f"{caught.value!r} {caught.value} {vars(caught.value)}"
        assert (upstream.requests, speaker.requests) == ([], [])
        assert core.usage.by("model") == []
        core.close()


@pytest.mark.parametrize(
    ("configuration", "place"),
    [
        ({"llm": {"model": KEY}}, "the model in [llm]"),
        ({"llm": {"model": "sk-x"}}, "the model in [llm]"),
        ({"models": {"fast": f"openai:{KEY}"}}, "the model in [models]"),
        ({"models": {"fast": ["echo:echo", KEY]}}, "the model in [models]"),
        ({"models": {KEY: "echo:echo"}}, "a name in [models]"),
        ({"budgets": [{"limit": 1, "model": f"openai:{KEY}"}]}, "the model in [budgets.0]"),
        ({"limits": {f"openai:{KEY}": {"concurrency": 1}}}, "a name in [limits]"),
        ({"prices": {f"openai:{KEY}": {"input": 1, "output": 1}}}, "a name in [prices]"),
        ({"voice": {"provider": "espeak", "openai": {"model": KEY}}}, "the model in [voice.openai]"),
        ({"profiles": {"prod": {"llm": {"model": KEY}}}}, "the model in [llm]"),
    ],
    ids=str,
)
def test_no_configuration_takes_one(configuration: dict[str, Any], place: str, tmp_path: Path) -> None:
    import tomlkit

    file = tmp_path / "llmcore.toml"
    file.write_text(tomlkit.dumps(configuration))
    for source in (configuration, file):
        with pytest.raises(ConfigError) as caught:
            llmcore.load(source)
        assert f"{place} looks like an API key" in str(caught.value)
        assert KEY not in f"{caught.value!r} {caught.value}"


def test_no_variable_and_no_argument_takes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="looks like an API key"):
        llmcore.load({}, arguments={"llm": {"model": KEY}})
    monkeypatch.setenv("LLMCORE__LLM__MODEL", KEY)
    with pytest.raises(ConfigError, match="looks like an API key") as caught:
        llmcore.load({})
    assert KEY not in str(caught.value)


def test_the_command_line_takes_none(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    for arguments in (
        ("ask", "-m", KEY, "Hello"),
        ("ask", "-m", f"openai:{KEY}", "Hello"),
        ("count", "-m", KEY, "Hello"),
    ):
        done = cli(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "model looks like an API key" in done.stderr
        assert KEY not in done.stderr
    done = cli("config", "set", "llm.model", KEY)
    assert done.returncode == 3
    assert KEY not in done.stdout + done.stderr
