"""`llmcore completion`: print a shell script that completes commands, actions, options and values."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import NamedTuple

from llmcore.cli import parser as parsers
from llmcore.cli.completion_values import OPTIONS, POSITIONS, WHAT, find_values
from llmcore.cli.show import put

__all__ = ["configure", "run"]

# shtab is not used, because it cannot complete the part after the colon of a model:
# docs/decisions/0016-our-own-shell-completion.md.
_SHELLS = ("bash", "zsh", "fish")
_VALUES = "values"
"""The action that the scripts call. Users do not need this action, so the scripts do not complete its name."""


class _Words(NamedTuple):
    """The completion candidates after one command, with their help texts."""

    command: tuple[str, ...]
    actions: dict[str, str]
    options: dict[str, str]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `completion`."""
    parser.epilog = (
        "to enable it:\n"
        '  bash   eval "$(llmcore completion bash)"      in ~/.bashrc\n'
        '  zsh    eval "$(llmcore completion zsh)"       in ~/.zshrc, after compinit\n'
        "  fish   llmcore completion fish | source       in ~/.config/fish/config.fish"
    )
    parser.add_argument("shell", choices=(*_SHELLS, _VALUES))
    parser.add_argument("what", nargs="?", choices=tuple(WHAT), help="values: the kind of values to print")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    if args.shell == _VALUES:
        for value in find_values(args.what, args) if args.what else WHAT:
            put(value)
        return 0
    words = _collect_words()
    put({"bash": _render_bash, "zsh": _render_zsh, "fish": _render_fish}[args.shell](words), end="")
    return 0


def _collect_words() -> list[_Words]:
    found = [_Words((), parsers.COMMANDS, _list_options(parsers.make_top_parser()))]
    for name in parsers.COMMANDS:
        parser = parsers.make_parser(name)
        kinds = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001 - argparse has no public API for its tree of parsers
        help_text = {choice.dest: choice.help or "" for kind in kinds for choice in kind._choices_actions}  # noqa: SLF001 - argparse has no public name for this attribute
        found.append(_Words((name,), help_text or _list_choices(parser), _list_options(parser)))
        found += [
            _Words((name, inner), {}, _list_options(kind.choices[inner]))
            for kind in kinds
            for inner in kind.choices
        ]
    return found


def _list_options(parser: argparse.ArgumentParser) -> dict[str, str]:
    return {
        option: action.help or ""
        for action in parser._actions  # noqa: SLF001 - argparse has no public name for this attribute
        for option in action.option_strings
        if option.startswith("--")
    }


def _list_choices(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return the choices of the first argument of a command."""
    plain = [action for action in parser._actions if not action.option_strings]  # noqa: SLF001 - argparse has no public name for this attribute
    choices = [str(choice) for choice in plain[0].choices or ()] if plain else []
    return {choice: "" for choice in choices if choice != _VALUES}


def _render_bash(words: list[_Words]) -> str:
    cases = "\n".join(
        f'    "{" ".join(each.command)}") words="{" ".join([*each.actions, *each.options])}" ;;'
        for each in words
    )
    return f"""_llmcore() {{
  local at=1 command="" words="" what="" first="$COMP_CWORD" current="${{COMP_WORDS[COMP_CWORD]}}"
  # bash splits provider:model into three words
  while [ "$first" -gt 1 ] && [[ "${{COMP_WORDS[first]}}" == : || "${{COMP_WORDS[first-1]}}" == : ]]; do
    first=$((first - 1))
    current="${{COMP_WORDS[first]}}$current"
  done
  local last="${{COMP_WORDS[first-1]}}"
  while [ "$at" -lt "$first" ]; do
    case "${{COMP_WORDS[at]}}" in
      --profile|--config) at=$((at + 1)) ;;
      -*) ;;
      *) case "$command" in *" "*) ;; *) command="${{command:+$command }}${{COMP_WORDS[at]}}" ;; esac ;;
    esac
    at=$((at + 1))
  done
  case "$command" in
{cases}
    *" "*) words="" ;;
  esac
  case "$last" in
{_render_cases(OPTIONS)}
  esac
  if [ -z "$what" ] && [ "$last" = "${{command##* }}" ]; then
    case "$command" in
{_render_cases(POSITIONS)}
    esac
  fi
  [ -n "$what" ] && words="$(llmcore completion values "$what" 2>/dev/null)"
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [[ "$COMP_WORDBREAKS" == *:* && "$current" == *:* ]]; then
    COMPREPLY=("${{COMPREPLY[@]#"${{current%"${{current##*:}}"}}"}}")
  fi
}}
complete -o default -F _llmcore llmcore
"""


def _render_cases(whats: Mapping[str, str]) -> str:
    """Return the branches of a `case` that select the kind of values."""
    return "\n".join(f'    "{name}") what={what} ;;' for name, what in whats.items())


def _render_zsh(words: list[_Words]) -> str:
    cases = "\n".join(
        f'    "{" ".join(each.command)}") entries=({" ".join(_render_zsh_word(*word) for word in _list_entries(each))}) ;;'
        for each in words
    )
    return f"""#compdef llmcore
