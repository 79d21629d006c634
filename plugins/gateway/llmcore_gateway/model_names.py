"""Decide which models a client may request."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from llmcore_gateway.error_answers import Refused
from llmcore_gateway.http_messages import Caller

__all__ = ["ModelNames"]


class ModelNames:
    """The models of a gateway."""

    def __init__(self, configured: Iterable[str], defaults: Iterable[str], default: str | None) -> None:
        self.names = tuple(dict.fromkeys(configured or defaults))
        """The names that clients may request, and patterns of names."""
        self._default = default
        """The model for requests that do not name a model."""

    def list(self, caller: Caller) -> list[str]:
        """Return the names that *caller* may request, without patterns."""
        return [name for name in self.names if "*" not in name and _is_match(name, caller.models)]

    def is_served(self, pattern: str) -> bool:
        """Return whether *pattern*, a name or a pattern from the models of a key, allows a model of this gateway."""
        return any(fnmatchcase(name, pattern) or fnmatchcase(pattern, name) for name in self.names)

    def check(self, name: object, caller: Caller) -> str | None:
        """Return the name of the model that the request is sent to; None for the configured model.

        Raises:
            Refused: The name is not a text, or *caller* may not request it.
        """
        if name is None:
            name = self._default
            if name is None:
                return None
        if not isinstance(name, str):
            raise Refused(400, "invalid_request_error", "`model` must be a text", param="model")
        if (not self.names or _is_match(name, self.names)) and _is_match(name, caller.models):
            return name
        allowed = self.list(caller)
        known = f"; it may request {', '.join(allowed)}" if allowed else ""
        raise Refused(
            404,
            "not_found_error",
            f"the model `{name[:200]}` does not exist, or this client may not request it{known}",
            code="model_not_found",
            param="model",
        )

    def check_voice(self, name: str | None, caller: Caller) -> None:
        """Check that *caller* may request the model *name* of the configured voice.

        None is the configured model; keys call this model "default".

        Raises:
            Refused: The key of *caller* does not allow this model.
        """
        wanted = name or "default"
        if not _is_match(wanted, caller.models):
            raise Refused(
                404,
                "not_found_error",
                f"this client may not request the model `{wanted[:200]}` of a voice; it may request "
                f"{', '.join(caller.models)}",
                code="model_not_found",
                param="model",
            )


def _is_match(name: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
