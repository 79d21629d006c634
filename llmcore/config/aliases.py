"""Resolve aliases, the names of [models]. An alias names a list of models. llmcore tries them in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmcore.config.keys import Path, find_nearest, format_key
from llmcore.config.layers import Layer
from llmcore.config.schema import get_reader
from llmcore.errors import ConfigError

__all__ = ["resolve"]


def resolve(
    models: Mapping[str, Any], owner: Callable[[Path], Layer], provider: str
) -> tuple[dict[str, tuple[str, ...]], list[ConfigError]]:
    """Return the models of every alias, and the faults in [models].

    If an alias names another alias, the models of the other alias take its place.

    Args:
        models: The merged table [models].
        owner: Returns the layer that defines a key.
        provider: The configured provider. If a model has no provider, the fix suggests this one.
    """
    resolver = _Resolver(models, owner, provider)
    return {name: resolver.resolve(name) for name in models}, resolver.faults


class _Resolver:
    def __init__(self, models: Mapping[str, Any], owner: Callable[[Path], Layer], provider: str) -> None:
        self.faults: list[ConfigError] = []
        self._members: dict[str, tuple[str, ...]] = {}
        self._owner = owner
        self._provider = provider
        self._resolved: dict[str, tuple[str, ...]] = {}
        for name, value in models.items():
            reader = get_reader(("models", name))
            try:
                self._members[name] = reader.read(value) if reader else ()
            except (ValueError, TypeError):  # the check of the layer has already reported this error
                self._members[name] = ()

    def resolve(self, name: str, above: tuple[str, ...] = ()) -> tuple[str, ...]:
        if name in self._resolved:
            return self._resolved[name]
        if name in above:
            self._report_loop((*above[above.index(name) :], name))
            return ()
        models: dict[str, None] = {}
        for index, member in enumerate(self._members[name]):
            if ":" in member:
                models[member] = None
            elif member in self._members:
                models.update(dict.fromkeys(self.resolve(member, (*above, name))))
            else:
                self._report_unknown(name, index, member)
        self._resolved[name] = tuple(models)
        return self._resolved[name]

    def _report_loop(self, chain: tuple[str, ...]) -> None:
        last = chain[-2]
        path = ("models", last, str(self._members[last].index(chain[-1])))
        layer = self._owner(("models", last))
        self.faults.append(
            layer.make_error(
                path,
                f"models.{chain[0]} refers to itself: {' -> '.join(chain)}",
                code="LC105",
                expected="a chain that ends in models",
                fix=layer.format_set_fix(("models", last), f"{self._provider}:MODEL"),
                notes=tuple(
                    f"{format_key(('models', name))} is at {self._owner(('models', name)).find_position(('models', name))}"
                    for name in dict.fromkeys(chain)
                    if name != last
                ),
            )
        )

    def _report_unknown(self, name: str, index: int, member: str) -> None:
        layer = self._owner(("models", name))
        members = list(self._members[name])
        meant = find_nearest(member, [other for other in self._members if other != name])
        members[index] = meant or f"{self._provider}:{member}"
        new = members[0] if len(members) == 1 else "[" + ", ".join(f'"{item}"' for item in members) + "]"
        self.faults.append(
            layer.make_error(
                ("models", name, str(index)),
                f'`{name}` in [models] must refer to a model, got "{member}"',
                code="LC104",
                expected='"provider:model", or another name of [models]',
                suggestion=meant,
                fix=layer.format_set_fix(("models", name), new),
            )
        )
