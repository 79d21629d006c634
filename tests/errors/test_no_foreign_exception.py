"""Native code that panics, trio, pickle: each becomes an error of llmcore, with no foreign exception chained to it."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle  # noqa: TID251 - what is tested is that others may
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio

import llmcore
from llmcore import errors
from llmcore.errors import LLMCoreError, PluginBroken, ProviderError, StorageError, VoiceError
from llmcore.interrupts import is_interrupt
from llmcore.types import Delta, Reply, TokenCount, Usage


class PanicException(BaseException):
    """As pyo3 raises it for a panic of an extension in Rust."""


PANIC = PanicException("called `Option::unwrap()` on a `None` value")
CONFIG: dict[str, Any] = {
    "llm": {"provider": "scripted"},
    "voice": {"provider": "hum"},
    "cache": {"provider": "memory"},
    "retry": {"attempts": 1},
}


@pytest.fixture
def core(scripted: ModuleType) -> Iterator[llmcore.Core]:
    scripted.script.clear()
    with llmcore.load(CONFIG) as core:
        yield core


async def _collect(deltas: Any) -> list[Delta]:
    return [delta async for delta in deltas]


def panics(*_: Any, **__: Any) -> Any:
    raise PANIC


def clean(error: LLMCoreError) -> bool:
    return error.__cause__ is None and error.__context__ is None


# -- panics


CALLS: dict[str, Callable[[llmcore.Core], object]] = {
    "chat": lambda core: core.llm.chat("q"),
    "achat": lambda core: asyncio.run(core.llm.achat("q")),
    "stream": lambda core: list(core.llm.stream("q")),
    "astream": lambda core: asyncio.run(_collect(core.llm.astream("q"))),
}


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        *((name, PANIC) for name in CALLS),
        *((name, [Delta(text="he"), PANIC]) for name in ("stream", "astream")),
    ],
)
def test_a_panic_of_a_provider_is_an_error_of_ours(
    core: llmcore.Core, scripted: Any, call: str, answer: object
) -> None:
    scripted.script[:] = [answer]
    with pytest.raises(ProviderError, match="PanicException: called `Option::unwrap") as caught:
        CALLS[call](core)
    assert clean(caught.value)
    assert core.llm.chat("another").text, "the Core works on"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, asyncio.CancelledError])
def test_interrupts_are_raised_unchanged(
    core: llmcore.Core, scripted: Any, stop: type[BaseException]
) -> None:
    scripted.script[:] = [stop(), stop()]
    with pytest.raises(stop):
        core.llm.chat("q")
    with pytest.raises(stop):
        asyncio.run(core.llm.achat("q"))


def test_interrupts_are_distinguished_from_failures() -> None:
    interrupts = [KeyboardInterrupt(), SystemExit(), GeneratorExit(), asyncio.CancelledError()]
    interrupts += [pytest.skip.Exception(""), BaseExceptionGroup("", [ValueError(), KeyboardInterrupt()])]
    failures = [PANIC, ValueError(), BaseExceptionGroup("", [ValueError(), PANIC])]
    assert [*map(is_interrupt, interrupts)] == [True] * len(interrupts)
    assert [*map(is_interrupt, failures)] == [False] * len(failures)

    async def run_cancelled() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep(1)
            except BaseException as error:
                interrupts.append(error)
                raise

    trio.run(run_cancelled)
    assert is_interrupt(interrupts[-1])


def test_a_panic_while_counting_is_an_error_and_loses_no_paid_answer(
    core: llmcore.Core, scripted: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scripted.Scripted, "count_tokens", panics)
    monkeypatch.setattr(scripted.Scripted, "price", panics, raising=False)
    with pytest.raises(ProviderError, match="PanicException") as caught:
        core.llm.count_tokens("text")
    assert clean(caught.value)
    scripted.script[:] = [Reply(text="paid", usage=Usage())]
    with caplog.at_level(logging.WARNING, "llmcore"):
        assert core.llm.chat("q").text == "paid"
    assert "cannot count the tokens of a request: PanicException" in caplog.text


def test_a_foreign_exception_of_a_counter_is_an_error_of_ours(
    core: llmcore.Core, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wordless(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def fail(*_: Any) -> Any:
        raise Wordless

    monkeypatch.setattr(scripted.Scripted, "count_tokens", fail)
    with pytest.raises(ProviderError, match="failed: Wordless") as caught:
        core.llm.count_tokens([{"role": "user", "content": "hi"}])
    assert clean(caught.value)


@pytest.mark.slow
def test_a_panic_at_creation_names_the_plugin(core: llmcore.Core, scripted: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(scripted.Scripted, "__init__", panics)
    with pytest.raises(PluginBroken, match="could not be created: PanicException") as caught:
        core.llm.chat("q")
    assert clean(caught.value)


def test_a_panic_of_a_voice_or_a_storage_is_an_error_of_its_kind(
    core: llmcore.Core, scripted: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr(scripted.Hum, "synthesize", panics)
    with pytest.raises((VoiceError, ProviderError), match="PanicException"):
        core.voice.synthesize("hello")
    from llmcore_storage_fs.provider import FsStorage

    monkeypatch.setattr(FsStorage, "load", panics)
    with (
        llmcore.load({"storage": {"provider": "fs", "fs": {"root": str(tmp_path)}}}) as other,
        pytest.raises(StorageError, match="PanicException"),
    ):
        other.storage.load("a")


def test_a_cache_or_an_observer_that_panics_fails_no_call(
    scripted: Any, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from llmcore.builtin.file_cache import FileCache

    for name in ("get", "aget", "set", "aset", "acquire", "aacquire", "version"):
        monkeypatch.setattr(FileCache, name, panics)
    monkeypatch.setattr(scripted.Listener, "on_call", panics)
    given = CONFIG | {"cache": {"provider": "file"}, "observers": {"use": ["listener"]}}
    with caplog.at_level(logging.WARNING, "llmcore"), llmcore.load(given) as core:
        for number in range(5):
            assert core.llm.chat(f"q{number}").text
            assert asyncio.run(core.llm.achat(f"a{number}")).text
    assert "observer Listener raised PanicException" in caplog.text
    assert "cache `file` fails" in caplog.text


# -- event loops


def test_under_trio_an_error_says_that_asyncio_is_needed(core: llmcore.Core) -> None:
    async def all_of_them() -> None:
        for call in (
            lambda: core.llm.achat("q"),
            lambda: _collect(core.llm.astream("q")),
            lambda: core.voice.asynthesize("q"),
            lambda: core.cache.aget("k"),
            core.aclose,
        ):
            with pytest.raises(LLMCoreError, match="event loop of asyncio, got trio") as caught:
                await call()
            assert clean(caught.value)
        assert (await trio.to_thread.run_sync(core.llm.chat, "q")).text

    trio.run(all_of_them)


def test_without_an_event_loop_an_error_says_so(core: llmcore.Core) -> None:
    waiting = core.llm.achat("q")
    with pytest.raises(LLMCoreError, match="event loop of asyncio, got none"):
        waiting.send(None)
    assert asyncio.run(core.llm.achat("q")).text


def test_event_loops_that_follow_each_other_share_a_core(core: llmcore.Core) -> None:
    assert [asyncio.run(core.llm.achat(f"q{number}")).text != "" for number in range(3)] == [True] * 3


# -- pickle and copy


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("name", ["", "llm", "cache", "storage", "voice", "usage", "settings", "catalogue"])
def test_process_bound_objects_cannot_be_copied(
    core: llmcore.Core, name: str, copied: Callable[[Any], Any]
) -> None:
    with pytest.raises(LLMCoreError, match=r"cannot be pickled or copied.*of this process"):
        copied(getattr(core, name) if name else core)


COPIES = [lambda value: pickle.loads(pickle.dumps(value)), copy.copy, copy.deepcopy]  # noqa: S301 - our own


@pytest.mark.parametrize("copied", COPIES, ids=["pickle", "copy", "deepcopy"])
def test_answers_survive_pickle_and_copy(core: llmcore.Core, copied: Callable[[Any], Any]) -> None:
    answers = [core.llm.chat("q"), *core.llm.stream("r"), core.voice.synthesize("hello"), core.usage.totals()]
    for answer in answers:
        assert copied(answer) == answer
    count = copied(TokenCount(5, exact=False, bound=9))
    assert (count, count.exact, count.bound) == (5, False, 9)


@pytest.mark.parametrize("copied", COPIES, ids=["pickle", "copy", "deepcopy"])
@pytest.mark.parametrize("name", errors.__all__)
def test_errors_survive_pickle_and_copy(name: str, copied: Callable[[Any], Any]) -> None:
    kind: type[LLMCoreError] = getattr(errors, name)
    error = kind("what happened", expected="what is right", fix="how to mend it")
    error.where, error.notes = "here", ("a note",)
    again = copied(error)
    assert type(again) is kind
    assert str(again) == str(error)
    # tblib, which `distributed` loads, also gives an OSError its errno.
    assert vars(error).items() <= vars(again).items()


def test_all_faults_of_a_configuration_survive_pickle() -> None:
    with pytest.raises(errors.ConfigError) as caught:
        llmcore.load({"llm": {"provder": "echo"}, "cach": {}})
    again = COPIES[0](caught.value)
    assert again.render() == caught.value.render()
    assert len(again.faults) == len(caught.value.faults) > 1
