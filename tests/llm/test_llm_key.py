"""The cache never answers wrongly: one change on the wire is another key, another spelling is the same one."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcore.llm.key import NOT_IN_KEY, STATEFUL, KeyMaker
from llmcore.types import ChatRequest

GUIDE = Path(__file__).parents[2] / "docs/guides/caching.md"
KEYS = KeyMaker(provider="openai", identity={"base_url": "https://a", "account": "x"}, namespace="default")

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
parameters = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name not in NOT_IN_KEY | {"model", "messages"}),
    json_values,
    max_size=4,
)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": st.text(max_size=10)}),
    min_size=1,
    max_size=3,
)
requests = st.builds(
    ChatRequest, model=st.text(min_size=1, max_size=8), messages=messages, parameters=parameters
)


def reorder(value: Any, chance: random.Random) -> Any:
    """Return *value* with every dict in another order and every whole number respelt."""
    if isinstance(value, dict):
        items = [(name, reorder(item, chance)) for name, item in value.items()]
        chance.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        return [reorder(item, chance) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def normalise(value: Any) -> Any:
    """Return *value* as JSON knows it: 1 and 1.0 are one number, True is none."""
    if isinstance(value, dict):
        return {name: normalise(item) for name, item in value.items()}
    if isinstance(value, list):
        return [normalise(item) for item in value]
    if isinstance(value, bool):
        return ("bool", value)
    return value


streaming = st.sampled_from(
    [{}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}]
)


@pytest.mark.slow
@given(requests, st.randoms(use_true_random=False), streaming)
def test_order_the_spelling_of_numbers_and_streaming_do_not_matter(
    request: ChatRequest, chance: random.Random, streamed: dict[str, Any]
) -> None:
    other = ChatRequest(
        model=request.model,
        messages=[reorder(dict(message), chance) for message in request.messages],
        parameters=reorder({**request.parameters, **streamed}, chance),
    )
    assert KEYS.make_key(other) == KEYS.make_key(request)


@pytest.mark.slow
@given(requests, requests)
def test_two_requests_share_a_key_only_if_they_are_the_same(one: ChatRequest, other: ChatRequest) -> None:
    assert (KEYS.make_key(one) == KEYS.make_key(other)) == (normalise(one.body()) == normalise(other.body()))


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(requests, st.data())
def test_one_changed_field_is_another_key(request: ChatRequest, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["model", "messages", *request.parameters, "a new one"]))
    body = request.body()
    body[name] = data.draw(
        (messages if name == "messages" else json_values).filter(
            lambda new: normalise(new) != normalise(body.get(name))
        )
    )
    if name == "a new one" and body[name] is None:
        return
    changed = ChatRequest(model=body.pop("model"), messages=body.pop("messages"), parameters=body)
    assert KEYS.make_key(changed) != KEYS.make_key(request)


@pytest.mark.parametrize("name", sorted(NOT_IN_KEY))
def test_fields_without_effect_on_the_answer_are_not_in_the_key(name: str) -> None:
    bare = ChatRequest(model="m", messages=[{"role": "user", "content": "a"}])
    assert KEYS.make_key(
        ChatRequest(model="m", messages=bare.messages, parameters={name: "x"})
    ) == KEYS.make_key(bare)


def test_the_guide_lists_what_is_not_in_the_key_and_what_is_not_cached() -> None:
    listed = re.findall(r"`(\w+)`", GUIDE.read_text(encoding="utf-8"))
    assert set(listed) >= NOT_IN_KEY | STATEFUL


@pytest.mark.parametrize(
    "other",
    [
        KeyMaker(provider="azure", identity={"base_url": "https://a", "account": "x"}, namespace="default"),
        KeyMaker(provider="openai", identity={"base_url": "https://b", "account": "x"}, namespace="default"),
        KeyMaker(provider="openai", identity={"base_url": "https://a", "account": "y"}, namespace="default"),
        KeyMaker(provider="openai", identity={"base_url": "https://a", "account": "x"}, namespace="other"),
    ],
)
def test_provider_address_account_and_namespace_are_in_the_key(other: KeyMaker) -> None:
    request = ChatRequest(model="m", messages=[{"role": "user", "content": "a"}])
    assert other.make_key(request) != KEYS.make_key(request)


def test_a_key_changes_only_with_its_version() -> None:
    request = ChatRequest(
        model="m", messages=[{"role": "user", "content": "Grüße"}], parameters={"temperature": 0.5}
    )
    assert KEYS.make_key(request) == "r:c25e079bc9158daa29e78e84a14d65eb104fe95dfdf03f96b710fd13aa3c1da4"
