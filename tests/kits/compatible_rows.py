"""Answers of servers that deviate from the protocol: one row for each difference.

The rows are those of the table "Compatible servers" in `docs/guides/openai.md`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from llmcore.errors import IncompleteReply, MalformedReply, ProviderError

__all__ = ["BOM", "EVENTS", "ROWS", "Row"]

USAGE: Final = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
DONE: Final = b"data: [DONE]\n\n"
EVENTS: Final = "text/event-stream"
JSON: Final = "application/json"


class Row(msgspec.Struct, kw_only=True):
    """One difference: who, what, and what must come of it."""

    server: str
    does: str
    sent: list[bytes]
    """The body, one item per write."""
    kind: str = EVENTS
    status: int = 200
    leaves_open: bool = False
    text: str = ""
    reasoning: str = ""
    refusal: str | None = None
    finish: str | None = "stop"
    calls: tuple[tuple[str, str], ...] = ()
    """Names and arguments."""
    raw: dict[str, Any] = {}
    """Fields of the first message in `Reply.raw`."""
    error: type[ProviderError] | None = None
    partial: str = ""


def make_event(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def make_chunk(delta: Any = None, finish: Any = None, index: Any = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": {} if delta is None else delta, "finish_reason": finish}
    return make_event({"id": "c1", "model": "m", "choices": [choice], **more})


def call(**piece: Any) -> bytes:
    function = {name: piece.pop(name) for name in ("name", "arguments") if name in piece}
    return make_chunk({"tool_calls": [{**piece, "function": function}]})


def make_whole(message: Any, finish: Any = "stop", **more: Any) -> list[bytes]:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return [json.dumps({"id": "c1", "model": "m", "choices": [choice], "usage": USAGE, **more}).encode()]


def make_tail(finish: Any = "stop") -> list[bytes]:
    return [make_chunk({}, finish), make_event({"choices": [], "usage": USAGE}), DONE]


SAID: Final = [make_chunk({"content": "Rain "}), make_chunk({"content": "falls"})]
BOM: Final = b"\xef\xbb\xbf"
TWO_CALLS: Final = (("w", '{"c":1}'), ("x", '{"c":2}'))
ONE_CALL: Final = (("read_file", '{"c":1}'),)

TOOL_CALLS: Final = [
    Row(
        server="Ollama", does="numbers every tool call of an answer 0",
        sent=[call(index=0, id="a", name="w", arguments='{"c":1}'), call(index=0, id="b", name="x", arguments='{"c":2}')],
        calls=TWO_CALLS,
    ),
    Row(
        server="Gateways that reuse an index", does="send the arguments of two calls in pieces under one index",
        sent=[call(index=0, id="a", name="w", arguments='{"c"'), call(index=0, arguments=":1}"),
              call(index=0, id="b", name="x", arguments=""), call(index=0, arguments='{"c":2}')],
        calls=TWO_CALLS,
    ),
    Row(
        server="Mistral", does="omits the index of tool calls",
        sent=[call(id="a", name="w", arguments='{"c":1}'), call(id="b", name="x", arguments='{"c":2}')],
        calls=TWO_CALLS,
    ),
    Row(
        server="Gemini", does="sends tool calls with an empty id and no index",
        sent=[call(id="", name="w", arguments='{"c"'), call(arguments=":1}"), call(id="", name="x", arguments='{"c":2}')],
        calls=TWO_CALLS,
    ),
    Row(
        server="Older llama.cpp builds", does="send neither id nor new index for a second call",
        sent=[call(index=0, name="w", arguments='{"c":1}'), call(index=0, name="w", arguments='{"c":2}')],
        calls=(("w", '{"c":1}'), ("w", '{"c":2}')),
    ),
    Row(
        server="vLLM", does="repeats the id in each piece of a call",
        sent=[call(index=0, id="a", name="read_file", arguments='{"c"'), call(index=0, id="a", arguments=":1}")],
        calls=ONE_CALL,
    ),
    Row(
        server="MiniMax on NVIDIA NIM", does="repeats the full name in each piece of a call",
        sent=[call(index=0, id="a", name="read_file", arguments=""),
              call(index=0, name="read_file", arguments='{"c"'), call(index=0, name="read_file", arguments=":1}")],
        calls=ONE_CALL,
    ),
    Row(
        server="Gemini", does="streams a name in pieces",
        sent=[call(index=0, id="a", name="read_", arguments=""), call(index=0, name="file"), call(index=0, arguments='{"c":1}')],
        calls=ONE_CALL,
    ),
    Row(
        server="OpenCodex", does="repeats the complete arguments at the end",
        sent=[call(index=0, id="a", name="read_file", arguments=""), call(index=0, arguments='{"c":1}'),
              call(index=0, arguments='{"c":1}')],
        calls=ONE_CALL,
    ),
    Row(
        server="Gateways over Ollama's own API", does="send arguments as an object",
        sent=[call(index=0, id="a", name="read_file", arguments={"c": 1})],
        calls=ONE_CALL,
    ),
    Row(
        server="Gemini", does="adds the signature of a thought to a tool call",
        sent=[make_chunk({"tool_calls": [{"index": 0, "id": "a", "type": "function", "extra_content": {"google": {"thought_signature": "s"}},
                                     "function": {"name": "read_file", "arguments": '{"c":1}'}}]})],
        calls=ONE_CALL,
        raw={"tool_calls": [{"id": "a", "type": "function", "function": {"name": "read_file", "arguments": '{"c":1}'},
                             "extra_content": {"google": {"thought_signature": "s"}}}]},
    ),
    Row(
        server="Older gateways", does="send both `tool_calls` and the `function_call` of the older protocol",
        sent=[make_chunk({"function_call": {"name": "read_file", "arguments": '{"c":1}'},
                     "tool_calls": [{"index": 0, "id": "a", "function": {"name": "read_file", "arguments": '{"c":1}'}}]})],
        calls=ONE_CALL,
    ),
]  # fmt: skip
for each in TOOL_CALLS:
    each.sent += make_tail("tool_calls")
    each.finish = "tool_calls"

FINISH_REASONS: Final = [
    Row(server=server, does=f"ends with the finish reason {word!r}".replace("'", "`"), text="Rain falls", finish=ours,
        sent=[*SAID, *make_tail(word)])
    for server, word, ours in (
        ("Together", "eos", "stop"), ("TGI", "eos_token", "stop"), ("TGI", "stop_sequence", "stop"),
        ("Bedrock gateways", "end_turn", "stop"), ("Gemini proxies", "STOP", "stop"), ("Cohere", "COMPLETE", "stop"),
        ("LM Studio behind gateways", "end", "stop"), ("Anthropic gateways", "tool_use", "tool_calls"),
        ("Anthropic gateways", "max_tokens", "length"), ("Gemini proxies", "MAX_TOKENS", "length"),
        ("Responses gateways", "max_output_tokens", "length"), ("Mistral", "model_length", "length"),
        ("Gemini proxies", "SAFETY", "content_filter"), ("z.ai", "sensitive", "content_filter"),
    )
]  # fmt: skip

ENDS: Final = [
    Row(server="DashScope", does='writes the finish reason "null" in each chunk until the last',
        sent=[make_chunk({"content": "Rain "}, "null"), make_chunk({"content": "falls"}, "null"), *make_tail()], text="Rain falls"),
    Row(server="One-API gateways", does='write the finish reason "" in each chunk, also after the last',
        sent=[make_chunk({"content": "Rain falls"}, ""), *make_tail(), make_chunk({}, "")], text="Rain falls"),
    Row(server="One-API gateways", does='write the finish reason "" and break off',
        sent=[make_chunk({"content": "Rain "}, ""), make_chunk({"content": "fa"}, "")], error=IncompleteReply, partial="Rain fa"),
    Row(server="Mistral", does="sends the finish reason with the last text",
        sent=[SAID[0], make_chunk({"content": "falls"}, "stop"), DONE], text="Rain falls"),
    Row(server="Gateways that reorder", does="send the finish reason before the last text",
        sent=[SAID[0], make_chunk({}, "stop"), SAID[1], DONE], text="Rain falls"),
    Row(server="Ollama", does="sends `stop` after `length`",
        sent=[*SAID, make_chunk({}, "length"), make_chunk({}, "stop"), DONE], text="Rain falls", finish="length"),
    Row(server="Proxies that buffer", does="leave the connection open after `[DONE]`",
        sent=[*SAID, *make_tail()], leaves_open=True, text="Rain falls"),
    Row(server="Proxies that buffer", does="leave the connection open before the empty line after `[DONE]`",
        sent=[*SAID, *make_tail()[:-1], DONE.rstrip()], leaves_open=True, text="Rain falls"),
    Row(server="LocalAI", does="omits `[DONE]`",
        sent=[*SAID, make_chunk({}, "stop")], text="Rain falls"),
]  # fmt: skip

THOUGHTS: Final = [
    Row(server="DeepSeek", does="sends reasoning as `reasoning_content`", text="Rain", reasoning="Hmm",
        sent=[make_chunk({"content": None, "reasoning_content": "Hm"}), make_chunk({"reasoning_content": "m", "content": None}),
              make_chunk({"content": "Rain", "reasoning_content": None}), *make_tail()],
        raw={"reasoning_content": "Hmm", "content": "Rain"}),
    Row(server="vLLM, Groq, Ollama", does="sends reasoning as `reasoning`", text="Rain", reasoning="Hmm",
        sent=[make_chunk({"reasoning": "Hm"}), make_chunk({"reasoning": "m"}), make_chunk({"content": "Rain"}), *make_tail()],
        raw={"reasoning": "Hmm"}),
    Row(server="Gateways over vLLM", does="sends the same reasoning under both names", text="Rain", reasoning="Hmm",
        sent=[make_chunk({"reasoning": "Hmm", "reasoning_content": "Hmm"}), make_chunk({"content": "Rain"}), *make_tail()]),
    Row(server="Envoy AI Gateway over Bedrock", does="sends reasoning as an object with a text", text="Rain", reasoning="Hmm",
        sent=[make_chunk({"reasoning_content": {"text": "Hmm"}}), make_chunk({"content": "Rain"}), *make_tail()]),
    Row(server="Mistral", does="sends thoughts as parts of the content", text="Rain", reasoning="Hmm",
        sent=[make_chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hmm"}]}]}),
              make_chunk({"content": [{"type": "text", "text": "Rain"}]}), *make_tail()]),
    Row(server="Mistral", does="cites sources as parts of the content", text="Rain falls",
        sent=[SAID[0], make_chunk({"content": [{"type": "reference", "reference_ids": [1]}]}), SAID[1], *make_tail()]),
    Row(server="OpenAI", does="refuses in the field `refusal`", refusal="I cannot.", raw={"content": None},
        sent=[make_chunk({"refusal": "I can"}), make_chunk({"refusal": "not."}), *make_tail()]),
    Row(server="OpenRouter", does="sends images next to the text", text="Here",
        sent=[make_chunk({"content": "Here"}), make_chunk({"images": [{"type": "image_url", "image_url": {"url": "data:"}}]}), *make_tail()],
        raw={"images": [{"type": "image_url", "image_url": {"url": "data:"}}]}),
]  # fmt: skip

SHAPES: Final = [
    Row(server="Gateways in .NET", does="put a byte order mark before a stream", sent=[BOM[:1], BOM[1:], *SAID, *make_tail()], text="Rain falls"),
    Row(server="Gateways in .NET", does="put a byte order mark before JSON", kind=JSON, sent=[BOM, *make_whole({"content": "Rain falls"})],
        text="Rain falls"),
    Row(server="Unsloth, mini-sglang", does="answer with a stream that was not asked for", sent=[*SAID, *make_tail()], text="Rain falls"),
    Row(server="Servers that do not stream", does="answer a request for a stream with JSON", kind=JSON,
        sent=make_whole({"content": "Rain falls"}), text="Rain falls"),
    Row(server="9Router", does="label JSON as a stream and add `[DONE]`", sent=[*make_whole({"content": "Rain falls"}), b"\n\n", DONE],
        text="Rain falls"),
    Row(server="Misconfigured proxies", does="label a stream as JSON", kind=JSON, sent=[*SAID, *make_tail()], text="Rain falls"),
    Row(server="Servers for old systems", does="end lines with a carriage return alone",
        sent=[each.replace(b"\n", b"\r") for each in (*SAID, *make_tail())], text="Rain falls"),
    Row(server="LitServe", does="send chunks as JSON lines without `data:`", kind="application/x-ndjson",
        sent=[each[6:-1] for each in (*SAID, *make_tail()[:2])], text="Rain falls"),
    Row(server="Gateways over Anthropic", does="send events named `ping`", text="Rain falls",
        sent=[b"event: ping\ndata: ping\n\n", b'event: ping\ndata: {"type": "ping"}\n\n', b"data: null\n\n", *SAID, *make_tail()]),
    Row(server="OpenRouter", does="send comments while the model is loaded", sent=[b": OPENROUTER PROCESSING\n\n", *SAID, *make_tail()],
        text="Rain falls"),
    Row(server="DeepSeek", does="send empty lines until the answer is ready", kind=JSON,
        sent=[b"\n\n", b"\n", *make_whole({"content": "Rain falls"})], text="Rain falls"),
    Row(server="Asynchronous gateways", does="answer with status 201", kind=JSON, status=201, sent=make_whole({"content": "Rain falls"}),
        text="Rain falls"),
    Row(server="Gateways in Java", does="cut a character into two surrogate escapes, one in each chunk", text="\U0001f327 falls",
        sent=[make_chunk({"content": "\ud83c"}), make_chunk({"content": "\udf27 falls"}), *make_tail()], raw={"content": "\U0001f327 falls"}),
    Row(server="Gateways in Java", does="lose the other half of a character", text="a\ufffd falls",
        sent=[make_chunk({"content": "a\ud83c"}), make_chunk({"content": " falls"}), *make_tail()]),
    Row(server="llama.cpp, SGLang", does="write NaN in log probabilities", text="Rain falls",
        sent=[make_event(b'{"choices":[{"index":0,"delta":{"content":"Rain falls"},"logprobs":{"content":[{"logprob":NaN}]}}]}'), *make_tail()]),
]  # fmt: skip

FIELDS: Final = [
    Row(server="Gateways in Go", does="write `index: null`", sent=[make_chunk({"content": "Rain falls"}, index=None), *make_tail()], text="Rain falls"),
    Row(server="Gateways in PHP", does="write numbers as text",
        sent=[make_chunk({"content": "Rain "}, index="0"), SAID[1], *make_tail()], text="Rain falls"),
    Row(server="Servers that count from 1", does="give the only choice the index 1",
        sent=[make_chunk({"content": "Rain falls"}, index=1), make_chunk({}, "stop", index=1), DONE], text="Rain falls"),
    Row(server="Gateways of their own tiers", does="send `service_tier` as an object",
        sent=[make_chunk({"content": "Rain falls"}, service_tier={"name": "a"}), *make_tail()], text="Rain falls"),
    Row(server="Azure", does="begin with a chunk without choices",
        sent=[make_event({"choices": [], "prompt_filter_results": []}), *SAID, *make_tail()], text="Rain falls"),
    Row(server="Gemini", does="omit the message of an answer that is empty", kind=JSON,
        sent=[json.dumps({"choices": [{"index": 0, "finish_reason": "stop"}]}).encode()]),
    Row(server="Perplexity", does="repeat the message so far next to each delta", text="Rain falls",
        sent=[make_event({"choices": [{"index": 0, "delta": {"content": d}, "message": {"content": m}, "finish_reason": f}]})
              for d, m, f in (("Rain ", "Rain ", None), ("falls", "Rain falls", "stop"))]),
    Row(server="Gateways that sum up", does="repeat the complete message in the last chunk", text="Rain falls",
        sent=[*SAID, make_event({"choices": [{"index": 0, "message": {"content": "Rain falls"}, "finish_reason": "stop"}]}), DONE]),
    Row(server="Servers of older completions", does="send `text` in place of a delta", text="Rain falls",
        sent=[make_event({"choices": [{"index": 0, "text": each, "finish_reason": None}]}) for each in ("Rain ", "falls")] + make_tail()),
    Row(server="Any", does="send content of an unknown shape", sent=[SAID[0], make_chunk({"content": [7]}), *make_tail()],
        error=MalformedReply, partial="Rain "),
]  # fmt: skip

ROWS: Final[Sequence[Row]] = [*TOOL_CALLS, *FINISH_REASONS, *ENDS, *THOUGHTS, *SHAPES, *FIELDS]
