"""The configuration layer of a dict that the application passes.

Positions and fixes of this layer are Python code.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llmcore.config.keys import Path, parse_index
from llmcore.config.layers import Layer, parse_scalar
from llmcore.config.mask import quote
from llmcore.config.schema import LISTS, is_text_wanted
from llmcore.errors import ConfigError

__all__ = ["DictLayer", "copy_tree", "find_named_layer", "write_value"]


class DictLayer(Layer):
    """A dict of settings: one that replaces the project file, a profile in this dict, or the `arguments` of `load`."""

    def __init__(self, name: str, tree: Mapping[str, Any], *, inside: Path = ()) -> None:
        super().__init__(name, tree)
        self._inside = inside

    def find_position(self, path: Path, at: Literal["key", "value"] = "key") -> str | None:
        """See `Layer.find_position`."""
        del at
        call = "load(arguments=...)" if self.name == "arguments" else "load(...)"
        return call + _format_subscripts(self._inside + path)

    def format_set_fix(self, path: Path, value: str) -> str | None:
        """See `Layer.format_set_fix`."""
        written = write_value(path, value)
        if path[0] in LISTS and parse_index(path[1] if len(path) > 1 else "") is not None:
            # a dict cannot express a single entry of a list
            return f"config{_format_subscripts(self._inside + path)} = {written}"
        return _nest(self._inside + path, written)

    def format_unset_fix(self, path: Path) -> str | None:
        """See `Layer.format_unset_fix`."""
        return f"del config{_format_subscripts(self._inside + path)}"

    def format_open_fix(self, path: Path) -> str | None:
        """See `Layer.format_open_fix`."""
        return _nest(self._inside + path, "{...}")


def find_named_layer(layers: Sequence[Layer]) -> Layer:
    """Return the dict or the file that the caller named; if the caller named neither, the lowest layer."""
    named = (layer for layer in layers if isinstance(layer, DictLayer) or getattr(layer, "named", None))
    return next(named, layers[0])


def write_value(path: Path, value: str) -> str:
    """Return *value*, the text of the setting *path*, as a Python literal: 8, True, "1h", a list or a dict."""
    if value.startswith("{"):
        return _format_literal(tomllib.loads(f"value = {value}")["value"])
    return _format_literal(value if is_text_wanted(path) else parse_scalar(value))


def _format_literal(value: Any) -> str:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quote(key)}: {_format_literal(each)}" for key, each in value.items()) + "}"
    return f"[{', '.join(map(_format_literal, value))}]" if isinstance(value, list) else repr(value)


def _format_subscripts(path: Path) -> str:
    path = _mask_keys(path)
    in_list = path[:1] and path[0] in LISTS
    return "".join(
        f"[{part}]" if at == 1 and in_list and parse_index(part) is not None else f"[{quote(part)}]"
        for at, part in enumerate(path)
    )


def _nest(path: Path, written: str) -> str:
    for part in reversed(_mask_keys(path)):
        written = f"{{{quote(part)}: {written}}}"
    return written


def _mask_keys(path: Path) -> Path:
    """Return *path* with "..." in place of each part that looks like an API key, because errors must not show API keys."""
    from llmcore.config.misplaced_keys import is_like_key

    return tuple("..." if is_like_key(part) else part for part in path)


def copy_tree(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a deep copy of *tree*, so that later changes of *tree* have no effect on the configuration."""
    copy: dict[str, Any] = {}
    for key, value in tree.items():
        if not isinstance(key, str):
            raise ConfigError(
                f"a key of the configuration must be text, got {key!r}", code="LC102", where="load(...)"
            )
        copy[key] = _copy_value(value)
    return copy


def _copy_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return copy_tree(value)
    return [_copy_value(item) for item in value] if isinstance(value, list | tuple) else value
