"""`llmcore completion`: the script that lets a shell complete commands, actions and options."""

from __future__ import annotations

import argparse
from typing import NamedTuple

from llmcore.cli import parser as parsers

__all__ = ["configure", "run"]

_SHELLS = ("bash", "zsh", "fish")


class _Words(NamedTuple):
    """What may stand behind one command, with what it does."""

    command: tuple[str, ...]
    actions: dict[str, str]
    options: dict[str, str]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `completion` takes."""
    parser.epilog = (
        "to switch it on:\n"
        '  bash   eval "$(llmcore completion bash)"      in ~/.bashrc\n'
        '  zsh    eval "$(llmcore completion zsh)"       in ~/.zshrc, behind compinit\n'
        "  fish   llmcore completion fish | source       in ~/.config/fish/config.fish"
    )
    parser.add_argument("shell", choices=_SHELLS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    words = _words()
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](words), end="")
    return 0


def _words() -> list[_Words]:
    found = [_Words((), parsers.COMMANDS, _options(parsers.top()))]
    for name in parsers.COMMANDS:
        parser = parsers.of(name)
        kinds = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001 - argparse shows its tree to nobody
        told = {choice.dest: choice.help or "" for kind in kinds for choice in kind._choices_actions}  # noqa: SLF001 - as above
        found.append(_Words((name,), told or _choices(parser), _options(parser)))
        found += [
            _Words((name, inner), {}, _options(kind.choices[inner]))
            for kind in kinds
            for inner in kind.choices
        ]
    return found


def _options(parser: argparse.ArgumentParser) -> dict[str, str]:
    return {
        option: action.help or ""
        for action in parser._actions  # noqa: SLF001 - as above
        for option in action.option_strings
        if option.startswith("--")
    }


def _choices(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return the values that the first argument of a command may have, where there are few."""
    plain = [action for action in parser._actions if not action.option_strings]  # noqa: SLF001 - as above
    return dict.fromkeys(map(str, plain[0].choices or ()), "") if plain else {}


def _bash(words: list[_Words]) -> str:
    cases = "\n".join(
        f'    "{" ".join(each.command)}") words="{" ".join([*each.actions, *each.options])}" ;;'
        for each in words
    )
    return f"""_llmcore() {{
  local at=1 command="" words=""
  while [ "$at" -lt "$COMP_CWORD" ]; do
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
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _llmcore llmcore
"""


def _zsh(words: list[_Words]) -> str:
    cases = "\n".join(
        f'    "{" ".join(each.command)}") entries=({" ".join(_zsh_word(*word) for word in _told(each))}) ;;'
        for each in words
    )
    return f"""#compdef llmcore
_llmcore() {{
  local -a entries
  local command="" word skip=0
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
  _describe -V llmcore entries || _files
}}
compdef _llmcore llmcore
"""


def _fish(words: list[_Words]) -> str:
    lines = ["complete -c llmcore -f -n __fish_use_subcommand"]
    for each in words:
        behind = " ; and ".join(f"__fish_seen_subcommand_from {word}" for word in each.command)
        condition = behind or "__fish_use_subcommand"
        if len(each.command) == 1 and each.actions:
            condition_of_actions = f"{behind} ; and not __fish_seen_subcommand_from {' '.join(each.actions)}"
        else:
            condition_of_actions = condition
        lines += [
            f"complete -c llmcore -n {_fish_quoted(condition_of_actions)} -f -a {name} -d {_fish_quoted(told)}"
            for name, told in each.actions.items()
        ]
        lines += [
            f"complete -c llmcore -n {_fish_quoted(condition)} -l {name[2:]} -d {_fish_quoted(told)}"
            for name, told in each.options.items()
        ]
    return "\n".join(lines) + "\n"


def _told(words: _Words) -> list[tuple[str, str]]:
    return [*words.actions.items(), *words.options.items()]


def _zsh_word(name: str, told: str) -> str:
    text = f"{name}:{told}" if told else name
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
