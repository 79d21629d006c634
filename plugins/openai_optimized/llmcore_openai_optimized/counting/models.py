"""The encoding and the counting rules of a model, by its name."""

from __future__ import annotations

import functools

# A constant, because an import of `typing` takes a fifth of the time of the first token count.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal

    Encoding = Literal["cl100k_base", "o200k_base"]

__all__ = ["Family", "get_family"]

_CL100K: Final = ("gpt-4-", "gpt-3.5", "gpt-35", "text-embedding-", "davinci-002", "babbage-002")
_O200K: Final = (
    "gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "gpt-audio", "chatgpt-4o", "o1-", "o3-", "o4-", "computer-use", "codex",
)  # fmt: skip
_REASONING: Final = (
    "gpt-5",
    "gpt-6",
    "gpt-7",
    "gpt-8",
    "gpt-9",
    "o1-",
    "o3-",
    "o4-",
    "codex",
    "computer-use",
)
_MEASURED: Final = ("gpt-3.5-turbo", "gpt-35-turbo", "gpt-4-", "gpt-4o", "gpt-4.1", "gpt-5", "o3-", "o4-")
"""Models for which the rules for plain messages were measured."""
_OTHER_KINDS: Final = ("audio", "search", "realtime", "transcribe", "tts", "image")
"""Names of models that belong to a family but take another kind of input."""


class Family:
    """The counting rules of a model."""

    __slots__ = (
        "before_5_4",
        "early",
        "encoding",
        "gpt5",
        "known",
        "measured",
        "name",
        "reasoning",
        "relayed",
    )

    name: str
    """The name in lower case, without vendor prefix and fine-tuning suffix."""
    encoding: Encoding
    known: bool
    """True if the encoding of the model is known."""
    measured: bool
    """True if the rules for plain messages are known to equal the server's rules."""
    reasoning: bool
    gpt5: bool
    """True if the model is a gpt-5 model. These models have another prompt layout."""
    before_5_4: bool
    """True if the model is one of gpt-5 to gpt-5.3."""
    relayed: bool
    """True if the name has a vendor prefix. Gateways use such names, and a gateway may call the vendor by another API."""
    early: bool
    """True if the model is one of the first models with tools (spring 2023)."""

    def __init__(self, name: str, *, relayed: bool = False) -> None:
        """Find the rules for *name*."""
        whole = name + "-"  # the hyphen lets the bare name "o1" match the prefix "o1-", as "o1-pro" does
        old = whole.startswith(_CL100K)
        self.name = name
        self.relayed = relayed
        self.encoding = "cl100k_base" if old else "o200k_base"
        self.known = old or whole.startswith(_O200K)
        self.measured = whole.startswith(_MEASURED) and not any(kind in name for kind in _OTHER_KINDS)
        self.reasoning = whole.startswith(_REASONING) and not name.startswith("o1-mini")
        self.gpt5 = name.startswith("gpt-5")
        self.before_5_4 = self.gpt5 and not name.startswith(tuple(f"gpt-5.{minor}" for minor in range(4, 10)))
        self.early = name.endswith(("-0301", "-0314", "-0613"))


@functools.lru_cache(256)
def get_family(model: str | None) -> Family:
    """Return the rules of *model*. An unknown model gets the newest encoding, and `Family.known` is then False."""
    _, slash, name = (model or "").lower().rpartition("/")
    return Family(name.split(":")[1] if name.startswith("ft:") else name, relayed=bool(slash))
