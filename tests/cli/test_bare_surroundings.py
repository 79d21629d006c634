"""Every command in a bare environment: no home, no working directory, closed or read-only folders.

Each command runs in a separate process with real permissions. Permissions apply to root only without its capabilities: a child drops
those, or becomes an unknown user that may read everything, so that the Python of the test run can start.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from llmcore.cli.parser import COMMANDS
from tests.kits.cli import ONE_OF_EACH

NOBODY = 54321
READS_ALL = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=+dac_read_search",
             "--ambient-caps=+dac_read_search")  # fmt: skip
NO_CAPABILITIES = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")

RUNNER = """
import importlib, json, os, pkgutil, resource, select, sys, traceback
import llmcore
from llmcore.cli import main
given = json.load(sys.stdin)
if given["delete"]:
    os.rmdir(os.getcwd())
for module in pkgutil.walk_packages(llmcore.__path__, "llmcore."):
    if not module.name.startswith(("llmcore.testing", "llmcore.__main__")):
        importlib.import_module(module.name)  # in these surroundings, and once for all commands


def begin(arguments, env):
    (out, to_out), (err, to_err) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), to_out, to_err)):
            os.dup2(file, number)
        for number in given["closed"]:  # as Python finds them when it starts so
            os.close(number)
            setattr(sys, ("stdin", "stdout", "stderr")[number], None)
        if given["full"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        os.environ.update(env)
        sys.argv[1:] = arguments
        try:
            code = main()
        except BaseException:
            traceback.print_exc(file=sys.stderr or os.fdopen(to_err, "w"))
            code = 99
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        os._exit(code)
    os.close(to_out)
    os.close(to_err)
    return child, out, err


def end(child, *pipes):
    texts = {pipe: b"" for pipe in pipes}
    left = [*pipes]
    while left:
        for pipe in select.select(left, [], [])[0]:
            piece = os.read(pipe, 65536)
            texts[pipe] += piece
            if not piece:
                left.remove(pipe)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), *(texts[pipe].decode() for pipe in pipes)


