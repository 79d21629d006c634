"""What is known of a model by its name: its encoding, and by which rules its server counts."""

from __future__ import annotations

import functools

TYPE_CHECKING = False  # as `typing` has it, whose import would be a fifth of a first count
if TYPE_CHECKING:
    from typing import Final, Literal

    Encoding = Literal["cl100k_base", "o200k_base"]

__all__ = ["Family", "family"]

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
"""Models whose servers were seen to count plain messages by these rules."""
_OTHER_KINDS: Final = ("audio", "search", "realtime", "transcribe", "tts", "image")
"""Models of a family that take something else in."""


class Family:
    """How one model's server counts."""

    __slots__ = ("before_5_4", "early", "encoding", "gpt5", "known", "measured", "name", "reasoning")

    name: str
    """The model's name, in small letters, without a vendor in front or a fine-tuning around it."""
    encoding: Encoding
    known: bool
    """Whether the encoding is known to be the model's."""
    measured: bool
    """Whether the sums for plain messages are known to be the server's."""
    reasoning: bool
    gpt5: bool
    """Whether it is of the family gpt-5, whose prompts are laid out otherwise."""
    before_5_4: bool
    """Whether it is of gpt-5 to gpt-5.3."""
    early: bool
    """Whether it is of the first that had tools, in spring 2023."""

    def __init__(self, name: str) -> None:
        """Tell what is known of *name*."""
        whole = name + "-"  # so that a family's own name begins as its members do
        old = whole.startswith(_CL100K)
        self.name = name
        self.encoding = "cl100k_base" if old else "o200k_base"
        self.known = old or whole.startswith(_O200K)
        self.measured = whole.startswith(_MEASURED) and not any(kind in name for kind in _OTHER_KINDS)
        self.reasoning = whole.startswith(_REASONING) and not name.startswith("o1-mini")
        self.gpt5 = name.startswith("gpt-5")
        self.before_5_4 = self.gpt5 and not name.startswith(tuple(f"gpt-5.{minor}" for minor in range(4, 10)))
        self.early = name.endswith(("-0301", "-0314", "-0613"))


@functools.lru_cache(256)
def family(model: str | None) -> Family:
    """Return what is known of *model*; of an unknown one the newest encoding, marked as not known."""
    name = (model or "").lower().rpartition("/")[2]
    return Family(name.split(":")[1] if name.startswith("ft:") else name)
