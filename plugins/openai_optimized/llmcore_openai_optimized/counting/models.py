"""What is known of a model by its name: its encoding, and by which rules its server counts."""

from __future__ import annotations

import functools
import re
from typing import Final, Literal, NamedTuple

__all__ = ["Encoding", "Family", "family"]

Encoding = Literal["cl100k_base", "o200k_base"]

_CL100K: Final = re.compile(r"gpt-4(?:$|-)|gpt-3\.?5|text-embedding-|davinci-002|babbage-002")
_O200K: Final = re.compile(
    r"gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|gpt-audio|chatgpt-4o|o[134](?:$|-)|computer-use|codex"
)
_REASONING: Final = re.compile(r"gpt-[5-9]|o[134](?:$|-)|codex|computer-use")
_MEASURED: Final = re.compile(
    r"gpt-3\.?5-turbo|gpt-4(?:$|-)|gpt-4o(?!.*(?:audio|search|realtime))|gpt-4\.1|gpt-5|o[34](?:$|-)"
)
"""Models whose servers were seen to count plain messages by these rules."""


class Family(NamedTuple):
    """How one model's server counts."""

    name: str
    """The model's name, in small letters, without a vendor in front or a fine-tuning around it."""
    encoding: Encoding
    known: bool
    """Whether the encoding is known to be the model's."""
    measured: bool
    """Whether the sums for plain messages are known to be the server's."""
    reasoning: bool

    @property
    def gpt5(self) -> bool:
        """Whether it is of the family gpt-5, whose prompts are laid out otherwise."""
        return self.name.startswith("gpt-5")

    @property
    def before_5_4(self) -> bool:
        """Whether it is of gpt-5 to gpt-5.3."""
        return bool(re.match(r"gpt-5(?!\.[4-9])", self.name))

    @property
    def early(self) -> bool:
        """Whether it is of the first that had tools, in spring 2023."""
        return self.name.endswith(("-0301", "-0314", "-0613"))


@functools.lru_cache(256)
def family(model: str | None) -> Family:
    """Return what is known of *model*; of an unknown one the newest encoding, marked as not known."""
    name = (model or "").lower().rpartition("/")[2]
    if name.startswith("ft:"):
        name = name.split(":")[1]
    old, new = _CL100K.match(name), _O200K.match(name)
    return Family(
        name=name,
        encoding="cl100k_base" if old else "o200k_base",
        known=bool(old or new),
        measured=bool(_MEASURED.match(name)),
        reasoning=bool(_REASONING.match(name)) and not name.startswith("o1-mini"),
    )
