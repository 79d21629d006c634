"""The light module, the options, and the key: where it is read, and when."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from llmcore.errors import ConfigError
from llmcore.types import Secret
from llmcore_testing.simulator import Simulator
from llmcore_voice_tts.plugin import ElevenLabsOptions, create, offline


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator(api_keys={"sk_right"}) as simulator:
        yield simulator


def test_the_plugin_module_and_its_traits_load_no_sdk() -> None:
    program = (
        "import sys, llmcore_voice_tts.plugin as p;"
        "entry = next(iter(p.llmcore_voice_providers()));"
        "traits = entry.offline(entry.options()).voice_traits(None, {});"
        "print([m for m in ('elevenlabs', 'httpx', 'pydantic', 'asyncio') if m in sys.modules], traits.model)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "eleven_multilingual_v2"]


def test_a_missing_key_is_reported_with_its_variable_and_an_alternative() -> None:
    with pytest.raises(ConfigError) as caught:
        create(ElevenLabsOptions())
    assert caught.value.code == "LC201"
    assert caught.value.fix == "export ELEVENLABS_API_KEY=sk_..."
    assert "espeak" in str(caught.value)


def test_a_key_that_no_header_holds_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        create(ElevenLabsOptions(api_key=Secret("sk_canary\nbad")))
    assert caught.value.code == "LC204"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["api.elevenlabs.io", "ftp://h", "https://n:p@h", "http://h?key=x", "https://"]
)
def test_an_invalid_address_is_rejected(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create(ElevenLabsOptions(api_key=Secret("k"), base_url=address))
    assert caught.value.where == "[voice.elevenlabs] base_url"


def test_the_key_is_read_when_the_call_is_made(upstream: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_right\n")
    voice = create(ElevenLabsOptions(base_url=upstream.url))
    assert voice.synthesize("Hello").audio
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_wrong")
    with pytest.raises(Exception, match="Invalid API key") as caught:
        voice.synthesize("Hello")
    assert "ELEVENLABS_API_KEY" in str(caught.value)
    monkeypatch.delenv("ELEVENLABS_API_KEY")
    with pytest.raises(ConfigError, match="is not set"):
        voice.synthesize("Hello")
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_right")
    assert asyncio.run(voice.asynthesize("Hello")).audio
    voice.close()


def test_a_key_of_the_options_wins_over_the_environment(
    upstream: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_wrong")
    voice = create(ElevenLabsOptions(api_key=Secret("sk_right"), base_url=upstream.url))
    assert voice.synthesize("Hello").audio
    voice.close()


def test_the_sdk_never_takes_a_key_by_itself(upstream: Simulator) -> None:
    # The vendor's client reads the variable when it is imported: only a fresh process shows whether it is used.
    program = (
        "import os; os.environ['ELEVENLABS_API_KEY'] = 'sk_wrong'; import elevenlabs;"
        "from llmcore.types import Secret; from llmcore_voice_tts.plugin import *;"
        f"v = create(ElevenLabsOptions(api_key=Secret('sk_right'), base_url={upstream.url!r}));"
        "print(v.synthesize('Hello').characters, v._sdk.get().client._client_wrapper._api_key)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "5 None"


def test_traits_need_no_key() -> None:
    assert offline(ElevenLabsOptions()).voice_traits(None, {}).identity["key"] == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_opens_its_own_connections(upstream: Simulator) -> None:
    voice = create(ElevenLabsOptions(api_key=Secret("sk_right"), base_url=upstream.url))
    voice.synthesize("Hello")
    child = os.fork()
    if not child:
        os._exit(0 if voice.synthesize("From the child").characters == 14 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert voice.synthesize("Hello again").audio
    voice.close()


def test_it_serves_several_loops_in_turn_and_closes_in_each(upstream: Simulator) -> None:
    voice = create(ElevenLabsOptions(api_key=Secret("sk_right"), base_url=upstream.url))

    async def speak() -> int:
        return (await voice.asynthesize("Hello")).characters

    assert [asyncio.run(speak()) for _ in range(3)] == [5, 5, 5]
    voice.close()
    voice.close()
