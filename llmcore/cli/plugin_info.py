"""`llmcore plugins info`: what one provider takes and can do."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import typing
from typing import Any

import msgspec

from llmcore import contracts
from llmcore.calls.backend import Backend
from llmcore.cli.show import Paint, print_json
from llmcore.config import load_settings
from llmcore.config.fields import fields_of
from llmcore.config.mask import shown
from llmcore.errors import LLMCoreError
from llmcore.hookspecs import Provider
from llmcore.plugins import Catalogue

__all__ = ["show"]


def show(which: tuple[str, str], args: argparse.Namespace) -> int:
    """Print what the provider *which*, a kind and a name, takes and can do."""
    kind, name = which
    catalogue = Catalogue()
    entry = catalogue.provider(kind, name)
    row = catalogue.inspect(kind, name)
    abilities, why = _abilities(kind, entry, args)
    told: dict[str, Any] = {
        "name": entry.name,
        "kind": kind,
        "distribution": row.distribution,
        "version": row.version,
        "module": row.module,
        "options": _options(entry),
        "abilities": abilities,
        "abilities_unknown_because": why,
    }
    if kind == "llm":
        told |= {"default_model": entry.default_model, "parameters": sorted(entry.parameters)}
    if args.json:
        print_json(**told)
    else:
        _print(told, Paint.of(sys.stdout, no_color=args.no_color))
    return 0


def _print(told: dict[str, Any], paint: Paint) -> None:
    print(
        paint(
            "bold",
            f"{told['name']}, {told['kind']} provider of {told['distribution']} {told['version']}".rstrip(),
        )
    )
    print(f"\noptions, in [{told['kind']}.{told['name']}]:")
    width = max((len(f"{option['name']}: {option['type']}") for option in told["options"]), default=0)
    for option in told["options"]:
        default = "must be set" if option["required"] else f"= {_default_text(option['default'])}"
        text = f"{option['name']}: {option['type']}"
        print(f"  {text:<{width}}  {paint('dim', default)}")
    if not told["options"]:
        print("  none")
    if told["kind"] == "llm":
        print(f"\ndefault model\n  {told['default_model'] or 'none: [llm] model names one'}")
        print("\nparameters\n" + _wrapped(told["parameters"]))
    if told["abilities_unknown_because"]:
        print(f"\nabilities: not known, since it cannot be created\n  {told['abilities_unknown_because']}")
    else:
        print("\nabilities, by their names in llmcore.contracts\n" + _wrapped(told["abilities"]))


def _wrapped(names: list[str]) -> str:
    import shutil
    import textwrap

    width = min(shutil.get_terminal_size().columns, 100)
    return textwrap.fill(", ".join(names) or "none", width, initial_indent="  ", subsequent_indent="  ")


def _default_text(value: Any) -> str:
    return "not set" if value is None else shown("", value)


def _options(entry: Provider) -> list[dict[str, Any]]:
    return [
        {
            "name": field.key,
            "type": _type_text(field.type),
            "required": field.required,
            "default": None if field.required else _plain(_default(entry.options, field.name)),
        }
        for field in fields_of(entry.options).values()
    ]


def _plain(value: Any) -> Any:
    """Return a default as JSON has it."""

    def plain(item: Any) -> Any:
        return next((kind(item) for kind in (int, float, str) if isinstance(item, kind)), str(item))

    return msgspec.to_builtins(value, enc_hook=plain)


def _default(structure: type, name: str) -> Any:
    """Return the default of a field, whichever way its author wrote it; None where there is none to show."""
    if issubclass(structure, msgspec.Struct):
        field = next(field for field in msgspec.structs.fields(structure) if field.name == name)
        factory: Any = field.default_factory
        return field.default if factory is msgspec.NODEFAULT else factory()
    if dataclasses.is_dataclass(structure):
        found = next(field for field in dataclasses.fields(structure) if field.name == name)
        return found.default if found.default_factory is dataclasses.MISSING else found.default_factory()
    return getattr(structure, "_field_defaults", {}).get(name)


def _type_text(hint: Any) -> str:
    args = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Annotated:
        return _type_text(args[0])
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(map(repr, args))
    if isinstance(hint, type) and not args:
        return "None" if hint is type(None) else hint.__name__
    if typing.get_origin(hint) in {typing.Union, type(int | str)}:
        return " | ".join(map(_type_text, args))
    if typing.get_origin(hint) in {list, dict, tuple, set, frozenset}:
        return f"{typing.get_origin(hint).__name__}[{', '.join(map(_type_text, args))}]"
    return str(hint).replace("typing.", "")


def _abilities(kind: str, entry: Provider, args: argparse.Namespace) -> tuple[list[str], str | None]:
    """Return the promises that the provider keeps, by the names of `llmcore.contracts`, or why nobody knows."""
    try:
        backend = Backend(kind, entry, load_settings(args.config, profile=args.profile))
        parts = [backend.provider, backend.offline]
    except LLMCoreError as error:
        return [], error.message
    protocols = {name: getattr(contracts, name) for name in contracts.__all__}
    module = f"llmcore.contracts.{kind}"
    names = [name for name, protocol in protocols.items() if protocol.__module__ == module]
    return [name for name in names if any(isinstance(part, protocols[name]) for part in parts)], None
