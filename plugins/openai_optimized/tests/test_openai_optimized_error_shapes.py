"""Errors in every shape and place in which servers report them: the class, the server's words, the line that mends it."""

from __future__ import annotations

from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore import errors as ours
from llmcore.errors import ProviderError
from llmcore.types import Secret
from llmcore_openai_optimized.account import Account, OpenAIOptions
from llmcore_openai_optimized.error_report import is_error, read_error
from llmcore_openai_optimized.errors import Errors
from llmcore_openai_optimized.url_correction import correct_url

KEY = "not-a-usual-key"


def make_errors(url: str = "http://localhost/v1", **options: Any) -> Errors:
    return Errors(Account.from_options(OpenAIOptions(api_key=Secret(KEY), base_url=url, **options)))


def make_reported(document: Any) -> ProviderError:
    return make_errors().from_document(document, httpx2.Headers(), "gpt-6-sol", partial="Rain")


def make_error(status: int, body: Any, url: str = "http://localhost/v1", **headers: str) -> ProviderError:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return make_errors(url).from_status(status, httpx2.Headers(headers), raw, "gpt-6-sol")


def make_choice(**more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Half of"}
    return {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": None, **more}]}


RAW = '{"error": {"message": "Too long for me", "code": "context_length_exceeded"}}'

REPORTS: list[tuple[Any, str, str]] = [
    # inside a choice, or next to the choices
    (make_choice(error={"code": 502, "message": "the upstream died"}), "Unavailable", "the upstream died"),
    (make_choice(error={"code": 429, "message": "slow down"}), "RateLimited", "slow down"),
    (make_choice(error="out of memory"), "Unavailable", "out of memory"),
    (make_choice(finish_reason="error"), "Unavailable", "without a message"),
    (make_choice(finish_reason="ERROR", error={"code": "402", "message": "pay"}), "QuotaExhausted", "pay"),
    (make_choice(finish_reason="insufficient_system_resource"), "Unavailable", "without a message"),
    ({**make_choice(), "error": {"code": 401, "message": "who?"}}, "AuthenticationFailed", "who?"),
    ({"choices": [], "error": {"code": 400, "message": "bad"}}, "BadRequest", "bad"),
    ({"choices": None, "error_type": "BadRequestError", "error_message": "bad"}, "BadRequest", "bad"),
    # without a choice
    ({"object": "error", "message": "no such model", "type": "NotFoundError", "code": 404}, "NotFound", "no such model"),
    ({"object": "error", "message": "bad", "type": "BadRequestError", "code": None}, "BadRequest", "bad"),
    ({"detail": "Could not parse"}, "Unavailable", "Could not parse"),
    ({"detail": "Too many", "status": 429}, "RateLimited", "Too many"),
    (
        {"detail": [{"loc": ["body", "messages"], "msg": "field required", "type": "missing", "input": {"k": "mine"}}]},
        "Unavailable",
        "body.messages: field required",
    ),
    ({"errors": [{"code": 10000, "message": "Authentication error"}], "success": False}, "Unavailable", "Authentication"),
    ({"errors": ["first", "second"]}, "Unavailable", "first: second"),
    ({"errors": [{"message": "slow", "status": "429"}]}, "RateLimited", "slow"),
    ({"error": "model is loading"}, "Unavailable", "model is loading"),
    ({"error": True, "message": "quota", "code": "insufficient_quota"}, "QuotaExhausted", "quota"),
    ({"error": "Unauthorized", "message": "Invalid token"}, "AuthenticationFailed", "Invalid token"),
    ({"error": {"error": {"message": "twice wrapped", "code": "429"}}}, "RateLimited", "twice wrapped"),
    ({"message": "slow", "code": 429}, "RateLimited", "slow"),
    ({"message": "No.", "statusCode": 403}, "AuthenticationFailed", "No."),
    ({"Message": "Slow", "__type": "ThrottlingException"}, "RateLimited", "Slow"),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}, "Unavailable", "Busy"),
    ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "QuotaExhausted", "insufficient balance"),
    ({"error_code": 17, "error_msg": "daily limit"}, "Unavailable", "daily limit"),
    ({"code": 1113, "msg": "in arrears", "success": False}, "QuotaExhausted", "in arrears"),
    ({"type": "about:blank", "title": "Busy", "status": 503, "detail": "Come back"}, "Unavailable", "Come back"),
    ([{"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}], "RateLimited", "slow"),
    # Google's names, with and without a number
    ({"error": {"status": "RESOURCE_EXHAUSTED", "message": "slow"}}, "RateLimited", "slow"),
    ({"error": {"status": "UNAVAILABLE", "message": "busy"}}, "Unavailable", "busy"),
    ({"error": {"status": "INVALID_ARGUMENT", "message": "bad"}}, "BadRequest", "bad"),
    ({"error": {"status": "PERMISSION_DENIED", "message": "no"}}, "AuthenticationFailed", "no"),
    ({"error": {"status": "NOT_FOUND", "message": "model gone"}}, "NotFound", "model gone"),
    ({"error": {"status": "DEADLINE_EXCEEDED", "message": "late"}}, "Timeout", "late"),
    ({"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}}, "Unavailable", "busy"),
    # OpenRouter: the message of the provider behind it
    (
        {"error": {"code": 400, "message": "Provider returned error", "metadata": {"raw": RAW, "provider_name": "X"}}},
        "BadRequest",
        "Provider returned error: Too long for me",
    ),
    (
        {"error": {"code": 429, "message": "Provider returned error", "metadata": {"raw": "limited upstream"}}},
        "RateLimited",
        "limited upstream",
    ),
    (
        {"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["x"], "flagged_input": "my secret text"}}},
        "ContentFiltered",
        "flagged",
    ),
    # the request is exceed the context length
    ({"error": {"code": 500, "type": "exceed_context_size_error", "message": "too long"}}, "BadRequest", "too long"),
    ({"error": {"code": "400", "type": None, "message": "litellm.ContextWindowExceededError: ..."}}, "BadRequest", "Context"),
    ({"error": {"message": "This model's maximum context length is 4096 tokens."}}, "BadRequest", "4096"),
    # a key
    ({"error": {"message": "No connected db.", "type": "no_db_connection", "code": "400"}}, "AuthenticationFailed", "db"),
    # numbers as text, as floats, out of range
    ({"error": {"message": "x", "code": "503"}}, "Unavailable", "x"),
    ({"error": {"message": "x", "code": 20042, "type": "server_error"}}, "Unavailable", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "kind", "words"), REPORTS)
def test_an_error_in_an_answer_is_found_and_has_its_class(document: Any, kind: str, words: str) -> None:
    assert is_error(document)
    error = make_reported(document)
    assert type(error) is getattr(ours, kind)
    assert words in error.message
    assert error.partial == "Rain"
    assert "my secret text" not in str(error), "the error must not repeat the caller's text"
    assert "mine" not in str(error)


@pytest.mark.parametrize(
    "document",
    [
        make_choice(finish_reason="stop"),
        make_choice(finish_reason="stop", error=None),
        {**make_choice(finish_reason="stop"), "error": None},
        {**make_choice(finish_reason="stop"), "error": {}},
        {**make_choice(finish_reason="stop"), "error": ""},
        {**make_choice(finish_reason="stop"), "error": {"code": 0, "message": "success"}},
        {**make_choice(finish_reason="stop"), "error": {"code": None, "message": None}},
        {**make_choice(finish_reason="stop"), "base_resp": {"status_code": 0, "status_msg": "ok"}},
        {**make_choice(finish_reason="stop"), "code": 200, "message": "OK"},
        {**make_choice(finish_reason="stop"), "detail": "warm"},
        {"choices": [], "usage": {"prompt_tokens": 1}},
        {"object": "chat.completion.chunk", "choices": []},
        {},
        [],
        "text",
        None,
        7,
    ],
)
def test_an_answer_is_not_an_error(document: Any) -> None:
    assert not is_error(document)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "errors", "detail", "message", "code", "status", "choices", "metadata", "raw", "loc"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.slow
@settings(deadline=None)
@given(json_values)
def test_no_shape_breaks_the_reader(document: Any) -> None:
    is_error(document)
    assert isinstance(make_reported(document), ProviderError)


def test_a_document_that_nests_for_ever_ends() -> None:
    document: Any = "deep"
    for _ in range(200):
        document = {"error": [document]}
    assert read_error(document).message == ""


def test_the_status_in_a_document_wins_over_that_of_http() -> None:
    error = make_error(500, {"error": {"code": 401, "message": "Wrong key."}})
    assert type(error) is ours.AuthenticationFailed
    assert error.status == 500
    assert (
        type(make_error(502, {"error": {"status": "RESOURCE_EXHAUSTED", "message": "x"}})) is ours.RateLimited
    )


def test_google_says_how_long_to_wait() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    body = {"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED", "details": details}}
    assert make_error(429, body).retry_after == 34.5
    assert make_error(429, body, **{"retry-after": "2"}).retry_after == 2


def test_a_litellm_proxy_without_a_database_is_explained() -> None:
    body = {
        "error": {"message": "No connected db.", "type": "no_db_connection", "param": None, "code": "400"}
    }
    error = make_error(400, body)
    assert type(error) is ours.AuthenticationFailed
    assert "[llm.openai] api_key was rejected" in error.message
    assert "master key" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 400, "type": "exceed_context_size_error", "message": "n", "n_ctx": 8192}},
        {
            "error": {
                "message": "litellm.ContextWindowExceededError: BadRequestError",
                "type": None,
                "code": "400",
            }
        },
        {"error": {"message": "Prompt is too long", "type": "invalid_request_error"}},
        {"error": "the request exceeds the available context size. try increasing it"},
    ],
)
@pytest.mark.parametrize("status", [400, 413, 500])
def test_a_request_that_is_too_long_is_not_sent_again(body: Any, status: int) -> None:
    error = make_error(status, body)
    assert type(error) is ours.BadRequest
    assert "exceed the context length" in str(error)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'data: {"error": {"message": "in a stream", "code": 503}}\n\ndata: [DONE]\n\n', "in a stream"),
        (b'error: {"code": 503, "message": "in a line"}\n\n', "in a line"),
        (b'\xef\xbb\xbf{"error": "after a mark"}', "after a mark"),
        (b"<html><head><title>503 Service\nUnavailable</title></head></html>", "503 Service Unavailable"),
        (b"upstream connect error", "upstream connect error"),
        (b'"a JSON text"', "a JSON text"),
    ],
)
def test_the_words_are_found_in_every_kind_of_body(body: bytes, words: str) -> None:
    error = make_error(503, body)
    assert type(error) is ours.Unavailable
    assert words in error.message


