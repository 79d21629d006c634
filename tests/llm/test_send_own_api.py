"""A provider that speaks one API gets every request in that one, a `chat` too."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import llmcore
from llmcore.errors import BadRequest
from llmcore.hookspecs import hookimpl

BODY = {"messages": [{"role": "user", "content": "Tell me of snow"}], "max_completion_tokens": 400}


@pytest.mark.parametrize("spoken", ["messages", "responses"])
def test_a_provider_without_chat_gets_every_request_in_its_own_api(
    spoken: str, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (entry,) = scripted.llmcore_llm_providers()
    entry = msgspec.structs.replace(entry, apis=frozenset({spoken}))
    monkeypatch.setattr(scripted, "llmcore_llm_providers", hookimpl(lambda: [entry]))
    with llmcore.load({"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}}) as core:
        assert core.llm.chat("Tell me of rain", system="Be brief", temperature=0.5).text
        assert list(core.llm.stream("Tell me of sun"))
        assert core.llm.send(BODY).raw["choices"]
        with pytest.raises(BadRequest) as caught:
            core.llm.chat("Hello", seed=1)
        assert caught.value.where == "seed"
    first, *others = scripted.requests
    assert {request.api for request in (first, *others)} == {spoken}
    assert not first.messages
    assert first.parameters["temperature"] == 0.5
    said = first.parameters["messages" if spoken == "messages" else "input"]
    assert said[-1] == {"role": "user", "content": "Tell me of rain"}
