"""SSML is recognised by its root element, also after a prolog, and spoken in one piece."""

from __future__ import annotations

from typing import Any

import pytest

import llmcore
from llmcore.errors import TextTooLong


def load_core(options: dict[str, Any] | None = None) -> llmcore.Core:
    voice = {"provider": "speaker", "speaker": options or {}}
    return llmcore.load({"voice": voice, "cache": {"provider": "memory"}})


def test_ssml_is_spoken_in_one_piece(speaker: Any) -> None:
    text = "<speak>One. <break time='1s'/> Two. &lt;Three&gt;.</speak>"
    load_core().voice.synthesize(text)
    assert [request.text for request in speaker.requests] == [text]
    with pytest.raises(TextTooLong, match="SSML cannot be divided"):
        load_core({"limit": 20}).voice.synthesize(text)


@pytest.mark.parametrize(
    "before",
    [
        "\ufeff",
        "<?xml version='1.0' encoding='UTF-16'?>\n",
        "<!-- a -->\n<!-- <speak>b</speak> --> ",
        "\ufeff <?a?>",
    ],
)
def test_ssml_is_found_after_a_prolog_and_sent_without_it(speaker: Any, before: str) -> None:
    text = "<speak version='1.1'>One. Two.</speak>"
    voice = load_core().voice
    assert voice.synthesize(before + text + "\n").billed_characters == len(text)
    assert [request.text for request in speaker.requests] == [text]
    assert voice.synthesize(text).cached
    alignment = voice.synthesize_with_timestamps(before + text + "\n").alignment
    assert "".join(letter for letter, _, _ in alignment) == before + text + "\n"


@pytest.mark.parametrize("text", ["<speaker>One. Two.", "<!-- One. --> Two.", "a <speak>One. Two."])
def test_text_that_is_not_ssml_is_spoken_unchanged(speaker: Any, text: str) -> None:
    load_core().voice.synthesize(text)
    assert len(speaker.requests) == 2