@pytest.mark.parametrize(
    "secret",
    [KEY, "gsk_abcdef0123456789", "xai-abcdef0123456789", "AIzaSyA0123456789abcdefghijk", "hf_abcdefghijkl",
     "https://h/v1?key=abcdef0123", "api_key=abcdef0123"],
)  # fmt: skip
@pytest.mark.parametrize("place", ["error", "detail", "message"])
def test_no_key_leaves_a_message(secret: str, place: str) -> None:
    shown = str(make_reported({place: f"the key {secret} is wrong", "code": 400}))
    assert secret.rpartition("=")[2] not in shown
    assert "…" in shown


def test_a_message_is_at_most_600_characters_long() -> None:
    message = make_reported(
        {"error": {"message": "word " * 1000, "metadata": {"raw": "more " * 1000}}}
    ).message
    assert message.partition(": ")[2] == "word " * 120 + "…"


# -- addresses that are nearly right


@pytest.mark.parametrize(
    ("url", "corrected"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/", "http://localhost:8000/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
        ("http://localhost:8000/v1/chat/completions", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/chat", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/v1", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/models?key=x", "http://localhost:8000/v1"),
        ("http://localhost:11434/api", "http://localhost:11434/v1"),
        ("http://gateway/team/openai", "http://gateway/team/openai/v1"),
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("https://openrouter.ai/v1", "https://openrouter.ai/api/v1"),
        ("https://api.groq.com/v1", "https://api.groq.com/openai/v1"),
        ("https://generativelanguage.googleapis.com/v1beta", "https://generativelanguage.googleapis.com/v1beta/openai"),
        ("https://x.openai.azure.com/openai/deployments/a", "https://x.openai.azure.com/openai/v1"),
        ("http://localhost:8000/v1", None),
        ("https://gateway/v1/acme/openai", None),
        ("https://openrouter.ai/api/v1", None),
        ("https://api.perplexity.ai", None),
        ("https://generativelanguage.googleapis.com/v1beta/openai", None),
    ],
)  # fmt: skip
def test_an_address_is_corrected(url: str, corrected: str | None) -> None:
    assert correct_url(url) == corrected


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b"404 page not found", "text/plain"),
        (404, b'{"detail": "Not Found"}', "application/json"),
        (405, b'{"detail": "Method Not Allowed"}', "application/json"),
        (404, b"<html><title>404 Not Found</title></html>", "text/html"),
        (404, b"", "text/plain"),
        (404, b'{"error": {"message": "Invalid URL (POST /chat/completions)"}}', "application/json"),
    ],
)
def test_a_404_of_a_wrong_address_says_so_and_mends_it(status: int, body: bytes, kind: str) -> None:
    for url, corrected in (
        ("http://h:1", "http://h:1/v1"),
        ("http://h:1/v1/chat/completions", "http://h:1/v1"),
    ):
        error = make_error(status, body, url, **{"content-type": kind})
        assert type(error) is ours.NotFound
        assert "base_url" in str(error)
        assert error.fix == f"llmcore config set llm.openai.base_url {corrected}"