slow = {number: begin(*run) for number, run in enumerate(given["runs"]) if run[0][0] in ("demo", "doctor")}
json.dump([end(*(slow.get(number) or begin(*run))) for number, run in enumerate(given["runs"])], sys.stdout)
"""
"""Runs each command in a fork, which saves the start of Python and the imports."""

RUNS = [
    ["--version"], ["--help"], ["ask", "hi"], ["ask", "--json", "hi"], ["chat"], ["count", "hi"], ["embed", "hi"], ["models"],
    ["say", "hi", "-o", "/dev/null"], ["say", "hi", "-o", "hi.wav"], ["voices"],
    ["store", "put", "a.txt", "-"], ["store", "ls"], ["store", "get", "a.txt"], ["store", "cp", "a.txt", "b.txt"],
    ["store", "mv", "a.txt", "c.txt"], ["store", "rm", "a.txt"], ["cache", "stats", "--keys"], ["cache", "clear"],
    ["usage"], ["usage", "budget"], ["usage", "export"], ["config"], ["config", "explain", "cache.ttl"],
    ["config", "unset", "cache.ttl"], ["config", "unset", "--user", "cache.ttl"], ["config", "check"], ["config", "path"],
    ["--config", "some.toml", "ask", "hi"], ["--config", "~/some.toml", "ask", "hi"], ["plugins"], ["plugins", "info", "echo"],
    ["plugins", "check", "nothing"], ["plugins", "new", "thing", "--kind", "cache"], ["doctor", "--limit", "60s"], ["demo"],
    ["completion", "bash"], ["chat", "--list"], ["ask", "-c", "hi"], ["ask", "--save", "x", "hi"], ["ask", "-t", "x"],
    ["templates"], ["templates", "show", "x"], ["templates", "rm", "x"], ["logs"], ["logs", "1"], ["nothing"], ["config", "set", "cache.ttl", "1h"], ["config", "set", "--user", "cache.ttl", "1h"],
    ["config", "init"], ["config", "init", "--user"], ["batch", "list"],
]  # fmt: skip

BUDGETS = [
    (["ask", "hi"], {"LLMCORE__BUDGET__LIMIT": "5", "LLMCORE__BUDGET__ON_EXCEED": what})
    for what in ("refuse", "warn")
]


class Place(NamedTuple):
    """The directory, the user and the environment of a command."""

    cwd: Path
    env: dict[str, str]
    before: tuple[str, ...] = ()
    delete: bool = False
    full: bool = False
    """No file may grow: the disk is full, and no folder for temporary files is usable."""
    closed: tuple[int, ...] = ()
    """Descriptors of standard streams that are closed."""


FEW_PLUGINS = "fs,espeak,redis"
"""For `doctor`, which starts a process for each plugin: plugins with large SDKs are tried in only one of the environments."""


class Result(NamedTuple):
    code: int
    out: str
    err: str


def run(place: Place, runs: list[tuple[list[str], dict[str, str]]], **env: str) -> list[Result]:
    if place.before and (os.getuid() != 0 or shutil.which("setpriv") is None):
        pytest.skip("only root, with setpriv, can give up its rights")
    kept = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*place.before, sys.executable, "-c", RUNNER],
        cwd=place.cwd,
        env=kept | place.env | env,
        input=json.dumps({"runs": runs, **place._asdict()}, default=str),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Result(*each) for each in json.loads(done.stdout)]


def no_home(_: Path) -> Place:
    return Place(Path("/"), {}, READS_ALL)


def home_that_cannot_be_written(_: Path) -> Place:
    return Place(Path("/"), {"HOME": "/"}, READS_ALL)


def relative_home(folder: Path) -> Place:
    folder.chmod(0o777)  # so that the missing folders of the user could be made
    return Place(folder, {"HOME": "somewhere", "XDG_CACHE_HOME": "cache"}, READS_ALL)


def deleted_folder(folder: Path) -> Place:
    gone = folder / "gone"
    gone.mkdir()
    return Place(gone, {"HOME": str(folder), "PWD": str(gone)}, delete=True)


def closed_parent(folder: Path) -> Place:
    inner = folder / "closed" / "inner"
    inner.mkdir(parents=True)
    (folder / "closed" / "llmcore.toml").write_text("[budget]\nlimit = 0\n")
    os.chown(inner.parent, NOBODY, NOBODY)
    inner.parent.chmod(0o700)
    return Place(inner, {"HOME": str(folder)}, NO_CAPABILITIES)


def closed_user_configuration(folder: Path) -> Place:
    own = folder / "config" / "llmcore"
    own.mkdir(parents=True)
    (own / "config.toml").write_text("[budget]\nlimit = 0\n")
    os.chown(own, NOBODY, NOBODY)
    own.chmod(0o700)
    return Place(folder, {"HOME": str(folder), "XDG_CONFIG_HOME": str(own.parent)}, NO_CAPABILITIES)


def no_state_folder(folder: Path) -> Place:
    (folder / "file").write_text("")
    base = str(folder / "file")
    return Place(folder, {"HOME": base, "XDG_STATE_HOME": base + "/state", "XDG_CACHE_HOME": base + "/cache"})


def read_only_file_system(_: Path) -> Place:
    return Place(Path("/proc"), {"HOME": "/proc/self"})


def full_disk(folder: Path) -> Place:
    return Place(folder, {"HOME": str(folder)}, full=True)


def no_temporary_folder(folder: Path) -> Place:
    return Place(folder, {"HOME": str(folder), "TMPDIR": str(folder / "missing")})


def closed_stdin(folder: Path) -> Place:
    return Place(folder, {"HOME": str(folder)}, closed=(0,))


def closed_stdout(folder: Path) -> Place:
    return Place(folder, {"HOME": str(folder)}, closed=(1,))


def closed_stderr(folder: Path) -> Place:
    return Place(folder, {"HOME": str(folder)}, closed=(2,))


def closed_streams(folder: Path) -> Place:
    return Place(folder, {"HOME": str(folder)}, closed=(0, 1, 2))


OPEN = [
    no_home,
    home_that_cannot_be_written,
    relative_home,
    deleted_folder,
    no_state_folder,
    read_only_file_system,
]
CLOSED = [closed_parent, closed_user_configuration]
ORDINARY = [full_disk, no_temporary_folder, closed_stdin, closed_stdout, closed_stderr, closed_streams]
"""Sound folders, with something else amiss."""
Make = Callable[[Path], Place]


@pytest.fixture
def folder(open_folder: Path) -> Path:
    """Return a folder that every user may enter, in one whose rights a test may change."""
    found = open_folder / "open"
    found.mkdir()
    return found


def test_all_commands_are_tried() -> None:
    assert {*COMMANDS} <= {word for arguments in RUNS for word in arguments}


@pytest.mark.timeout(360)
@pytest.mark.parametrize("make", [*OPEN, *CLOSED, *ORDINARY])
def test_every_command_works_or_says_in_an_error_of_ours_why_not(make: Make, folder: Path) -> None:
    place = make(folder)
    plugins = ONE_OF_EACH if make is read_only_file_system else FEW_PLUGINS
    runs = [*BUDGETS, *((arguments, {}) for arguments in RUNS)]
    refused, warned, *results = run(place, runs, LLMCORE_PLUGINS=plugins)
    found = {" ".join(arguments): result for arguments, result in zip(RUNS, results, strict=True)}
    for command, result in found.items():
        label = f"{command}: {result}"
        assert result.code in range(8), label
        assert "LC000" not in result.err + result.out, label
        assert "Traceback" not in result.err + result.out, label
        assert (
            result.code == 0
            or 2 in place.closed
            or re.search(r'error\[LC|"code": "LC', result.err)
            or command.startswith("doctor")
        ), label
    made = {each.name for each in folder.iterdir()} & {"somewhere", "cache", "~", "gone"}
    assert not made, "a relative home and a deleted folder stay as they are"
    if make in OPEN:
        check_that_an_answer_needs_neither_home_nor_folder(found, is_warned=make is not deleted_folder)
    if make in CLOSED:
        check_that_a_closed_folder_is_passed_over_with_a_warning(found)
    if make is full_disk or (make in OPEN and make is not deleted_folder):
        check_that_a_budget_that_refuses_needs_a_ledger(refused, warned)


def check_that_an_answer_needs_neither_home_nor_folder(found: dict[str, Result], *, is_warned: bool) -> None:
    plain, in_json, count = found["ask hi"], found["ask --json hi"], found["count hi"]
    assert (plain.code, plain.out, json.loads(in_json.out)["text"]) == (0, "You said: hi\n", "You said: hi")
    assert (count.code, count.out) == (0, "1\n")
    warnings = ["kept in the memory of this process", "ledger"] if is_warned else []
    lines = plain.err.splitlines()
    assert len(lines) == len(warnings), plain.err
    for line, warning in zip(lines, warnings, strict=True):
        assert line.startswith("warning: ")
        assert warning in line


def check_that_a_closed_folder_is_passed_over_with_a_warning(found: dict[str, Result]) -> None:
    asked = found["ask hi"]
    assert (asked.code, asked.out) == (0, "You said: hi\n")
    assert "toml cannot be read: it is in a directory that may not be entered" in asked.err
    assert (found["plugins"].code, found["config path"].code) == (0, 0)


def check_that_a_budget_that_refuses_needs_a_ledger(refused: Result, warned: Result) -> None:
    assert (refused.code, refused.out) == (5, "")
    assert "error[LC603]" in refused.err
    assert (warned.code, warned.out) == (0, "You said: hi\n")


def test_python_itself_may_begin_in_a_deleted_folder(folder: Path) -> None:
    gone = folder / "gone"
    gone.mkdir()
    (folder / "llmcore.toml").write_text('[llm]\nprovider = "none-such"\n')
    program = "import os, sys, llmcore; print(llmcore.load({}).llm.chat('hi').text); llmcore.load()"
    done = subprocess.run(
        ["/bin/sh", "-c", f'rmdir "$PWD"; exec "{sys.executable}" -c "$0"', program],
        cwd=gone, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "You said: hi\n"
    assert "unknown llm provider `none-such`" in done.stderr, "folders above it are searched"
