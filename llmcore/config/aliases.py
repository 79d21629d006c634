"""Resolves the names of [models]: each to the models to try, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmcore.config.keys import Path, dotted, nearest
from llmcore.config.layers import Layer
from llmcore.config.schema import reader_of
from llmcore.errors import ConfigError

__all__ = ["resolve"]


def resolve(
    models: Mapping[str, Any], owner: Callable[[Path], Layer], provider: str
) -> tuple[dict[str, tuple[str, ...]], list[ConfigError]]:
    """Return every name with its models, other names replaced by theirs, and what is wrong.

    Args:
        models: The merged table [models].
        owner: Tells which layer a key comes from.
        provider: The configured one, for the line that mends a model without a provider.
    """
    resolver = _Resolver(models, owner, provider)
    return {name: resolver.models(name) for name in models}, resolver.faults


class _Resolver:
    def __init__(self, models: Mapping[str, Any], owner: Callable[[Path], Layer], provider: str) -> None:
        self.faults: list[ConfigError] = []
        self._given: dict[str, tuple[str, ...]] = {}
        self._owner = owner
        self._provider = provider
        self._done: dict[str, tuple[str, ...]] = {}
        for name, value in models.items():
            reader = reader_of(("models", name))
            try:
                self._given[name] = reader.read(value) if reader else ()
            except (ValueError, TypeError):  # told already, by the check of its layer
                self._given[name] = ()

    def models(self, name: str, above: tuple[str, ...] = ()) -> tuple[str, ...]:
        if name in self._done:
            return self._done[name]
        if name in above:
            self._loop((*above[above.index(name) :], name))
            return ()
        found: dict[str, None] = {}
        for index, member in enumerate(self._given[name]):
            if ":" in member:
                found[member] = None
            elif member in self._given:
                found.update(dict.fromkeys(self.models(member, (*above, name))))
            else:
                self._unknown(name, index, member)
        self._done[name] = tuple(found)
        return self._done[name]

    def _loop(self, chain: tuple[str, ...]) -> None:
        last = chain[-2]
        path = ("models", last, str(self._given[last].index(chain[-1])))
        layer = self._owner(("models", last))
        self.faults.append(
            layer.fault(
                path,
                f"models.{chain[0]} leads back to itself: {' -> '.join(chain)}",
                code="LC105",
                expected="a chain that ends in models",
                fix=layer.to_set(("models", last), f"{self._provider}:MODEL"),
                notes=tuple(
                    f"{dotted(('models', name))} stands at {self._owner(('models', name)).where(('models', name))}"
                    for name in dict.fromkeys(chain)
                    if name != last
                ),
            )
        )

    def _unknown(self, name: str, index: int, member: str) -> None:
        layer = self._owner(("models", name))
        members = list(self._given[name])
        meant = nearest(member, [other for other in self._given if other != name])
        members[index] = meant or f"{self._provider}:{member}"
        new = members[0] if len(members) == 1 else "[" + ", ".join(f'"{item}"' for item in members) + "]"
        self.faults.append(
            layer.fault(
                ("models", name, str(index)),
                f'`{name}` in [models] names no model: "{member}"',
                code="LC104",
                expected='"provider:model", or another name of [models]',
                suggestion=meant,
                fix=layer.to_set(("models", name), new),
            )
        )
