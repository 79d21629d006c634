"""Failures of servers: each error names the bad value, the place, what is valid, the nearest name and a fix that works."""

from __future__ import annotations

import asyncio
import shlex
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.cli import main
from llmcore.core import Core
from llmcore.errors import LLMCoreError, ProviderError, Unavailable
from llmcore_testing.simulator import Fault, Simulator
from tests.kits.mistakes import KEY, Mistake, Workshop, find_closed_port

CONFIG = """[llm]
provider = "openai"
model = "{model}"

[llm.openai]
base_url = "{url}"
api_key = "env:MY_KEY"

[retry]
attempts = {attempts}

[models]
safe = ["openai:tiny", "openai:small"]
"""


@pytest.fixture
def server() -> Iterator[Simulator]:
    with Simulator(models=["tiny", "small"], api_keys=[KEY]) as simulator:
        yield simulator


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setenv("MY_KEY", KEY)
    return Workshop(Path.cwd())


def write(
    shop: Workshop, server: Simulator, *, model: str = "tiny", attempts: int = 2, more: str = ""
) -> None:
    shop.write(CONFIG.format(model=model, url=server.base_url, attempts=attempts) + more)


def chat(core: Core) -> str:
    return core.llm.chat("Hi", cache=False).text


def check(error: LLMCoreError, mistake: Mistake) -> None:
    text = error.render()
    assert mistake.value in text, text
    assert mistake.place in f"{error.where}\n{error.excerpt}", text
    assert mistake.valid in (error.expected or ""), text
    if mistake.nearest is not None:
        assert error.suggestion == mistake.nearest, text
    assert mistake.code in ("", error.code), text
    for said in mistake.says:
        assert said in text, text
    assert error.fix, text


def chat_late(core: Core) -> Any:
    backend = core.backend("llm")
    assert backend.provider is not None  # its creation counts against the deadline
    assert backend.offline is not None
    return core.llm.chat("Hi", timeout=2)


FAULTS: list[tuple[Mistake, Fault, Callable[[Core], Any]]] = [
    (Mistake("500", "status 500", "llmcore.toml:6:12", "status 200", code="LC401", says=("2 attempts in ",)),
     Fault.status(500), chat),
    (Mistake("503", "status 503", "llmcore.toml:6:12", "status 200", code="LC401"), Fault.status(503), chat),
    (Mistake("empty", "status 502 and no message", "llmcore.toml:6:12", "status 200"), Fault.status(502, body=""), chat),
    (Mistake("429", "status 429", "llmcore.toml:6:12", "fewer requests a minute", code="LC402"),
     Fault.status(429, retry_after=0), chat),
    (Mistake("context", "status 400", "llmcore.toml:3:9", "a model with a larger context", code="LC300"),
     Fault.status(400, code="context_length_exceeded"), chat),
    (Mistake("parameter", "temperature=9", "temperature=9", "a request that the server accepts", code="LC300"),
     Fault.status(400, body={"error": {"message": "temperature must be at most 2", "param": "temperature"}}),
     lambda core: core.llm.chat("Hi", temperature=9)),
    (Mistake("timeout", "timeout=2", "timeout=2", "before the deadline (timeout=, or deadline in [retry])", code="LC404"),
     Fault.hang(), chat_late),
    (Mistake("cut stream", "finish_reason", "llmcore.toml:6:12", "a complete answer", code="LC405"),
     Fault.cut_stream(2), lambda core: list(core.llm.stream("Hi"))),
    (Mistake("quota", "status 429", "llmcore.toml:7:11", "quota left", code="LC403"),
     Fault.status(429, code="insufficient_quota"), chat),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("mistake", "fault", "call"), FAULTS, ids=[row[0].name for row in FAULTS])
