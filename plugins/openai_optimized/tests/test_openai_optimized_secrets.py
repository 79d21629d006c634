"""The key is never shown: in reprs, logs, errors, or the frames of a traceback."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest

from llmcore.errors import ConfigError, ProviderError
from llmcore.types import ChatRequest, Secret
from llmcore_openai_optimized import OptimizedOpenAIProvider
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider
from llmcore_testing.simulator import Fault, Simulator

CANARY = "sk-canary-4f1d9c"
MESSAGES: Any = [{"role": "user", "content": "Hello"}]
REQUEST = ChatRequest(model="gpt-6-sol", messages=MESSAGES, timeout_s=2.0, idle_s=2.0)


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(params=["key", "azure"])
def provider(request: pytest.FixtureRequest, upstream: Simulator) -> Iterator[OpenAIProvider]:
    key = Secret(CANARY)
    if request.param == "azure":
        options = OpenAIOptions(api_key=key, azure_endpoint=upstream.url, api_version="2024-10-21")
    else:
        options = OpenAIOptions(api_key=key, base_url=upstream.base_url)
    made = OpenAIProvider(options)
    yield made
    made.close()


def find_leaks(root: object) -> list[str]:
    """Return the paths from *root*, through attributes and containers, to a text that holds the canary."""
    found: list[str] = []
    seen: set[int] = set()
    pending: list[tuple[str, object, int]] = [("root", root, 0)]
    while pending:
        path, value, depth = pending.pop()
        if isinstance(value, str | bytes | bytearray):
            text = value if isinstance(value, str) else value.decode("latin-1")
            found += [path] if CANARY in text else []
        elif id(value) not in seen and depth < 12 and not isinstance(value, ModuleType | FunctionType | type):
            seen.add(id(value))
            found += [f"repr {path}"] if CANARY in repr(value) else []
            pending += [(f"{path}{step}", each, depth + 1) for step, each in _list_members(value)]
    return found


def _list_members(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, Secret):
        return
    if isinstance(value, dict):
        yield from ((f"[{key!r}]", each) for key, each in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{at}]", each) for at, each in enumerate(value))
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    for name in {*getattr(value, "__dict__", ()), *([slots] if isinstance(slots, str) else slots)}:
        try:
            yield f".{name}", getattr(value, name)
        except Exception:  # noqa: BLE001, S112 - an attribute that cannot be read shows nothing
            continue


def list_contents(error: BaseException) -> list[Any]:
    """Return the error, its words, and the local variables of every frame that it passed."""
    frames = [
        (frame.f_code.co_name, dict(frame.f_locals))
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if "llmcore" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename
    ]
    words = [str(error), repr(error), *traceback.format_exception(error)]
    return [vars(error), error.__cause__, error.__context__, words, frames]


def ask(provider: OpenAIProvider, way: str) -> None:
    async def drain() -> None:
        async for _ in provider.astream(REQUEST):
            pass

    if way == "complete":
        provider.complete(REQUEST)
    elif way == "stream":
        list(provider.stream(REQUEST))
    elif way == "list_models":
        provider.list_models()
    else:
        asyncio.run(provider.acomplete(REQUEST) if way == "acomplete" else drain())


def test_the_search_finds_a_key_that_lies_open() -> None:
    class Holder:
        def __init__(self) -> None:
            self.inner = {"deep": [CANARY]}

    assert find_leaks([Holder()])


def test_the_key_reaches_the_server_and_nothing_else(upstream: Simulator, provider: OpenAIProvider) -> None:
    for way in ("complete", "stream", "acomplete", "astream"):
        ask(provider, way)
    assert all(CANARY in repr(sorted(request.headers.items())) for request in upstream.requests)
    assert CANARY not in f"{provider!r} {provider!s} {vars(provider)!r}"
    shown = [vars(provider)[name] for name in ("_errors", "_templates", "_tier")]
    assert find_leaks(shown) == []


@pytest.mark.slow
@pytest.mark.parametrize("way", ["complete", "stream", "acomplete", "astream", "list_models"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(401, message=f"Incorrect API key provided: {CANARY}"),
        Fault.status(500, body=f"<p>{CANARY}</p>"),
        Fault.reset(),
        Fault.reset(after=3),
        Fault.hang(),
        Fault.bad_json(),
        Fault.redirect("http://127.0.0.1:9/"),
    ],
    ids=["echoed", "page", "reset", "broken", "hang", "json", "redirect"],
)
def test_no_error_holds_the_key_anywhere(
    upstream: Simulator,
    provider: OpenAIProvider,
    way: str,
    fault: Fault,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if way == "list_models" and fault.kind == "hang":
        fault = Fault.status(503)  # a list has no deadline of the caller's
    upstream.fail(fault)
    with caplog.at_level(logging.DEBUG), pytest.raises(ProviderError) as caught:
        ask(provider, way)
    assert CANARY not in caplog.text
    texts = list_contents(caught.value)
    assert texts[-1], "the error passed our frames"
    assert find_leaks(texts) == []


def test_the_compatible_provider_keeps_the_key_to_itself(upstream: Simulator, tmp_path: Any) -> None:
    folder = str(tmp_path / "cache")
    with OptimizedOpenAIProvider(
        model="gpt-6-sol", api_key=CANARY, base_url=upstream.base_url, cache_dir=folder
    ) as face:
        assert face.generate_completion("Hello")
        assert CANARY not in f"{face!r} {vars(face)!r}"
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Hello" in written
    assert CANARY.encode() not in written


def test_a_face_that_cannot_be_built_keeps_the_key_too() -> None:
    with pytest.raises(ConfigError) as caught:
        OptimizedOpenAIProvider(api_key=f"{CANARY}\x00")
    assert find_leaks(list_contents(caught.value)) == []
