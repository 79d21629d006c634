"""How much OpenAI's models can read and write, by family.

Sources, read 2026-11: `context_window` of genai-prices 0.2.3, and `max_input_tokens` and `max_output_tokens` of the table
inside litellm 1.109.1, which cites https://developers.openai.com/api/docs/models. Where the two differ, the larger stands
here, since what is read from this table are upper bounds.
"""

from __future__ import annotations

import functools
import re
from typing import Final, NamedTuple

__all__ = ["Window", "bills_cache_writes", "family", "window_of"]


class Window(NamedTuple):
    """What one model can take and give."""

    context: int
    """Tokens of a prompt and its answer together."""
    output: int
    """Tokens of one answer, hidden ones included."""


_WINDOWS: Final = tuple(
    (re.compile(pattern), window)
    for pattern, window in (
        # A name that is not here is unknown: gpt-6.2 was listed by the vendor's SDK before anybody said its sizes.
        (r"gpt-6(?:\.1)?-(?:astra|sol|terra|luna|rosalind)", Window(1_050_000, 128_000)),
        (r"gpt-5[.-][4-6](?!.*(?:mini|nano|cyber|image))", Window(1_050_000, 128_000)),
        (r"gpt-5-pro", Window(400_000, 272_000)),
        (r"gpt-5(?!.*image)", Window(400_000, 128_000)),
        (r"gpt-4\.1", Window(1_047_576, 32_768)),
        (r"gpt-4\.5", Window(128_000, 16_384)),
        (r"gpt-4o-2024-05-13", Window(128_000, 4_096)),
        (r"gpt-4o(?!:|.*(?:realtime|transcribe|tts|64k))|chatgpt-4o|gpt-audio", Window(128_000, 16_384)),
        (r"gpt-4-32k", Window(32_768, 32_768)),
        (r"gpt-4-(?:turbo|1106|0125|vision)", Window(128_000, 4_096)),
        (r"gpt-4(?:$|-0)", Window(8_192, 8_192)),
        (r"gpt-3\.?5-turbo-16k", Window(16_385, 16_385)),
        (r"gpt-3\.?5-turbo", Window(16_385, 4_096)),
        (r"o1-preview", Window(128_000, 32_768)),
        (r"o1-mini", Window(128_000, 65_536)),
        (r"o[134](?:$|-)", Window(200_000, 100_000)),
        (r"gpt-oss", Window(131_072, 131_072)),
    )
)

_WRITES_ARE_FREE: Final = re.compile(r"gpt-(?:3|4|oss|audio|5(?![.-]6))|chatgpt-4o|o[134](?:$|-)")
"""Models from before gpt-5.6, with which OpenAI began to bill what is written to its prompt cache."""


def family(model: str) -> str:
    """Return the name without case, and of a model that was tuned the one that it was tuned from."""
    name = model.lower()
    return name.split(":")[1] if name.startswith("ft:") else name


@functools.lru_cache(maxsize=1024)
def window_of(model: str) -> Window | None:
    """Return what *model* can read and write, by its name at OpenAI; None where nobody has said."""
    name = family(model)
    return next((window for pattern, window in _WINDOWS if pattern.match(name)), None)


def bills_cache_writes(model: str) -> bool:
    """Whether tokens written to the vendor's cache may cost more than plain ones; True of unknown models."""
    return not _WRITES_ARE_FREE.match(family(model))
