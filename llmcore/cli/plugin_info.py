"""`llmcore plugins info`: show the options, parameters and abilities of one provider, or the keys of a table."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from typing import Any

import msgspec

from llmcore.calls.backend import Backend
from llmcore.cli.instances import find_used, load_entry
from llmcore.cli.plugin_audit import find_abilities
from llmcore.cli.show import Paint, print_json, put
from llmcore.cli.streams import get_stdout
from llmcore.config import load_settings
from llmcore.config.fields import get_fields
from llmcore.config.mask import format_value
from llmcore.errors import LLMCoreError
from llmcore.hookspecs import Provider, Table
from llmcore.plugins import Catalogue

__all__ = ["show", "show_table"]


def show(which: tuple[str, str], args: argparse.Namespace) -> int:
    """Print the options, parameters and abilities of the provider *which*, a kind and a name."""
    kind, name = which
    catalogue = Catalogue()
    entry = load_entry(kind, name, args, catalogue)
    row = catalogue.inspect(kind, find_used(kind, name, args))
    abilities, why = _find_abilities(kind, entry, args)
    report: dict[str, Any] = {
        "name": entry.name,
        "kind": kind,
        "distribution": row.distribution,
        "version": row.version,
        "module": row.module,
        "options": _list_options(entry),
        "abilities": abilities,
        "abilities_unknown_because": why,
    }
    if kind == "llm":
        report |= {"default_model": entry.default_model, "parameters": sorted(entry.parameters)}
    if args.json:
        print_json(**report)
    else:
        _print(report, Paint.for_stream(get_stdout(), no_color=args.no_color))
    return 0


def show_table(name: str, args: argparse.Namespace, catalogue: Catalogue) -> int:
    """Print the keys of the table [name] that a plugin declares."""
    table = catalogue.load_table(name)
    row = catalogue.inspect("tables", name)
    report: dict[str, Any] = {
        "name": table.name,
        "kind": "tables",
        "distribution": row.distribution,
        "version": row.version,
        "module": row.module,
        "options": _list_options(table),
    }
    if args.json:
        print_json(**report)
    else:
        paint = Paint.for_stream(get_stdout(), no_color=args.no_color)
        put(paint("bold", f"[{table.name}], table of {row.distribution} {row.version}".rstrip()) + "\n")
        _print_options(report["options"], paint)
    return 0


def _print(report: dict[str, Any], paint: Paint) -> None:
    put(
        paint(
            "bold",
            f"{report['name']}, {report['kind']} provider of {report['distribution']} {report['version']}".rstrip(),
        )
    )
    put(f"\noptions, in [{report['kind']}.{report['name']}]:")
    _print_options(report["options"], paint)
    if report["kind"] == "llm":
        put(f"\ndefault model\n  {report['default_model'] or 'none; set [llm] model'}")
        put("\nparameters\n" + _wrap(report["parameters"]))
    if report["abilities_unknown_because"]:
        put(
            f"\nabilities: unknown, since the provider cannot be created\n  {report['abilities_unknown_because']}"
        )
    else:
        put("\nabilities (protocols of llmcore.contracts)\n" + _wrap(report["abilities"]))


def _print_options(options: list[dict[str, Any]], paint: Paint) -> None:
    width = max((len(f"{option['name']}: {option['type']}") for option in options), default=0)
    for option in options:
        default = "must be set" if option["required"] else f"= {_render_default(option['default'])}"
        text = f"{option['name']}: {option['type']}"
        put(f"  {text:<{width}}  {paint('dim', default)}")
    if not options:
        put("  none")


def _wrap(names: list[str]) -> str:
    import shutil
    import textwrap

    width = min(shutil.get_terminal_size().columns, 100)
    return textwrap.fill(", ".join(names) or "none", width, initial_indent="  ", subsequent_indent="  ")


def _render_default(value: Any) -> str:
    return "not set" if value is None else format_value("", value)


def _list_options(entry: Provider | Table) -> list[dict[str, Any]]:
    return [
        {
            "name": field.key,
            "type": _render_type(field.type),
            "required": field.required,
            "default": None if field.required else _to_plain(_find_default(entry.options, field.name)),
        }
        for field in get_fields(entry.options).values()
    ]


def _to_plain(value: Any) -> Any:
    """Return a default as a JSON value."""

    def convert(item: Any) -> Any:
        return next((kind(item) for kind in (int, float, str) if isinstance(item, kind)), str(item))

    return msgspec.to_builtins(value, enc_hook=convert)


def _find_default(structure: type, name: str) -> Any:
    """Return the default of a field of a Struct, dataclass or NamedTuple; None if the field has no default."""
    if issubclass(structure, msgspec.Struct):
        field = next(field for field in msgspec.structs.fields(structure) if field.name == name)
        factory: Any = field.default_factory
        return field.default if factory is msgspec.NODEFAULT else factory()
    if dataclasses.is_dataclass(structure):
        found = next(field for field in dataclasses.fields(structure) if field.name == name)
        return found.default if found.default_factory is dataclasses.MISSING else found.default_factory()
    return getattr(structure, "_field_defaults", {}).get(name)


def _render_type(hint: Any) -> str:
    args = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Annotated:
        return _render_type(args[0])
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(map(repr, args))
    if not args and (isinstance(hint, type) or hint is Ellipsis):
        return {type(None): "None", Ellipsis: "..."}.get(hint) or str(getattr(hint, "__name__", hint))
    if typing.get_origin(hint) in {typing.Union, type(int | str)}:
        return " | ".join(map(_render_type, args))
    if typing.get_origin(hint) in {list, dict, tuple, set, frozenset}:
        return f"{typing.get_origin(hint).__name__}[{', '.join(map(_render_type, args))}]"
    return str(hint).replace("typing.", "")


def _find_abilities(kind: str, entry: Provider, args: argparse.Namespace) -> tuple[list[str], str | None]:
    """Return the protocols of `llmcore.contracts` that the provider implements, or the reason why they are unknown."""
    try:
        backend = Backend(kind, entry, load_settings(args.config, profile=args.profile))
        parts = [backend.provider, backend.offline]
    except LLMCoreError as error:
        return [], error.message
    protocols = find_abilities(kind)
    return [
        name for name, protocol in protocols.items() if any(isinstance(part, protocol) for part in parts)
    ], None