_llmcore() {{
  local -a entries
  local command="" word skip=0 what="" last="${{words[CURRENT-1]}}"
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    if (( skip )); then skip=0; continue; fi
    case "$word" in
      --profile|--config) skip=1 ;;
      -*) ;;
      *) [[ "$command" == *" "* ]] || command="${{command:+$command }}$word" ;;
    esac
  done
  case "$command" in
{cases}
  esac
  case "$last" in
{_render_cases(OPTIONS)}
  esac
  if [[ -z "$what" && "$last" == "${{command##* }}" ]]; then
    case "$command" in
{_render_cases(POSITIONS)}
    esac
  fi
  if [[ -n "$what" ]]; then
    compadd -- ${{(f)"$(llmcore completion values $what 2>/dev/null)"}}
    return
  fi
  _describe -V llmcore entries || _files
}}
compdef _llmcore llmcore
"""


def _render_fish(words: list[_Words]) -> str:
    lines = ["complete -c llmcore -f -n __fish_use_subcommand"]
    for each in words:
        after_command = " ; and ".join(f"__fish_seen_subcommand_from {word}" for word in each.command)
        condition = after_command or "__fish_use_subcommand"
        if len(each.command) == 1 and each.actions:
            condition_of_actions = (
                f"{after_command} ; and not __fish_seen_subcommand_from {' '.join(each.actions)}"
            )
        else:
            condition_of_actions = condition
        lines += [
            f"complete -c llmcore -n {_quote_for_fish(condition_of_actions)} -f -a {name} -d {_quote_for_fish(help_text)}"
            for name, help_text in each.actions.items()
        ]
        lines += [
            f"complete -c llmcore -n {_quote_for_fish(condition)} -l {name[2:]} -d {_quote_for_fish(help_text)}"
            for name, help_text in each.options.items()
        ]
    for option, what in OPTIONS.items():
        flag = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
        lines.append(f"complete -c llmcore -x {flag} -a '(llmcore completion values {what} 2>/dev/null)'")
    for command, what in POSITIONS.items():
        condition = _quote_for_fish(
            "; and ".join(f"__fish_seen_subcommand_from {word}" for word in command.split())
        )
        lines.append(
            f"complete -c llmcore -n {condition} -f -a '(llmcore completion values {what} 2>/dev/null)'"
        )
    return "\n".join(lines) + "\n"


def _list_entries(words: _Words) -> list[tuple[str, str]]:
    return [*words.actions.items(), *words.options.items()]


def _render_zsh_word(name: str, help_text: str) -> str:
    text = f"{name}:{help_text}" if help_text else name
    return "'" + text.replace("'", "'\\''") + "'"


def _quote_for_fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
