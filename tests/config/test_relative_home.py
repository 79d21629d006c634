"""With a relative HOME the files of the user do not move with the working directory: the user database says where they are."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import json, os
from pathlib import Path
from llmcore.support.user_folders import find_cache_folder, get_user_folder
from llmcore.config.paths import resolve_path
from llmcore.config.references import Unresolved, resolve
from llmcore.config.sources import find_given_file
from llmcore.errors import ConfigError
from llmcore.support.home import expand_home
from llmcore_storage_fs.provider import FsStorage


def get_message(call):
    try:
        return str(call())
    except (ConfigError, Unresolved) as error:
        return str(error)


print(json.dumps([
    *(str(get_user_folder(kind, os.environ)) for kind in ("config", "cache", "state")),
    str(expand_home("~")), str(expand_home("~/a/b")),
    str(resolve_path("~/a", env=os.environ, folder=None)), str(resolve_path("~/a", env=os.environ, folder=Path("/project"))),
    str(find_cache_folder(None)), str(find_cache_folder("~/cache")),
    FsStorage("~/llmcore-no-such-folder")._root.path,
    get_message(lambda: find_given_file("~/llmcore-no-such-file.toml", Path.cwd(), origin="test", env=os.environ)),
    get_message(lambda: resolve("file:~/llmcore-no-such-file", env=os.environ, folder=None)),
]))
"""


@pytest.mark.parametrize("home", [".", "foo", "./foo", "..", ""])
def test_the_files_of_the_user_do_not_move_with_the_working_directory(home: str, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")} | {"HOME": home}
    seen = []
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "foo").mkdir(parents=True)
        done = subprocess.run(
            [sys.executable, "-c", CODE], cwd=folder, env=env, capture_output=True, text=True, check=True
        )
        seen.append(json.loads(done.stdout))
    assert seen[0] == seen[1]
    own = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert [Path(path) for path in seen[0][3:7]] == [own, own / "a/b", own / "a", own / "a"]
    assert all(str(own) in path for path in seen[0]), seen[0]
    assert str(tmp_path) not in str(seen)
