"""Every fault of the upstream becomes an error of llmcore with a fix, without the key and without chained exceptions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import anthropic
import pytest

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    ConfigError,
    IncompleteReply,
    MalformedReply,
    NotFound,
    PluginBroken,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Timeout,
    Unavailable,
)
from llmcore.types import ChatRequest, Secret
from llmcore_anthropic.options import Account, AnthropicOptions, make_identity
from llmcore_anthropic.provider import AnthropicProvider
from llmcore_testing import Fault, Simulator

KEY = "sk-ant-canary-0123456789"


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def provider(upstream: Simulator) -> Iterator[AnthropicProvider]:
    provider = AnthropicProvider(AnthropicOptions(api_key=Secret(KEY), base_url=upstream.url))
    yield provider
    provider.close()


def ask(timeout_s: float = 20.0, idle_s: float = 20.0) -> ChatRequest:
    return ChatRequest(
        model="claude-sonnet-5",
        messages=[{"role": "user", "content": "Tell me a story about the sea, please."}],
        timeout_s=timeout_s,
        idle_s=idle_s,
    )


def fail(provider: AnthropicProvider, how: str, request: ChatRequest) -> ProviderError:
    """Return the error of one of the four ways to call."""

    async def acall() -> None:
        try:
            if how == "acomplete":
                await provider.acomplete(request)
            else:
                async for _ in provider.astream(request):
                    pass
        finally:
            await provider.aclose()

    calls: dict[str, Callable[[], object]] = {
        "complete": lambda: provider.complete(request),
        "stream": lambda: list(provider.stream(request)),
    }
    call = calls.get(how, lambda: asyncio.run(acall()))
    with pytest.raises(ProviderError) as caught:
        call()
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert KEY not in f"{error}{error.__dict__}"
    assert error.provider == "anthropic"
    return error


HOW = ["complete", "stream", "acomplete", "astream"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "case",
    [
        (Fault.status(400), BadRequest, False),
        (
            Fault.status(400, message="Your credit balance is too low to access the API"),
            QuotaExhausted,
            False,
        ),
        (Fault.status(401), AuthenticationFailed, False),
        (Fault.status(403), AuthenticationFailed, False),
        (Fault.status(404), NotFound, False),
        (Fault.status(413), BadRequest, False),
        (Fault.status(429, retry_after=7), RateLimited, True),
        (Fault.status(429, code="insufficient_quota"), QuotaExhausted, False),
        (Fault.status(500), Unavailable, True),
        (Fault.status(529, retry_after=7), Unavailable, True),
        (Fault.html(), MalformedReply, False),
        (Fault.html(502), Unavailable, True),
        (Fault.empty_body(), MalformedReply, False),
        (Fault.bad_json(), MalformedReply, False),
        (Fault.wrong_schema(), MalformedReply, False),
        (Fault.redirect("https://example.com/"), ProviderError, False),
        (Fault.reset(), Unavailable, True),
    ],
    ids=lambda case: f"{case[0].kind}-{case[1].__name__}",
)
def test_a_fault_becomes_the_error_that_fits(
    upstream: Simulator,
    provider: AnthropicProvider,
    how: str,
    case: tuple[Fault, type[ProviderError], bool],
) -> None:
    fault, kind, retryable = case
    upstream.fail(fault)
    error = fail(provider, how, ask())
    assert type(error) is kind
    assert error.retryable is retryable
    if fault.settings.get("status") in {429, 529} and kind is not QuotaExhausted:
        assert error.retry_after == 7
        assert error.status == fault.settings["status"]


@pytest.mark.parametrize("how", ["stream", "astream"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.cut_stream(6), IncompleteReply),
        (Fault.cut_stream(6, clean=False), IncompleteReply),
        (Fault.reset(6), IncompleteReply),
        (Fault.error_chunk(6), Unavailable),
        (Fault.error_chunk(6, code="overloaded_error"), Unavailable),
        (Fault.error_chunk(6, code="rate_limit_error"), RateLimited),
        (Fault.bad_json_chunk(6), MalformedReply),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
def test_a_broken_stream_is_an_error_with_the_text_so_far(
    upstream: Simulator, provider: AnthropicProvider, how: str, fault: Fault, kind: type[ProviderError]
) -> None:
    upstream.fail(fault)
    error = fail(provider, how, ask())
    assert type(error) is kind
    assert error.partial
    assert error.partial.startswith("This")


@pytest.mark.parametrize("how", HOW)
def test_silence_ends_a_call(upstream: Simulator, provider: AnthropicProvider, how: str) -> None:
    upstream.fail(Fault.stall(4))
    assert type(fail(provider, how, ask(idle_s=0.3))) is Timeout


@pytest.mark.parametrize("how", HOW)
def test_the_deadline_ends_a_call(upstream: Simulator, provider: AnthropicProvider, how: str) -> None:
    upstream.fail(Fault.hang())
    assert type(fail(provider, how, ask(timeout_s=0.3))) is Timeout


def test_a_missing_usage_is_estimated(upstream: Simulator, provider: AnthropicProvider) -> None:
    upstream.fail(Fault.missing_usage(), times=2)
    upstream.fail(Fault.negative_usage(), times=2)
    for _ in range(2):
        assert provider.complete(ask()).usage.estimated
        usage = list(provider.stream(ask()))[-1].usage
        assert usage is not None
        assert usage.estimated
        assert usage.output_tokens > 0


def test_an_answer_without_a_reason_has_none(upstream: Simulator, provider: AnthropicProvider) -> None:
    upstream.fail(Fault.no_finish_reason())
    assert provider.complete(ask()).finish_reason is None


def test_a_missing_server_raises_unavailable() -> None:
    provider = AnthropicProvider(AnthropicOptions(api_key=Secret(KEY), base_url="http://127.0.0.1:9"))
    error = fail(provider, "complete", ask())
    assert type(error) is Unavailable
    assert error.sent is False
    provider.close()


def test_a_refused_key_names_its_place_and_is_not_shown(upstream: Simulator) -> None:
    del upstream
    with Simulator(api_keys=["another"]) as strict:
        provider = AnthropicProvider(AnthropicOptions(api_key=Secret(KEY), base_url=strict.url))
        error = fail(provider, "complete", ask())
        assert type(error) is AuthenticationFailed
        assert "[llm.anthropic] api_key" in error.message
        provider.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no API key"),
        ({"api_key": Secret("a key")}, "no HTTP header"),
        ({"api_key": Secret(KEY), "base_url": "http://user:pass@host"}, "base_url must be"),
        ({"api_key": Secret(KEY), "base_url": "localhost:80"}, "base_url must be"),
        ({"api_key": Secret(KEY), "headers": {"x-api-key": "x"}}, "headers."),
        ({"api_key": Secret(KEY), "headers": {"a b": "x"}}, "headers."),
    ],
)
def test_options_that_cannot_be_used_are_refused(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, object], said: str
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(ConfigError) as caught:
        AnthropicProvider(AnthropicOptions(**options))  # type: ignore[arg-type]
    assert said in caught.value.message
    assert KEY not in str(caught.value)


def test_an_older_sdk_that_pip_has_installed_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(anthropic, "__version__", "0.125.0")
    with pytest.raises(PluginBroken, match=r"anthropic must be 2\.14 or later, got 0\.125\.0") as caught:
        AnthropicProvider(AnthropicOptions(api_key=Secret(KEY)))
    assert caught.value.fix == "pip install 'anthropic>=2.14'"
    assert "any-llm-sdk" in str(caught.value)


def test_the_environment_completes_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://localhost:1/v1/")
    account = Account.from_options(AnthropicOptions())
    assert account.key == Secret(KEY)
    assert account.base_url == "http://localhost:1"
    identity = make_identity(AnthropicOptions())
    assert identity["base_url"] == "http://localhost:1"
    assert KEY not in str(identity)
    assert KEY not in repr(AnthropicOptions(headers={"a": KEY}, extra_body={"b": KEY}))
