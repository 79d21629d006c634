"""Check and normalise the arguments of a chat before anything is sent."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, Final, NamedTuple, NoReturn

from llmcore.calls.json_values import normalise
from llmcore.errors import BadRequest
from llmcore.hookspecs import Provider
from llmcore.llm.options import ChatOptions, ModelOptions, Prompt
from llmcore.support.chat_bounds import OUTPUT_LIMITS
from llmcore.types import Message
from llmcore.units import is_part

__all__ = [
    "EXTRA_BODY",
    "build_messages",
    "check_parameter_names",
    "normalise_extra_body",
    "normalise_parameters",
    "parse_refresh",
]

_LONG: Final = 1 << 64
_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
"""The roles of Chat Completions. Other roles are sent unchanged, because some servers support them."""
_NEEDS_CONTENT: Final = frozenset({"system", "developer", "user", "tool"})

EXTRA_BODY: Final = "extra_body"
"""The name of the argument, and of the provider's option, for parameters that only some servers know."""
_NOT_EXTRA: Final = {
    "model": 'chat(..., model="NAME")',
    "messages": "chat(messages=[...])",
    "stream": "stream(...) in place of chat(...)",
}

_OF_SERVERS: Final = frozenset(
    {
        "best_of", "chat_template_kwargs", "do_sample", "enable_thinking", "grammar",
        "guided_choice", "guided_grammar", "guided_json", "guided_regex", "ignore_eos", "length_penalty", "min_p",
        "min_tokens", "models", "num_ctx", "num_predict", "plugins", "provider", "reasoning", "repeat_penalty",
        "repetition_penalty", "safe_prompt", "thinking", "thinking_budget", "top_a", "top_k", "transforms", "typical_p",
    }
)  # fmt: skip
"""Parameters that some servers know. These names are not treated as misspellings of declared parameters."""

_OF_THE_CALL: Final = ChatOptions.__optional_keys__ - ModelOptions.__optional_keys__ - {EXTRA_BODY}
"""Arguments of `chat` that are not sent.

A misspelt argument looks like a parameter, so the error suggests these names too.
"""

_A_MESSAGE: Final = 'a dict such as {"role": "user", "content": "Hello"}'
_PARTS: Final = '[{"type": "text", "text": "Hello"}]'
_PLAIN_KEYS: Final = {"role", "content"}
_LONGEST: Final = 40
"""Maximum length of a value in a fix."""


def build_messages(
    prompt: Prompt, messages: Sequence[Mapping[str, Any]] | None, system: str | None
) -> list[Message]:
    """Return the messages of *system*, *messages* and *prompt*, in that order, as plain JSON values.

    Raises:
        BadRequest: The list of messages is empty, or a message is malformed.
    """
    talk: list[Any] = []
    if system is not None:
        talk.append({"role": "system", "content": _check_text(system, "system")})
    if messages is not None:
        talk.extend(_normalise_messages(messages))
    if isinstance(prompt, str):
        talk.append({"role": "user", "content": _check_text(prompt, "prompt")})
    elif prompt is not None:
        talk.extend(_normalise_messages(prompt))
    if len(talk) == (system is not None):
        raise BadRequest(
            "there is no message to answer",
            code="LC303",
            expected="a text, or a list of messages",
            fix='chat("Write a haiku about rain")',
        )
    return talk


def check_parameter_names(given: Mapping[str, Any], entry: Provider) -> None:
    """Raise `BadRequest` if *given* has a parameter that the provider *entry* does not declare."""
    if entry.parameters.issuperset(given):
        return
    name = min(given.keys() - entry.parameters)
    near = _find_nearest(name, entry.parameters | _OF_THE_CALL)
    open_ = EXTRA_BODY in entry.parameters
    value = _show_value(given[name])
    fix = f"replace {name}={value} by {near[0]}={value}" if near else f"chat(...) without {name}="
    if open_ and (name in _OF_SERVERS or not near):
        near = []
        fix = f"replace {name}={value} by extra_body={{{name!r}: {value}}}"
    raise BadRequest(
        f"unknown parameter `{name}` for the llm provider `{entry.name}`",
        provider=entry.name,
        code="LC302",
        expected=", ".join(sorted(entry.parameters)) or "no parameters",
        suggestion=near[0] if near else None,
        notes=("extra_body={...} sends parameters that only some servers know",) if open_ else (),
        fix=fix,
    )