def test_a_404_of_the_model_speaks_of_the_model() -> None:
    body = {"error": {"message": "The model `gpt-6-sol` does not exist", "code": "model_not_found"}}
    error = make_error(404, body, "http://h:1")
    assert error.fix == "llmcore models"
    assert "gpt-6-sol" in str(error)
    assert "base_url" not in str(error)


def test_a_404_without_a_cause_names_both() -> None:
    shown = str(make_error(404, b"404 page not found"))
    assert "gpt-6-sol" in shown
    assert "base_url" in shown


def test_an_error_names_the_variable_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://h:1")
    account = Account.from_options(OpenAIOptions(api_key=Secret(KEY)))
    error = Errors(account).from_status(404, httpx2.Headers(), b"", "m")
    assert error.fix == "export OPENAI_BASE_URL=http://h:1/v1"
    assert "OPENAI_BASE_URL" in str(error)


def test_an_azure_endpoint_has_no_path() -> None:
    endpoint = "https://x.openai.azure.com/openai/deployments/d"
    options = OpenAIOptions(api_key=Secret(KEY), azure_endpoint=endpoint, api_version="2024-10-21")
    account = Account.from_options(options)
    error = Errors(account).from_status(
        404, httpx2.Headers(), b'{"error": {"code": "404", "message": "Resource not found"}}', "d"
    )
    assert error.fix == "llmcore config set llm.openai.azure_endpoint https://x.openai.azure.com"


def test_a_page_in_place_of_an_answer_mends_the_address() -> None:
    error = make_errors("http://h:1").make_malformed(
        "a page", httpx2.Headers({"content-type": "text/html; charset=utf-8"})
    )
    assert error.fix == "llmcore config set llm.openai.base_url http://h:1/v1"


def test_a_redirect_error_shows_its_target() -> None:
    error = make_error(308, b"", "http://h/v1", location="https://h/v1/chat/completions?x=1")
    assert error.fix == "llmcore config set llm.openai.base_url https://h/v1"


def test_an_unknown_endpoint_in_an_answer_with_status_200_is_a_wrong_address() -> None:
    document = {"error": "Unexpected endpoint or method. (POST /chat/completions)"}  # LM Studio
    error = make_errors("http://h:1").from_document(document, httpx2.Headers(), "m")
    assert type(error) is ours.NotFound
    assert error.fix == "llmcore config set llm.openai.base_url http://h:1/v1"
