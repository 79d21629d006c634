"""Bad input is rejected before anything is sent, with the expected value and the nearest name."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import msgspec
import pydantic
import pytest

import llmcore
from llmcore.errors import BadRequest, MalformedReply
from llmcore.types import Message, Reply


@pytest.fixture
def core(scripted: Any) -> llmcore.Core:
    del scripted
    return llmcore.load({"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}})


@pytest.mark.parametrize(
    ("given", "said", "expected"),
    [
        ((None,), "there is no message to answer", "a text, or a list of messages"),
        (("",), "the prompt is empty", "a text that is not blank"),
        (("  \n",), "the prompt is empty", "a text that is not blank"),
        (([],), "there is no message to answer", "a text, or a list of messages"),
        ((42,), "messages must be a list of messages, got int", '[{"role": "user", "content": "Hello"}]'),
        (
            ({"role": "user", "content": "a"},),
            "messages must be a list of messages, got dict",
            '[{"role": "user", "content": "Hello"}]',
        ),
        (
            (["Hello"],),
            "messages[0] must be a dict, got str",
            'a dict such as {"role": "user", "content": "Hello"}',
        ),
        (
            ([{"role": "user", "content": "a"}, {"content": "b"}],),
            "messages[1] has no role",
            "system, developer, user, assistant, tool, function",
        ),
        (
            ([{"role": "user"}],),
            "messages[0] has no content",
            'a dict such as {"role": "user", "content": "Hello"}',
        ),
        (
            ([{"role": "user", "content": ""}],),
            "messages[0].content must not be empty",
            "a text that is not blank, or a part",
        ),
        (
            ([{"role": "user", "content": 7}],),
            "messages[0].content must be text or a list of parts, got int",
            'a text, or parts such as [{"type": "text", "text": "Hello"}]',
        ),
        (
            ("half \ud800",),
            "the prompt contains a lone surrogate U+D800 at index 5",
            "text that can be encoded as UTF-8",
        ),
    ],
)
def test_a_malformed_prompt_is_refused(
    core: llmcore.Core, scripted: Any, given: Any, said: str, expected: str
) -> None:
    with pytest.raises(BadRequest, match=re.escape(said)) as caught:
        core.llm.chat(*given)
    assert caught.value.expected == expected
    assert caught.value.status is None
    assert scripted.requests == []


def test_a_misspelt_role_gets_the_nearest_one(core: llmcore.Core) -> None:
    with pytest.raises(BadRequest) as caught:
        core.llm.chat([{"role": "asistant", "content": "a"}])
    assert (caught.value.suggestion, caught.value.where) == ("assistant", "messages[0].role")


def test_an_unknown_parameter_gets_the_nearest_one_and_a_line_to_paste(
    core: llmcore.Core, scripted: Any
) -> None:
    with pytest.raises(BadRequest) as caught:
        core.llm.chat("Hello", temprature=1)  # type: ignore[call-arg]
    assert str(caught.value) == (
        "unknown parameter `temprature` for the llm provider `scripted`\n"
        "  = expected: frequency_penalty, max_tokens, presence_penalty, response_format, seed, stop, temperature, "
        "tool_choice, tools, top_p\n"
        "  = help: did you mean `temperature`?\n"
        "  = fix: replace temprature=1 by temperature=1"
    )
    assert scripted.requests == []


@pytest.mark.parametrize(
    "given", [{"cache": "refrsh"}, {"cache": 1.5}, {"timeout": 0}, {"timeout": "soon"}, {"timeout": -1}]
)
def test_call_options_are_checked(core: llmcore.Core, scripted: Any, given: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        core.llm.chat("Hello", **given)
    assert next(iter(given)) in str(caught.value)
    assert caught.value.expected
    assert scripted.requests == []


def test_values_that_are_not_json_are_rejected(core: llmcore.Core, scripted: Any) -> None:
    with pytest.raises(BadRequest, match=r"^stop must be a JSON value, got object"):
        core.llm.chat("Hello", stop=object())  # type: ignore[arg-type]
    assert scripted.requests == []


def test_system_history_and_text_speak_in_that_order(core: llmcore.Core, scripted: Any) -> None:
    history: list[Message] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    core.llm.chat("c", messages=history, system="Be brief.")
    assert [message["content"] for message in scripted.requests[0].messages] == ["Be brief.", "a", "b", "c"]


def test_images_and_a_vendors_own_fields_pass_through_untouched(core: llmcore.Core, scripted: Any) -> None:
    message: Any = {
        "role": "user",
        "content": [
            {"type": "text", "text": "What?"},
            {"type": "image_url", "image_url": {"url": "data:,x"}},
        ],
        "vendor_field": {"kept": True},
    }
    core.llm.chat([message])
    assert scripted.requests[0].messages == [message]


def test_a_parameter_of_none_is_left_out(core: llmcore.Core, scripted: Any) -> None:
    core.llm.chat("Hello", temperature=None)
    assert scripted.requests[0].parameters == {}


def test_generate_completion_and_generate_chat_give_the_text(core: llmcore.Core) -> None:
    assert core.llm.generate_completion("Hello").startswith("answer 1")
    assert core.llm.generate_chat([{"role": "user", "content": "Hi"}]).startswith("answer 2")


@dataclasses.dataclass
class City:
    name: str
    people: int = 0


class Country(msgspec.Struct):
    name: str
    cities: list[City]


class Planet(pydantic.BaseModel):
    name: str
    moons: int = 0


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (City, '{"name":"Paris","people":2}', City("Paris", 2)),
        (
            Country,
            '{"name":"France","cities":[{"name":"Paris","people":2}]}',
            Country("France", [City("Paris", 2)]),
        ),
        (Planet, '{"name":"Mars","moons":2}', Planet(name="Mars", moons=2)),
    ],
)
def test_an_answer_is_an_instance_of_the_requested_type(
    core: llmcore.Core, scripted: Any, kind: type, text: str, value: object
) -> None:
    scripted.script.append(Reply(text=text))
    assert core.llm.chat("Which?", response_format=kind).parsed == value
    again = core.llm.chat("Which?", response_format=kind)
    assert (again.cached, again.parsed) == (True, value)
    wire = scripted.requests[0].parameters["response_format"]["json_schema"]
    assert (wire["name"], wire["strict"]) == (kind.__name__, True)
    assert wire["schema"]["type"] == "object"
    assert wire["schema"]["additionalProperties"] is False
    assert wire["schema"]["required"] == list(wire["schema"]["properties"])


def test_a_schema_as_a_dict_is_wrapped_and_a_wire_format_passes_through(
    core: llmcore.Core, scripted: Any
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    core.llm.chat("a", response_format=schema)
    core.llm.chat("b", response_format={"type": "json_object"})
    assert scripted.requests[0].parameters["response_format"]["json_schema"]["schema"] == schema
    assert scripted.requests[1].parameters["response_format"] == {"type": "json_object"}


def test_an_answer_that_does_not_fit_is_an_error_that_holds_it(core: llmcore.Core, scripted: Any) -> None:
    scripted.script.append(Reply(text='{"name": 7}'))
    with pytest.raises(MalformedReply, match="the answer is not a City") as caught:
        core.llm.chat("Which?", response_format=City)
    assert caught.value.partial == '{"name": 7}'


def test_a_type_without_a_schema_is_refused(core: llmcore.Core) -> None:
    with pytest.raises(BadRequest, match="response_format"):
        core.llm.chat("Which?", response_format=complex)