def test_an_error_of_the_server_is_reported_with_its_place_and_a_fix(
    mistake: Mistake, fault: Fault, call: Callable[[Core], Any], server: Simulator, shop: Workshop
) -> None:
    write(shop, server)
    for _ in range(2):
        server.fail(fault)
    error = shop.fail(call)
    check(error, mistake)
    assert isinstance(error, ProviderError)
    assert error.provider == "openai"
    assert error.model == "tiny"
    assert server.base_url in error.render()
    assert f"openai:tiny{f', status {error.status}' if error.status else ''}, " in error.render()
    assert error.elapsed_s is not None
    server.reset()
    assert error.fix
    if "without" in error.fix or "messages[" in error.fix:
        return  # a change of the call that only its author can make
    assert shop.paste(error.fix, call)


def test_more_attempts_outlast_a_server_that_fails_for_a_while(server: Simulator, shop: Workshop) -> None:
    write(shop, server, attempts=1)
    for _ in range(2):
        server.fail(Fault.status(500))
    error = shop.fail(chat)
    assert error.fix == "llmcore config set retry.attempts 8"
    assert shop.paste(error.fix, chat)


def test_a_key_that_is_refused_names_its_place_and_variable(
    server: Simulator, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(shop, server)
    monkeypatch.setenv("MY_KEY", "sk-not-accepted-0123456789")
    error = shop.fail(chat)
    check(error, Mistake("401", "status 401", "llmcore.toml:7:11", server.base_url, code="LC202"))
    assert 'api_key = "env:MY_KEY"' in (error.excerpt or ""), "a reference is not a secret"
    assert error.fix == "export MY_KEY=sk-..."
    assert "not-accepted" not in error.render()
    monkeypatch.setenv("MY_KEY", KEY)
    assert shop.paste(error.fix, chat)


def test_a_model_that_the_server_lacks_names_the_line(server: Simulator, shop: Workshop) -> None:
    write(shop, server, model="tinny")
    error = shop.fail(chat)
    check(error, Mistake("404", "`tinny`", "llmcore.toml:3:9", "a model that the server has", code="LC301"))
    assert error.fix == "llmcore models"
    assert len(server.requests) == 1  # rendering an error sends no request
    error = shop.fail(lambda core: core.llm.chat("Hi", model="smal"))
    check(error, Mistake("404", "`smal`", 'model="smal"', "a model that the server has", code="LC301"))


@pytest.mark.parametrize(
    "row",
    [
        ("tinny", [], "llmcore config set llm.model tiny"),
        ("tiny", ["-m", "smal"], "llmcore ask -m openai:small Hi"),
        ("tiny", ["-m", "one"], "llmcore config set models.one openai:small"),
    ],
)
def test_the_command_line_names_the_models_that_the_server_has(
    row: tuple[str, list[str], str],
    server: Simulator,
    shop: Workshop,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, arguments, fix = row
    write(shop, server, model=model, more='one = "openai:smal"\n')
    assert main(["ask", *arguments, "Hi"]) == 1
    shown = capsys.readouterr().err
    assert "  = expected: one of the models of the server: small, tiny\n" in shown
    assert f"  = fix: {fix}\n" in shown
    assert main(shlex.split(fix)[1:]) == 0
    if "config set" in fix:
        assert main(["ask", *arguments, "Hi"]) == 0


def test_an_address_without_its_path_is_mended(server: Simulator, shop: Workshop) -> None:
    shop.write(CONFIG.format(model="tiny", url=server.url, attempts=2))
    error = shop.fail(chat)
    check(error, Mistake("path", server.url, "llmcore.toml:6:12", "a base URL without", code="LC301"))
    assert shop.paste(error.fix or "", chat)


def test_a_port_at_which_nothing_listens_names_the_line(shop: Workshop) -> None:
    address = f"http://127.0.0.1:{find_closed_port()}/v1"
    shop.write(CONFIG.format(model="tiny", url=address, attempts=2))
    error = shop.fail(chat)
    check(error, Mistake("refused", address, "llmcore.toml:6:12", "can be reached", code="LC401"))
    assert "2 attempts in " in error.render()
    assert error.fix == "llmcore doctor"


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("127.0.0.1:{port}/v1", "http://127.0.0.1:{port}/v1"),
        ("htp://127.0.0.1:{port}/v1", "http://127.0.0.1:{port}/v1"),
        ("http//127.0.0.1:{port}/v1", "http://127.0.0.1:{port}/v1"),
    ],
)
def test_a_corrected_address_keeps_its_valid_parts(
    address: str, meant: str, server: Simulator, shop: Workshop
) -> None:
    port = server.url.rpartition(":")[2]
    address, meant = address.format(port=port), meant.format(port=port)
    shop.write(CONFIG.format(model="tiny", url=address, attempts=2))
    error = shop.fail(chat)
    assert (error.code, error.suggestion) == ("LC203", meant)
    assert f"`{address}`" in error.message
    assert shop.paste(error.fix or "", chat)


