"""Usage as the server reports it, made ours; what is missing or cannot be true is counted here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from llmcore.types import ChatRequest, Usage
from llmcore_openai_optimized import bounds, tokens
from llmcore_openai_optimized.windows import window_of

__all__ = ["usage_of"]

_MOST_TOKENS: Final = 100_000_000
"""Far beyond the context window of any model."""
_PER_CALL: Final = 7
"""Tokens around the name and the arguments of a tool call, as OpenAI's servers were seen to count them."""
_SAID: Final = ("content", "refusal", "reasoning_content", "reasoning")


def usage_of(
    reported: Any,
    request: ChatRequest,
    model: str,
    messages: Callable[[], Iterable[Mapping[str, Any]]],
    *,
    spoke: bool,
) -> Usage:
    """Return the usage of an answer, marked as estimated where a number of it is not the server's.

    `prompt_tokens` hold cached and written ones, `completion_tokens` hold reasoning: parts that cost more are cut to
    their whole, those that cost less are not believed beyond it.

    Args:
        reported: The `usage` of the answer, if that is what it is.
        request: What was answered.
        model: Which model answered; its window, or that of the model asked, is what no number can exceed.
        messages: Gives the messages of all choices, to be counted where the server did not.
        spoke: Whether there is something in them, which then has tokens.
    """
    sent: Mapping[str, Any] = reported if isinstance(reported, Mapping) else {}
    most = _most(request.model, model)
    prompt = _tokens(sent.get("prompt_tokens"), most) or None  # there is always one
    completion = _tokens(sent.get("completion_tokens"), most * _choices(request))
    if completion == 0 and spoke:
        completion = None
    into, out = _details(sent, "prompt_tokens_details"), _details(sent, "completion_tokens_details")
    reasoning = _tokens(out.get("reasoning_tokens"), most) or 0
    if prompt and completion is not None and reasoning:
        # Some servers, xAI's among them, count reasoning apart, as their total shows.
        completion += reasoning if sent.get("total_tokens") == prompt + completion + reasoning else 0
    whole_in = _prompt(request) if prompt is None else prompt
    whole_out = _said(messages(), request.model) if completion is None else completion
    read = _read(into, sent, prompt or 0)
    written = _part(into, "cache_write_tokens", (prompt or 0) - read)
    return Usage(
        input_tokens=whole_in,
        output_tokens=whole_out,
        cached_tokens=read,
        cache_write_tokens=written,
        cache_write_12h_tokens=_part(_details(into, "cache_write_tokens_details"), "ttl_12h_tokens", written),
        reasoning_tokens=min(reasoning, completion or 0),
        audio_input_tokens=_part(into, "audio_tokens", prompt or 0),
        audio_output_tokens=_part(out, "audio_tokens", completion or 0),
        image_input_tokens=_part(into, "image_tokens", prompt or 0),
        image_output_tokens=_part(out, "image_tokens", completion or 0),
        estimated=prompt is None or completion is None,
    )


def _most(*models: str) -> int:
    """Return the tokens of the largest window; on Azure the model that was asked is a name of anybody's choice."""
    return max((window.context for window in map(window_of, models) if window), default=_MOST_TOKENS)


def _choices(request: ChatRequest) -> int:
    asked = request.parameters.get("n")
    return asked if isinstance(asked, int) and asked > 1 else 1


def _details(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = whole.get(name)
    return details if isinstance(details, Mapping) else {}


def _tokens(value: Any, most: int) -> int | None:
    """Return a number of tokens, or None where *value* cannot be one. NaN is below nothing and above nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return None
    return int(value)


def _part(details: Mapping[str, Any], name: str, whole: int) -> int:
    return min(_tokens(details.get(name), _MOST_TOKENS) or 0, whole)


def _read(details: Mapping[str, Any], sent: Mapping[str, Any], prompt: int) -> int:
    """Return the tokens read from the cache, which DeepSeek and Moonshot tell elsewhere.

    They are a discount: more of them than the prompt has are not believed at all.
    """
    told = (details.get("cached_tokens"), sent.get("prompt_cache_hit_tokens"), sent.get("cached_tokens"))
    return next((found for each in told if (found := _tokens(each, prompt))), 0)


def _prompt(request: ChatRequest) -> int:
    """Count the prompt. The answer has come and is paid for: what cannot be counted is not a reason to lose it."""
    try:
        return int(tokens.count(request))
    except Exception:  # noqa: BLE001 - see above
        return bounds.most_prompt(request) or 0


def _said(messages: Iterable[Mapping[str, Any]], model: str) -> int:
    """Count what was said and called in all choices."""
    total = 0
    for message in messages:
        calls = [call for call in message.get("tool_calls") or () if isinstance(call, Mapping)]
        inner = [call.get("function") or call.get("custom") for call in calls]
        inner.append(message.get("function_call"))
        texts = [_text(message.get(name)) for name in _SAID]
        for each in inner:
            if isinstance(each, Mapping):
                total += _PER_CALL
                texts += [_text(each.get(name)) for name in ("name", "arguments", "input")]
        total += sum(int(tokens.count(text, model)) for text in texts if text)
    return total


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else ()
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, Mapping))
