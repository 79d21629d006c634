"""Check text arguments such as `model=`, `user=` and `tags=`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from llmcore.config.misplaced_keys import KEY_AS_MODEL, is_like_key
from llmcore.errors import BadRequest

__all__ = ["check_model", "check_tags", "check_text", "check_user", "find_lone_surrogate"]


def find_lone_surrogate(value: str) -> int | None:
    """Return the index of the first lone surrogate in *value*; None if there is none.

    UTF-8 cannot encode a lone surrogate.
    """
    if value.isascii():
        return None
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def check_text(value: object, name: str) -> str:
    """Return the argument *name* as a plain str, or raise `BadRequest`."""
    if not isinstance(value, str):
        raise BadRequest(
            f"{name} must be text, got {type(value).__name__}", code="LC308", expected=f'{name}="..."'
        )
    at = find_lone_surrogate(value)
    if at is not None:
        raise BadRequest(
            f"{name} contains a lone surrogate U+{ord(value[at]):04X} at index {at}",
            code="LC308",
            expected="text that can be encoded as UTF-8",
        )
    return value if type(value) is str else str.__str__(value)


def check_model(model: object) -> str:
    """Return `model=`, or raise `BadRequest`.

    A value that looks like an API key is rejected, because the ledger would store it.
    """
    name = check_text(model, "model")
    if is_like_key(name):
        raise BadRequest(
            f"model {KEY_AS_MODEL}",
            code="LC308",
            where="model",
            expected="a model, provider:model, or a name of [models]",
            notes=("put a key into an environment variable, such as OPENAI_API_KEY",),
        )
    return name


def check_user(user: object) -> str | None:
    """Return `user=`, or raise `BadRequest`."""
    return None if user is None else check_text(user, "user")


def check_tags(tags: object) -> tuple[str, ...]:
    """Return `tags=`, a text or a list of texts, as a tuple, or raise `BadRequest`."""
    if tags is None or tags == ():
        return ()
    if isinstance(tags, str):
        return (check_text(tags, "tags"),)
    if isinstance(tags, bytes | Mapping) or not isinstance(tags, Iterable):
        raise BadRequest(
            f"tags must be text or a list of texts, got {type(tags).__name__}",
            code="LC308",
            expected='tags=["nightly", "report"]',
        )
    return tuple(check_text(tag, "tags") for tag in tags)