def normalise_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return *given* as plain JSON values, without values that are None.

    Raises:
        BadRequest: A value is not JSON.
    """
    clean = {}
    for name, value in given.items():
        kind = type(value)
        if (
            (kind is float and isfinite(value))  # the common types, inlined for speed
            or (kind is int and -_LONG < value < _LONG)
            or kind is bool
        ):
            clean[name] = value
        elif value is not None:
            if isinstance(value, str) and name in OUTPUT_LIMITS:
                _refuse_limit(name, value)
            clean[name] = normalise(value, name)
    return clean


def _refuse_limit(name: str, value: str) -> NoReturn:
    raise BadRequest(
        f"{name} must be a whole number, got {_show_value(value)}",
        code="LC308",
        where=f"{name}={_show_value(value)}",
        expected="a whole number, 1 or more",
        fix=f"replace {name}={_show_value(value)} by {name}=1000",
    )


def normalise_extra_body(given: object, name: str = EXTRA_BODY) -> dict[str, Any]:
    """Return *given*, which is sent as part of the body, as plain JSON values. None is sent as null.

    Args:
        given: The value from the application or the configuration.
        name: The name of the argument or option, for errors.

    Raises:
        BadRequest: *given* is not a dict of JSON values, or sets a parameter that llmcore sets itself.
    """
    if not isinstance(given, Mapping):
        raise BadRequest(
            f"{name} must be a dict, got {type(given).__name__}",
            code="LC308",
            where=name,
            expected="a dict of the server's parameters",
            fix='extra_body={"top_k": 5}',
        )
    extra: dict[str, Any] = normalise(given, name)
    for own, fix in _NOT_EXTRA.items():
        if own in extra:
            raise BadRequest(
                f"{name} must not set `{own}`, which llmcore sets itself",
                code="LC308",
                where=f"{name}.{own}",
                expected="parameters other than " + ", ".join(_NOT_EXTRA),
                fix=fix,
            )
    return extra


def parse_refresh(value: object, ttl: float | None, name: str) -> float:
    """Return the argument *name*, a fraction of *ttl* between 0 and 1, or raise `BadRequest`."""
    if not is_part(value):
        raise BadRequest(
            f"{name} must be between 0 and 1, got {value!r}",
            code="LC308",
            expected="between 0 and 1",
            fix=f"{name}=0.8",
        )
    if ttl is None:
        raise BadRequest(
            f"{name} is a fraction of the TTL, but no TTL is set",
            code="LC308",
            expected="a ttl of the cache, or cache_ttl=",
            fix=f'{name}={value}, cache_ttl="1h"',
        )
    return value


def _check_text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(
            f"{what} must be text, got {type(value).__name__}",
            code="LC303",
            expected="str",
            fix=f"str({what})",
        )
    if not value.strip():
        raise BadRequest(f"the {what} is empty", code="LC303", expected="a text that is not blank")
    text: str = normalise(value, f"the {what}", "LC303")
    return text


def _normalise_messages(messages: object) -> list[Any]:
    """Return *messages* as plain JSON values, or raise `BadRequest` for the first malformed message."""
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
        raise BadRequest(
            f"messages must be a list of messages, got {type(messages).__name__}",
            code="LC304",
            where="messages",
            expected='[{"role": "user", "content": "Hello"}]',
            fix="put the message into a list: [message]" if isinstance(messages, Mapping) else None,
        )
    listed: list[Any] = normalise(list(messages), "messages", "LC304")
    for index, message in enumerate(listed):
        fault = _find_message_fault(message)
        if fault:
            raise BadRequest(
                f"messages[{index}]{fault.message}",
                code="LC304",
                where=f"messages[{index}]{fault.where}",
                expected=fault.expected,
                suggestion=fault.suggestion,
                fix=_find_message_fix(fault, listed, index),
            )
    return listed


class _Fault(NamedTuple):
    """A fault of one message."""

    message: str
    expected: str
    where: str = ""
    suggestion: str | None = None
    fix: str | None = None
    """A fix; `MESSAGE` is a placeholder for the message."""
    mended: Mapping[str, Any] | None = None
    """The message without the fault."""


def _find_message_fix(fault: _Fault, messages: Sequence[Any], index: int) -> str | None:
    """Return a call with the corrected message, or for a long call a line that corrects the message."""
    if fault.mended is not None and len(messages) == 1:
        shown = _show_value(fault.mended.get("content"))
        if len(fault.mended) == len(_PLAIN_KEYS & fault.mended.keys()) and shown != "...":
            return f"core.llm.chat([{fault.mended!r}])"
    return fault.fix and fault.fix.replace("MESSAGE", f"messages[{index}]")


def _find_message_fault(message: object) -> _Fault | None:
    if not isinstance(message, dict):
        return _Fault(f" must be a dict, got {_get_type_name(message)}", _A_MESSAGE)
    role = message.get("role")
    if role not in _ROLES:
        if "role" not in message:
            return _find_misspelt_key(message, "role") or _Fault(" has no role", ", ".join(_ROLES))
        if not isinstance(role, str) or not role.strip():
            message = f".role must be text, got {_get_type_name(role) if role else repr(role)}"
            return _Fault(message, ", ".join(_ROLES), where=".role")
        near = _find_misspelt_role(role)
        if near:
            fix = f'MESSAGE["role"] = "{near}"'
            return _Fault(f".role is {role!r}, which looks misspelt", ", ".join(_ROLES), ".role", near, fix)
    if (
        "content" not in message
        and role in _NEEDS_CONTENT
        and (fault := _find_misspelt_key(message, "content"))
    ):
        return fault
    return _find_content_fault(role, message.get("content"))


def _find_misspelt_key(message: Mapping[str, Any], key: str) -> _Fault | None:
    """If a key of *message* is a misspelling of *key*, return the fault; otherwise None."""
    near = _find_nearest(key, message.keys() - {"role", "content", "name"})
    if not near:
        return None
    return _Fault(
        f" has no {key}, but the unknown key `{near[0]}`",
        _A_MESSAGE,
        f"[{near[0]!r}]",
        key,
        f'MESSAGE["{key}"] = MESSAGE.pop({near[0]!r})',
        {key if each == near[0] else each: value for each, value in message.items()},
    )


def _find_content_fault(role: Any, content: object) -> _Fault | None:
    if content is None:  # other roles may have tool calls or fields of some servers instead
        return _Fault(" has no content", _A_MESSAGE) if role in _NEEDS_CONTENT else None
    if isinstance(content, str) and (content or role != "user"):
        return None
    if not content and isinstance(content, str | list):
        return _Fault(".content must not be empty", "a text that is not blank, or a part", ".content")
    if isinstance(content, list):
        return _find_part_fault(content)
    message = f".content must be text or a list of parts, got {_get_type_name(content)}"
    fix = "put the part into a list: [part]" if isinstance(content, dict) else None
    return _Fault(message, f"a text, or parts such as {_PARTS}", ".content", fix=fix)


def _find_part_fault(parts: list[Any]) -> _Fault | None:
    for index, part in enumerate(parts):
        if not isinstance(part, dict | str):  # some servers accept plain texts
            where = f".content[{index}]"
            return _Fault(
                f"{where} must be a dict, got {_get_type_name(part)}", f"parts such as {_PARTS}", where
            )
    return None


def _get_type_name(value: object) -> str:
    return "None" if value is None else type(value).__name__


def _show_value(value: object) -> str:
    """Return *value* for a line to paste; "..." for a long value, which may be an API key."""
    if isinstance(value, int):
        return repr(value) if value.bit_length() < _LONGEST else "..."
    return repr(value) if isinstance(value, float | str) and len(repr(value)) <= _LONGEST else "..."


@functools.lru_cache(maxsize=256)
def _find_misspelt_role(role: str) -> str | None:
    """Return the role that *role* probably misspells. None if *role* is probably a role of some server, such as "ipython"."""
    near = _find_nearest(role, _ROLES, 0.9)
    return near[0] if near else None


def _find_nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    # imported only for an error, because the import takes longer than a cached answer
    from difflib import get_close_matches

    return get_close_matches(name, list(known), n=1, cutoff=cutoff)