@pytest.mark.parametrize("secret", ["sk-secret0123456789", "https://me:secret0123456789@host.example/v1"])
def test_an_address_that_holds_a_secret_is_not_shown(secret: str, shop: Workshop) -> None:
    shop.write(CONFIG.format(model="tiny", url=secret, attempts=2))
    error = shop.fail(chat)
    assert error.code == "LC203"
    assert "secret0123456789" not in error.render()


@pytest.mark.parametrize("how", ["chat", "stream", "achat", "astream"])
def test_an_alias_whose_models_all_fail_reports_every_failure(
    how: str, server: Simulator, shop: Workshop
) -> None:
    write(shop, server, attempts=1)
    server.fail(Fault.status(503, message="The first is overloaded."))
    server.fail(Fault.status(500, message="The second has failed."))
    with pytest.raises(Unavailable) as caught, llmcore.load() as core:
        _use(core, how)
    text = caught.value.render()
    for said in ("openai:tiny", "openai:small", "status 503: The first", "status 500: The second", "`safe`"):
        assert said in text, text
    assert [failure.model for failure in caught.value.failures] == ["tiny", "small"]
    assert (caught.value.where or "").startswith("llmcore.toml:13:")


def _use(core: Core, how: str) -> None:
    async def collect() -> None:
        if how == "achat":
            await core.llm.achat("Hi", model="safe")
        else:
            async for _ in core.llm.astream("Hi", model="safe"):
                pass

    if how == "chat":
        core.llm.chat("Hi", model="safe")
    elif how == "stream":
        list(core.llm.stream("Hi", model="safe"))
    elif how == "unknown parameter":
        core.llm.chat("Hi", temprature=1)  # type: ignore[call-arg]
    else:
        asyncio.run(collect())


@pytest.mark.slow
@pytest.mark.parametrize("how", ["chat", "stream", "achat", "astream", "unknown parameter"])
@pytest.mark.parametrize("variable", ["", "1"])
def test_a_traceback_ends_at_the_public_call(
    how: str, variable: str, server: Simulator, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bool(variable)
    if whole:
        monkeypatch.setenv("LLMCORE_TRACEBACK", "1")
    write(shop, server, attempts=1)
    server.fail(Fault.status(500))
    server.fail(Fault.status(500))
    with pytest.raises(LLMCoreError) as caught, llmcore.load() as core:
        _use(core, how)
    frames = [
        frame
        for frame in traceback.extract_tb(caught.value.__traceback__)
        if "llmcore" in Path(frame.filename).parts[:-1] and "tests" not in Path(frame.filename).parts
    ]
    assert (len(frames) > 1) is whole, frames
    if not whole and how.endswith("chat"):
        assert frames[-1].name == how


def test_tracebacks_of_speech_and_of_loading_end_there_too(shop: Workshop) -> None:
    shop.write('[llm]\nprovder = "openai"\n')
    with pytest.raises(LLMCoreError) as caught:
        llmcore.load()
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "load"
    shop.write("")
    with llmcore.load() as core, pytest.raises(LLMCoreError) as caught:
        core.voice.synthesize("")
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "synthesize"
