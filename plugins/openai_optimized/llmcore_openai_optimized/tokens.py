"""Token counts without the network, by the rules that OpenAI's servers were seen to follow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from llmcore.types import ChatRequest, Message, TokenCount
from llmcore_openai_optimized._ranks import encoding

__all__ = ["count"]

_ROLES: Final = frozenset({"system", "developer", "user", "assistant"})
_COUNTED_APART: Final = frozenset(
    {"audio", "functions", "prediction", "response_format", "tools", "web_search_options"}
)
"""Parameters that the server turns into tokens."""

_IMAGE: Final = 765
"""Tokens of an image of 1024 by 1024 pixels, the middle of what images cost."""

_CL100K: Final = re.compile(r"gpt-4(?:$|-)|gpt-3\.?5|text-embedding-")
_O200K: Final = re.compile(r"gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|chatgpt-4o|o[134](?:$|-)")
_REASONING: Final = re.compile(r"gpt-[5-9]|o[134](?:$|-)")
_MEASURED: Final = re.compile(r"gpt-3\.?5-turbo|gpt-4(?:$|-)|gpt-4o(?!.*audio)|gpt-4\.1|gpt-5|o[34](?:$|-)")
"""Models whose servers were seen to count plain messages by these rules."""


class _Rules(msgspec.Struct, frozen=True):
    """How one model's server counts."""

    encoding: str
    known: bool
    """Whether the encoding is known to be the model's."""
    measured: bool
    """Whether the sums for messages are known to be the server's."""
    reply: int
    """Tokens that open the reply."""
    past_reply: int
    """Tokens that each earlier reply costs beside its text."""

    @classmethod
    def of(cls, model: str | None) -> _Rules:
        name = (model or "").lower()
        if name.startswith("ft:"):
            name = name.split(":")[1]
        old, new = _CL100K.match(name), _O200K.match(name)
        reasoning = bool(_REASONING.match(name))
        return cls(
            encoding="cl100k_base" if old else "o200k_base",
            known=bool(old or new),
            measured=bool(_MEASURED.match(name)),
            reply=2 if reasoning else 3,
            past_reply=2 if reasoning else 0,
        )

    def text(self, text: str) -> int:
        """Count a text alone; what looks like a special token is ordinary text to the server."""
        return len(encoding(self.encoding).encode_ordinary(text))


def count(content: str | Sequence[Message] | ChatRequest, model: str | None = None) -> TokenCount:
    """Count a text alone, messages, or a whole request; exact only where the server is known to count the same."""
    if isinstance(content, str):
        rules = _Rules.of(model)
        return TokenCount(rules.text(content), exact=rules.known)
    messages: Sequence[Mapping[str, Any]] = (
        content if not isinstance(content, ChatRequest) else content.messages
    )
    parameters = content.parameters if isinstance(content, ChatRequest) else {}
    rules = _Rules.of(content.model if isinstance(content, ChatRequest) else model)
    total, exact = rules.reply, rules.measured
    for message in messages:
        tokens, plain = _message(message, rules)
        total, exact = total + tokens, exact and plain
    for name in _COUNTED_APART & parameters.keys():
        value = parameters[name]
        if name == "response_format" and isinstance(value, Mapping) and value.get("type") != "json_schema":
            continue
        total, exact = total + rules.text(_json(value)), False
    return TokenCount(total, exact=exact)


def _message(message: Mapping[str, Any], rules: _Rules) -> tuple[int, bool]:
    """Return the tokens of one message, and whether they are known to be the server's."""
    role, content = message.get("role"), message.get("content")
    total = 4 + (rules.past_reply if role == "assistant" else 0)
    plain = role in _ROLES and message.keys() <= {"role", "content"}
    if isinstance(content, str):
        total += rules.text(content)
    else:
        tokens, texts_only = _parts(content or (), rules)
        total, plain = total + tokens, plain and texts_only and bool(content)
    for name in message.keys() - {"role", "content", "tool_call_id"}:
        if message[name] is not None:
            value = message[name]
            total += rules.text(value if isinstance(value, str) else _json(value))
    return total, plain


def _parts(parts: Sequence[Any], rules: _Rules) -> tuple[int, bool]:
    """Texts are joined before they are encoded, as the server does."""
    texts: list[str] = []
    other = 0
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) else None
        if isinstance(text, str):
            texts.append(text)
        else:
            other += _IMAGE
    return other + rules.text("".join(texts)), not other


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=repr).decode()
