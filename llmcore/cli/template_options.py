"""The options `--save` and `-t` of `llmcore ask`: from a command line to a template, and back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from llmcore.cli.command_errors import UsageError
from llmcore.cli.command_helpers import read_prompt
from llmcore.cli.prompt_templates import Template, fill_template, load_template, save_template
from llmcore.cli.question import read_options
from llmcore.cli.show import note

__all__ = ["apply", "save"]

_NOT_STORED = ("attach", "again", "json", "no_cache", "refresh", "stream", "template", "timeout", "var")
"""The options that a template does not store, by their names in the namespace."""


def save(args: argparse.Namespace) -> int:
    """Store the prompt and the options as a template; ask nothing."""
    for name in _NOT_STORED:
        value = getattr(args, name)
        if value or (value is False and name == "stream"):
            option = {"again": "-c", "var": "--var", "template": "-t"}.get(
                name, f"--{name.replace('_', '-')}"
            )
            raise UsageError(
                f"a template does not store {option}",
                where="--save",
                expected="prompt, -s, -m, -p and --schema",
            )
    given = read_options(args)
    model, system = given.pop("model", None), given.pop("system", None)
    prompt = read_prompt(args.prompt, "llmcore ask") if args.prompt or system is None else ""
    template = Template(
        prompt=prompt, system=system, model=model, schema=_get_schema(args.schema), parameters=given
    )
    replaced = save_template(args.save, template)
    variables = ", ".join(template.variables)
    note(
        f"{'replaced' if replaced else 'saved'} {args.save}"
        + (f"; variables: {variables}" if variables else "")
    )
    return 0


def apply(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Return the prompt and the arguments of `chat` for the template of `-t`.

    Options of the command line take precedence.

    Raises:
        UsageError: The template does not exist, or a variable has no value.
    """
    stored = load_template(args.template, fix="-t {}")
    if args.system is not None:
        stored.system = None  # --system replaces this text, so variables that occur only in it need no values
    template = fill_template(stored, args.template, args)
    args.schema = args.schema or template.schema
    own = {**template.parameters, "model": template.model, "system": template.system}
    given = {name: value for name, value in own.items() if value is not None} | read_options(args)
    return template.prompt, given


def _get_schema(given: str | None) -> str | None:
    """Return the schema to store.

    For a schema file, this is the content, because the file may change or move later.
    """
    if given is None:
        return None
    from llmcore.cli.schema_file import read_schema

    schema = read_schema(given)
    if not Path(given).is_file():
        return given
    import json

    return json.dumps(schema)
