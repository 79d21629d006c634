"""Check the arguments of `embed`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from llmcore.calls.text_arguments import find_lone_surrogate
from llmcore.errors import BadRequest
from llmcore.llm.options import EmbedOptions

__all__ = ["check_dimensions", "check_options", "check_texts", "make_parameters"]

_NONE_LEFT: Final = "[]"
_LONGEST: Final = 80
"""The longest list of texts that a fix shows, in characters of its repr."""


def check_texts(texts: object, name: str = "texts") -> list[str]:
    """Return *texts*, one text or several texts, as a list. *name* is the argument's name in errors.

    Raises:
        BadRequest: The list is empty, or an item is blank or is not a text.
    """
    if isinstance(texts, str):
        return [_check(texts, name)]
    if isinstance(texts, bytes | Mapping) or not isinstance(texts, Iterable):
        raise BadRequest(
            f"{name} must be a list of texts, got {type(texts).__name__}",
            code="LC303",
            where=name,
            expected='["first text", "second text"]',
        )
    texts = list(texts)
    checked = [_check(text, f"{name}[{index}]", texts) for index, text in enumerate(texts)]
    if not checked:
        raise BadRequest(
            f"{name} must contain at least one text, got none",
            code="LC303",
            where=name,
            expected='["first text", "second text"]',
        )
    return checked


def check_dimensions(dimensions: object) -> int | None:
    """Return `dimensions=`, or raise `BadRequest`."""
    if dimensions is None:
        return None
    if isinstance(dimensions, bool) or not isinstance(dimensions, int) or dimensions < 1:
        raise BadRequest(
            f"dimensions must be a positive integer, got {dimensions!r}",
            code="LC308",
            where="dimensions",
            expected="the length of a vector, such as 256",
            fix="dimensions=256",
        )
    return dimensions


def check_options(options: Mapping[str, Any]) -> None:
    """Raise `BadRequest` for an argument of `embed` that does not exist."""
    known = EmbedOptions.__optional_keys__
    if known.issuperset(options):
        return
    from difflib import get_close_matches

    name = min(options.keys() - known)
    near = get_close_matches(name, known, n=1)
    raise BadRequest(
        f"embed has no argument `{name}`",
        code="LC308",
        where=name,
        expected=", ".join(sorted(known)),
        suggestion=near[0] if near else None,
        fix=f"embed(texts, {near[0]}=...)" if near else f"embed(texts, extra_body={{{name!r}: ...}})",
    )


def make_parameters(dimensions: int | None, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters to send. Parameters in *extra* take precedence."""
    return {**({} if dimensions is None else {"dimensions": dimensions}), **extra}


def _find_fix(texts: Sequence[object]) -> str:
    """Return a call without the blank texts. A long list is not shown; then the call filters the list itself."""
    shown = repr([text for text in texts if isinstance(text, str) and text.strip()])
    if shown != _NONE_LEFT and len(shown) <= _LONGEST:
        return f"core.llm.embed({shown})"
    return "embed([text for text in texts if text.strip()])"


def _check(text: object, name: str, texts: Sequence[object] = ()) -> str:
    if not isinstance(text, str):
        raise BadRequest(
            f"{name} must be text, got {type(text).__name__}", code="LC303", where=name, expected="str"
        )
    if not text.strip():
        raise BadRequest(
            f"{name} must not be empty",
            code="LC303",
            where=name,
            expected="a text that is not blank",
            fix=_find_fix(texts),
        )
    at = find_lone_surrogate(text)
    if at is not None:
        raise BadRequest(
            f"{name} contains a lone surrogate U+{ord(text[at]):04X} at index {at}",
            code="LC303",
            where=name,
            expected="text that can be encoded as UTF-8",
        )
    return text if type(text) is str else str.__str__(text)
