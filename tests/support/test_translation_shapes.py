"""Fields of a wrong type are refused by name, whatever they are: none makes the translation fail."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.errors import BadRequest
from llmcore.support.translation import translate_body


@pytest.mark.parametrize("wrong", [[], {}, [[]], 5])
@pytest.mark.parametrize(
    ("source", "make"),
    [
        ("messages", lambda wrong: {"messages": [{"role": wrong, "content": "Hello"}]}),
        ("messages", lambda wrong: {"messages": [{"role": "user", "content": [{"type": wrong}]}]}),
        ("chat", lambda wrong: {"messages": [{"role": wrong, "content": "Hello"}]}),
        ("chat", lambda wrong: {"messages": [{"role": "user", "content": [{"type": wrong}]}]}),
        ("responses", lambda wrong: {"input": [{"type": wrong}]}),
        ("responses", lambda wrong: {"input": [{"role": wrong, "content": "Hello"}]}),
        ("responses", lambda wrong: {"input": [{"role": "user", "content": [{"type": wrong}]}]}),
    ],
)
def test_a_discriminator_of_another_type_is_refused(source: str, make: Any, wrong: Any) -> None:
    for target in {"chat", "messages", "responses"} - {source}:
        with pytest.raises(BadRequest):
            translate_body(make(wrong), source, target)
