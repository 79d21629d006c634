"""Defaults apply only if there is no configuration: an unreadable file is an error in each place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmcore.config import load_settings, set_value, unset, write_example
from llmcore.errors import ConfigError

UNREADABLE: dict[str, Callable[[Path], object]] = {
    "a directory": Path.mkdir,
    "a symbolic link to nothing": lambda path: path.symlink_to("/nothing/at/all"),
    "a symbolic link that leads back to itself": lambda path: path.symlink_to(path.name),
    "neither a file nor a directory": os.mkfifo,
}
unreadable = pytest.mark.parametrize("kind", UNREADABLE)


@unreadable
@pytest.mark.parametrize("name", ["llmcore.toml", "pyproject.toml"])
@pytest.mark.parametrize("depth", ["", "below/it"])
def test_an_unreadable_project_file_is_an_error(kind: str, name: str, depth: str, tmp_path: Path) -> None:
    UNREADABLE[kind](tmp_path / name)
    (tmp_path / depth).mkdir(parents=True, exist_ok=True)
    with pytest.raises(ConfigError, match=f"cannot be read: it is {kind}") as caught:
        load_settings(env={}, cwd=tmp_path / depth)
    assert caught.value.code == "LC107"
    assert name in str(caught.value.where)


@unreadable
def test_an_unreadable_user_file_is_an_error(kind: str, tmp_path: Path) -> None:
    (tmp_path / "llmcore").mkdir()
    UNREADABLE[kind](tmp_path / "llmcore" / "config.toml")
    with pytest.raises(ConfigError, match=f"cannot be read: it is {kind}"):
        load_settings({}, env={"XDG_CONFIG_HOME": str(tmp_path)}, cwd=tmp_path)


@unreadable
def test_a_named_file_that_is_unreadable_is_an_error(kind: str, tmp_path: Path) -> None:
    UNREADABLE[kind](tmp_path / "own.toml")
    for source, env in ((tmp_path / "own.toml", {}), (None, {"LLMCORE_CONFIG": "own.toml"})):
        with pytest.raises(ConfigError, match=kind) as caught:
            load_settings(source, env=env, cwd=tmp_path)
        assert caught.value.code == "LC107"


@unreadable
def test_no_command_replaces_an_unreadable_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "llmcore.toml"
    UNREADABLE[kind](path)
    for change in (
        lambda: set_value(path, "cache.ttl", "2h"),
        lambda: unset(path, "cache.ttl"),
        lambda: write_example(path),
    ):
        with pytest.raises(ConfigError):
            change()
    assert os.path.lexists(path)
    assert not path.is_file()


def test_the_null_device_is_a_configuration_without_settings(tmp_path: Path) -> None:
    assert load_settings("/dev/null", env={}, cwd=tmp_path).llm.provider == "echo"


def test_a_pipe_of_the_shell_is_read(tmp_path: Path) -> None:
    code = "from llmcore.config import load_settings; print(load_settings('/dev/stdin').cache.ttl)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, input="cache.ttl = '2h'", capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "7200.0\n"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the system has no users to change to")
@pytest.mark.parametrize("name", ["llmcore.toml", "pyproject.toml"])
def test_a_file_without_permission_is_an_error_and_a_closed_directory_is_not(
    name: str, open_folder: Path
) -> None:
    (open_folder / name).write_text("")
    (open_folder / name).chmod(0)
    code = (
        "import os, sys\n"
        "from llmcore.config import load_settings\n"
        "from llmcore.errors import ConfigError\n"
        "if os.geteuid() == 0: os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "try: print(load_settings(env={}).llm.provider)\n"
        "except ConfigError as error: print(error.code, error.where, error.fix)\n"
    )

    def run() -> str:
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, cwd=open_folder / "inner", capture_output=True, text=True, check=True
        ).stdout

    (open_folder / "inner").mkdir()
    path = str(open_folder / name)
    assert run() == f"LC107 {path} chmod u+r {path}\n"
    (open_folder / name).unlink()
    assert run() == "echo\n"
