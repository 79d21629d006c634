"""Errors of the server: class, Retry-After and message, without the key."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore import errors as ours
from llmcore.errors import ProviderError
from llmcore.support.retry_after import parse_retry_after
from llmcore.types import Secret
from llmcore_openai_optimized.account import Account, OpenAIOptions
from llmcore_openai_optimized.errors import Errors
from llmcore_openai_optimized.truncated_json import read_partial

KEY = "not-a-usual-key"
ERRORS = Errors(Account.from_options(OpenAIOptions(api_key=Secret(KEY), base_url="http://localhost/v1")))


def make_error(status: int, body: Any = b"", **headers: str) -> ProviderError:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ERRORS.from_status(status, httpx2.Headers(named), raw, "gpt-6-sol")


def make_error_body(message: str = "No.", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, make_error_body(type="invalid_request_error", param="temperature"), "BadRequest"),
        (400, make_error_body(code="model_not_found"), "NotFound"),
        (400, make_error_body(code="context_length_exceeded"), "BadRequest"),
        (
            400,
            make_error_body(code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}),
            "ContentFiltered",
        ),
        (400, make_error_body(code="content_policy_violation"), "ContentFiltered"),
        (
            400,
            make_error_body(code="400", innererror={"code": "ResponsibleAIPolicyViolation"}),
            "ContentFiltered",
        ),
        (401, make_error_body(code="invalid_api_key", type="invalid_request_error"), "AuthenticationFailed"),
        (401, {"statusCode": 401, "message": "Unauthorized"}, "AuthenticationFailed"),
        (401, {"detail": "Could not parse your token"}, "AuthenticationFailed"),
        (402, make_error_body(), "QuotaExhausted"),
        (403, make_error_body(type="invalid_request_error"), "AuthenticationFailed"),
        (404, make_error_body(code="404"), "NotFound"),
        (404, make_error_body(code="DeploymentNotFound"), "NotFound"),
        (404, {"error": "Specified model not found"}, "NotFound"),
        (408, b"", "Timeout"),
        (409, make_error_body(), "Unavailable"),
        (413, b"<html>too large</html>", "BadRequest"),
        (422, {"message": ["one", "two"]}, "BadRequest"),
        (429, make_error_body(code="rate_limit_exceeded"), "RateLimited"),
        (429, make_error_body(type="insufficient_quota", code=None), "QuotaExhausted"),
        (429, make_error_body(code="insufficient_quota", type="insufficient_quota"), "QuotaExhausted"),
        (429, make_error_body(code=429), "RateLimited"),
        (500, make_error_body(type="server_error"), "Unavailable"),
        (501, make_error_body(type="not_supported_error"), "BadRequest"),
        (503, b"\xff\xfe", "Unavailable"),
        (529, make_error_body(type="overloaded_error"), "Unavailable"),
        (418, b"null", "BadRequest"),
        (500, b"[1]", "Unavailable"),
    ],
)
def test_every_refusal_has_its_kind(status: int, body: Any, kind: str) -> None:
    converted = make_error(status, body)
    assert type(converted) is getattr(ours, kind)
    assert converted.status == status
    assert converted.message


def test_errors_have_the_message_and_the_request_id_of_the_server() -> None:
    converted = make_error(400, make_error_body("Invalid 'temperature'."), x_request_id="req_7")
    assert "Invalid 'temperature'." in converted.message
    assert converted.request_id == "req_7"


def test_a_refused_key_names_its_source() -> None:
    assert "[llm.openai] api_key was rejected" in make_error(401, make_error_body("Wrong key.")).message
    assert "[llm.openai] api_key lacks the permission" in make_error(403, make_error_body("Not you.")).message


def test_a_missing_model_is_named() -> None:
    assert "gpt-6-sol" in str(make_error(404, make_error_body("It does not exist.")))


@pytest.mark.parametrize(
    "echo",
    [
        f"Incorrect API key provided: {KEY}.",
        "Incorrect API key provided: sk-abcde***************wxyz.",
        "Incorrect API key provided: <not-a-u****key>.",
        "Incorrect API key provided: abcdef.",
        "Bad token: Bearer abcdef0123456789",
        "Key sk-proj-abcdefgh_ijkl-mnop is not valid",
        "Key abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH is not valid",
    ],
)
def test_a_key_that_the_server_repeats_is_not_repeated(echo: str) -> None:
    text = str(make_error(401, make_error_body(echo)))
    assert "…" in text
    for part in ("not-a-u", "sk-", "wxyz", "abcdef", "ABCDEFGH"):
        assert part not in text


def test_long_words_of_a_server_are_abridged_and_on_one_line() -> None:
    converted = make_error(500, ("word\n" * 10_000).encode())
    assert len(converted.message) < 700
    assert "\n" not in converted.message


NOW = "Sun, 22 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "10"}, 10),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "3600"}, 3600),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT", "date": NOW}, 30),
        ({"retry-after": "Sun, 22 Nov 2026 11:00:00 GMT", "date": NOW}, 0),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"}, 20),
        ({"retry-after": "Sun, 22 Nov 2026 13:00:30 +0100", "date": NOW}, 30),
        ({"retry-after": "Sun, 99 Nov 2026 12:00:30 GMT"}, None),
    ],
)
def test_the_wait_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    ten_past = 1_795_348_810.0  # 12:00:10 on the same day, by our own clock
    assert parse_retry_after(httpx2.Headers(headers), clock=lambda: ten_past) == seconds


def test_a_rate_limit_error_has_retry_after() -> None:
    assert make_error(429, make_error_body(), retry_after="7").retry_after == 7
    assert make_error(503, b"", retry_after="7").retry_after == 7


@pytest.mark.parametrize(
    ("document", "kind", "status"),
    [
        (make_error_body(code=429), "RateLimited", 429),
        (make_error_body(code=502), "Unavailable", 502),
        (make_error_body(type="server_error"), "Unavailable", None),
        (make_error_body(type="invalid_request_error"), "BadRequest", None),
        ({"error": "out of memory"}, "Unavailable", None),
        (7, "Unavailable", None),
    ],
)
def test_an_error_inside_an_answer_has_its_kind(document: Any, kind: str, status: int | None) -> None:
    converted = ERRORS.from_document(document, {}, "gpt-6-sol", partial="Rain")
    assert (type(converted).__name__, converted.status, converted.partial) == (kind, status, "Rain")


def test_an_unexpected_exception_becomes_an_llmcore_error() -> None:
    converted = ERRORS.translate_error(RuntimeError(f"with {KEY} in it"), begun=False)
    assert type(converted) is ProviderError
    assert KEY not in str(converted)
    assert "RuntimeError" in converted.message


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (498, make_error_body("Flex tier capacity exceeded"), "Unavailable"),
        (400, {"code": "invalid-argument", "error": "Incorrect API key provided."}, "AuthenticationFailed"),
        (400, make_error_body("The field `api key` is invalid"), "BadRequest"),
        (400, [make_error_body("No."), make_error_body("No.")], "BadRequest"),
    ],
)
def test_other_servers_ways_to_refuse_are_known(status: int, body: Any, kind: str) -> None:
    assert type(make_error(status, body)) is getattr(ours, kind)


@pytest.mark.parametrize(
    ("inner", "kind"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, "Unavailable"),
        ({"type": "rate_limit_error", "message": "Slow down"}, "RateLimited"),
        ({"type": "authentication_error", "message": "Who?"}, "AuthenticationFailed"),
        ({"code": "429", "message": "Slow down"}, "RateLimited"),
        ({"code": "402", "message": "Pay"}, "QuotaExhausted"),
        ({"code": "insufficient_quota", "message": "Pay"}, "QuotaExhausted"),
    ],
)
def test_an_error_inside_a_stream_is_classified_by_its_code(inner: dict[str, Any], kind: str) -> None:
    assert type(ERRORS.from_document({"error": inner}, {}, "gpt-6-sol")) is getattr(ours, kind)


def read_json_body(text: str, *, ascii_only: bool) -> bytes:
    choices = [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
    return json.dumps({"model": "m", "choices": choices}, ensure_ascii=ascii_only).encode()


@given(text=st.text(), ascii_only=st.booleans(), share=st.floats(0, 1))
def test_the_text_of_a_broken_body_is_a_beginning_of_the_whole(
    text: str,
    ascii_only: bool,  # noqa: FBT001
    share: float,
) -> None:
    body = read_json_body(text, ascii_only=ascii_only)
    begun = read_partial(body[: int(len(body) * share)])
    assert begun is None or text.startswith(begun)
    assert read_partial(body) == text


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"null", b'{"content": null', b'{"content', b'{"content": 7']
)
def test_partial_is_empty_before_the_first_text(body: bytes) -> None:
    assert read_partial(body) is None
