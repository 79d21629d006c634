"""Templates: prompts that `ask --save NAME` stores and `ask -t NAME` uses, one TOML file each in the user's configuration folder.

A variable is a name in braces, `{text}`. Braces with a name do not conflict with JSON, where a quote, a space or a
line end follows a brace. The shell leaves `{text}` unchanged, but would replace `$text`. `{{text}}` produces the
literal text `{text}`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from llmcore.atomic_write import write_atomically
from llmcore.cli.command_errors import UsageError
from llmcore.cli.command_helpers import read_prompt
from llmcore.support.errors import raise_unchained
from llmcore.support.user_folders import get_user_folder

__all__ = ["Template", "delete_template", "fill_template", "list_templates", "load_template", "save_template"]

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"
_VARIABLE: Final = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")
_SUFFIX: Final = ".toml"


class Template(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A stored prompt and its fields."""

    prompt: str = ""
    system: str | None = None
    model: str | None = None
    schema: str | None = None
    """The schema as given to `--schema`; for a schema file, the content of the file."""
    parameters: dict[str, Any] = {}

    @property
    def variables(self) -> list[str]:
        """The names of the variables, in the order of their first use."""
        texts = (self.prompt, self.system or "")
        return list(
            dict.fromkeys(found[2] for text in texts for found in _VARIABLE.finditer(text) if found[2])
        )


def list_templates() -> list[str]:
    """Return the names of all templates, sorted."""
    folder = get_user_folder("config", os.environ)
    if folder is None:
        return []
    try:
        names = sorted(path.stem for path in (folder / "templates").glob(f"*{_SUFFIX}"))
    except OSError:
        return []
    return [name for name in names if re.fullmatch(_NAME, name)]


def load_template(name: str, *, fix: str = "llmcore templates show {}") -> Template:
    """Return the template. *fix* is the command in an error, with {} for the name of a similar template.

    Raises:
        UsageError: No template has the name, or the file is not a template.
    """
    try:
        file = _get_file(name)
        return msgspec.toml.decode(file.read_bytes(), type=Template)
    except FileNotFoundError:
        _raise_missing(name, fix)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise_unchained(
            UsageError(
                f"the template {name} cannot be read: {getattr(error, 'strerror', None) or error}",
                where=str(file),
                expected="TOML with the keys prompt, system, model, schema and parameters",
                fix=f"llmcore templates rm {name}",
            )
        )


def save_template(name: str, template: Template) -> bool:
    """Save the template; return whether it replaced an existing template.

    Raises:
        UsageError: The name or a value is not valid, or the file cannot be written.
    """
    if not re.fullmatch(_NAME, name):
        raise UsageError(
            f"a template's name must be letters, digits, - and _, got {name!r}",
            where="--save",
            expected="at most 100 letters, digits, - and _, beginning with a letter or digit",
            fix=f"--save {re.sub(r'[^A-Za-z0-9_]+', '-', name).strip('-_')[:100] or 'summary'}",
        )
    file = _get_file(name)
    replaced = file.exists()
    try:
        data = _encode(template).encode()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(file, [data])
    except (OSError, ValueError) as error:
        raise_unchained(
            UsageError(
                f"the template {name} cannot be saved: {getattr(error, 'strerror', None) or error}",
                where=str(file),
                expected="text, and a folder that this user may write",
            )
        )
    return replaced


def delete_template(name: str) -> None:
    """Delete the template.

    Raises:
        UsageError: No template has the name.
    """
    try:
        _get_file(name).unlink()
    except FileNotFoundError:
        _raise_missing(name, "llmcore templates rm {}")


def fill_template(template: Template, name: str, args: argparse.Namespace) -> Template:
    """Return *template* with the values of `--var`, and with the words of the command line or stdin.

    If exactly one variable has no value, the words become its value. Otherwise the words are appended to the prompt.

    Raises:
        UsageError: A variable has no value, or a value is given for an unknown variable.
    """
    values = _parse_values(args.var, template, name)
    missing = [each for each in template.variables if each not in values]
    if len(missing) > 1:
        own = next((each for each in ("text", "input") if each in missing), missing[-1])
        given = " ".join(f"--var {each}=TEXT" for each in missing if each != own)
        raise UsageError(
            f"the template {name} needs values for {', '.join(missing)}",
            expected="a value for each; if only one is missing, the text of the command line or stdin is its value",
            fix=f"llmcore ask -t {name} {given} < FILE",
        )
    text = ""
    if missing:
        values[missing[0]] = read_prompt(args.prompt, f"llmcore ask -t {name}")
    elif args.prompt or not template.prompt:
        text = read_prompt(args.prompt, f"llmcore ask -t {name}")
    filled = msgspec.structs.replace(
        template,
        prompt=_fill(template.prompt, values),
        system=None if template.system is None else _fill(template.system, values),
    )
    if text:
        filled.prompt = f"{filled.prompt}\n\n{text}" if filled.prompt else text
    return filled


def _parse_values(given: Sequence[str], template: Template, name: str) -> dict[str, str]:
    from difflib import get_close_matches

    values = {}
    for pair in given:
        variable, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(
                f"`{pair}` is not NAME=TEXT", where="--var", expected="NAME=TEXT", fix=f"--var {pair}=TEXT"
            )
        if variable not in template.variables:
            near = get_close_matches(variable, template.variables, n=1)
            raise UsageError(
                f"the template {name} has no variable {variable}",
                where="--var",
                expected=", ".join(template.variables) or "no variable",
                suggestion=near[0] if near else None,
                fix=f"--var {near[0]}={value}" if near else f"llmcore templates show {name}",
            )
        values[variable] = value
    return values


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: f"{{{found[1]}}}" if found[1] else values[found[2]], text)


def _get_file(name: str) -> Path:
    folder = get_user_folder("config", os.environ)
    if folder is None:
        raise UsageError(
            "templates have no folder: the user has no home directory",
            expected="HOME or XDG_CONFIG_HOME as an absolute path",
            fix="export XDG_CONFIG_HOME=/path/to/a/folder",
        )
    if not re.fullmatch(_NAME, name):
        raise FileNotFoundError(name)
    return folder / "templates" / f"{name}{_SUFFIX}"


def _raise_missing(name: str, fix: str) -> NoReturn:
    from difflib import get_close_matches

    names = list_templates()
    near = get_close_matches(name, names, n=1)
    raise_unchained(
        UsageError(
            f"there is no template {name}",
            expected=", ".join(names) or "none is saved yet",
            suggestion=near[0] if near else None,
            fix=fix.format(near[0])
            if near
            else "llmcore templates"
            if names
            else "llmcore ask --save summary 'Sum up: {text}'",
        )
    )


def _encode(template: Template) -> str:
    """Return the file as TOML that a person can edit, with long texts on separate lines."""
    texts = {key: getattr(template, key) for key in ("prompt", "system", "model", "schema")}
    lines = [f"{key} = {_encode_text(value)}\n" for key, value in texts.items() if value]
    if template.parameters:
        import tomlkit

        lines.append("\n" + tomlkit.dumps({"parameters": template.parameters}))
    return "".join(lines)


def _encode_text(text: str) -> str:
    import tomllib

    literal = f"'''\n{text}'''"
    if re.search(r'[\n"\\]', text):
        try:
            if tomllib.loads(f"text = {literal}")["text"] == text:
                return literal
        except tomllib.TOMLDecodeError:
            pass
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
