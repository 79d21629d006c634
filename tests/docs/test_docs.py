"""Every code block of the README, of docs/ and of the plugins' pages is executed.

Each page runs in an environment with only the packages of its install lines, from wheels.

The fence names the kind of a block: ```python, ```toml, ```console, ```bash, ```json, or ```text for other text.
A file name after `toml` or `python` saves the block as this file; a toml block without a name is saved as llmcore.toml.
`unchecked` skips the check of a llmcore.toml that needs packages which are not installed here. ```text output must equal the
output of the python block before it. In ```console, the lines below a command are its output (see `is_match` in
run_page.py); the command must fail if they begin with "error[" or "failed". No mark excludes a block from the test.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.environments import Environment
from llmcore_testing.simulator import Simulator
from tests.docs.page_environments import find_requirements, make_environment

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "plugins/*/*.md", "benchmarks/*.md", "examples/**/*.md") for path in ROOT.glob(pattern)
)  # fmt: skip

DEVELOPERS = Environment(Path(sys.executable).parents[1])

RUN = {"cat", "echo", "llm", "llmcore", "ls", "printf", "python", "test"}
"""Commands that are run, in a folder of the page's own."""
INSTALL = re.compile(r"pip install -e (llmcore-[a-z0-9-]+)")
"""Installs a plugin that the page itself created. This is done without pip, and only for this page."""
NOT_RUN = (
    ".tools/bin/uv ", "cd ", "export ", "git clone ", "git push ", "git tag ", "make ", "pip install ", "python -m pip install ",
)  # fmt: skip
"""What a page may tell without our running it; the target of a `make` must exist."""
SERVERS = ("llmcore serve", "llmcore dashboard --open", "python -m llmcore_testing.simulator")
"""Started where they stand, and ended after the page."""

VENDOR = "https://api.openai.com/v1"
SPEAKER = "https://api.elevenlabs.io"
OLLAMA = "http://127.0.0.1:11434/v1"
"""Wherever a page says one of them, the simulator answers."""

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^`\n]*)$")
FILE = re.compile(r"[\w.-]+(/[\w.-]+)*\.(py|toml)")
OUTPUT = ("text", "output")
LANGUAGES = {"bash", "console", "json", "python", "text", "toml"}


class Unknown(AssertionError):
    """A block that cannot be executed."""


class Fenced(NamedTuple):
    line: int
    language: str
    marks: list[str]
    text: str


def find_blocks(page: str) -> list[Fenced]:
    blocks: list[Fenced] = []
    lines = iter(enumerate(page.splitlines(), start=1))
    for number, line in lines:
        opened = FENCE.match(line)
        if not opened:
            continue
        body: list[str] = []
        for _, inner in lines:
            if re.fullmatch(rf"\s*{re.escape(opened['fence'][0])}{{{len(opened['fence'])},}}\s*", inner):
                break
            body.append(inner.removeprefix(opened["indent"]))
        else:
            raise Unknown(f"line {number}: this fence is never closed")
        language, *marks = opened["info"].split() or [""]
        blocks.append(Fenced(number, language, marks, "\n".join(body) + "\n"))
    return blocks


def _list_commands(block: Fenced) -> list[str]:
    return [command for command, _ in _split(block)]


def _split(block: Fenced) -> list[tuple[str, str]]:
    """Return each command with the output that the page shows below it."""
    text = block.text.replace("\\\n", " ")
    if block.language != "console":
        lines = [line.strip() for line in text.splitlines()]
        return [(line, "") for line in lines if line and not line.startswith("#")]
    before, *parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    if before.strip():
        raise Unknown("a console block begins with a command")
    return [(command.strip(), output) for command, _, output in (part.partition("\n") for part in parts)]


def _list_shell_lines(page: Path) -> list[str]:
    blocks = find_blocks(page.read_text())
    return [
        line for block in blocks if block.language in {"bash", "console"} for line in _list_commands(block)
    ]


def _split_parts(command: str) -> list[list[str]]:
    """Return the words of each part of a pipeline or list, assignments left out."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    parts: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|&;"):
            parts.append([])
        elif parts[-1] or not re.match(r"\w+=", word):
            parts[-1].append(word)
    return [part for part in parts if part]


def _plan(command: str) -> dict[str, Any] | None:
    """Return how to run *command*, or None where a page may tell it without our running it."""
    if command.startswith(SERVERS):
        return {"text": command.rstrip(" &"), "server": True}
    if made := INSTALL.fullmatch(command.partition(" #")[0].strip()):
        return {
            "text": f"{sys.executable} {ROOT / 'tests/docs/install_made.py'} {made[1]} ../site",
            "server": False,
        }
    parts = _split_parts(command)
    not_run = [part for part in parts if " ".join([*part, ""]).startswith(NOT_RUN)]
    for part in not_run:
        if part[0] == "make" and not set(part[1:2]) <= set(_list_targets()):
            raise Unknown(f"the Makefile has no target of `{command}`")
    if len(not_run) == len(parts):
        return None
    if not_run:
        raise Unknown(f"`{command}` joins what is not run with something else: write two lines")
    if unknown := {part[0] for part in parts} - RUN:
        raise Unknown(f"`{command}` runs {sorted(unknown)}, of which tests/docs/test_docs.py knows nothing")
    return {"text": command, "server": False}


def _list_targets() -> list[str]:
    return re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def _refuse_unknown(block: Fenced, files: list[str]) -> None:
    if block.language not in LANGUAGES:
        raise Unknown(f"a fence names one of {sorted(LANGUAGES)}, not {block.language!r}")
    marks = [mark for mark in block.marks if mark not in files]
    fits = not marks or (block.language, *marks) in {("toml", "unchecked"), OUTPUT}
    if not fits or len(files) > (block.language in {"python", "toml"}):
        raise Unknown(f"these marks are not known after {block.language}: {' '.join(block.marks)}")


def _is_run(file: str, later: str) -> bool:
    """Return whether *later*, the rest of the page, runs or imports *file*, or installs the folder that it is in."""
    ways = (file, file.removesuffix(".py").replace("/", "."), f"pip install -e {file.partition('/')[0]}\n")
    return any(way in later for way in ways)


def _step(block: Fenced, later: str) -> dict[str, Any]:
    files = [mark for mark in block.marks if FILE.fullmatch(mark)]
    _refuse_unknown(block, files)
    file, commands = "".join(files), []
    if block.language == "toml":
        tomllib.loads(block.text)
        file = file or "llmcore.toml"
        if file == "llmcore.toml" and "unchecked" not in block.marks:
            commands = [{"text": "llmcore config check", "server": False}]
    elif block.language == "json":
        json.loads(block.text)
    elif block.language in {"bash", "console"}:
        for command, output in _split(block):
            plan = _plan(command)
            if plan is None and output.strip():
                raise Unknown(f"`{command}` is not run, so its output cannot be compared")
            commands += [] if plan is None else [{**plan, "output": output.rstrip()}]
    elif file and not _is_run(file, later):
        raise Unknown(f"{file} is written, and nothing after it runs it")
    return {**block._asdict(), "file": file, "commands": commands}


def list_steps(page: str) -> list[dict[str, Any]]:
    """Return what run_page.py is to do for *page*.

    Raises:
        Unknown: A block is in no language, or has a mark, or runs a command, that is not known here.
    """
    steps, blocks = [], find_blocks(page)
    for number, block in enumerate(blocks, start=1):
        try:
            steps.append(_step(block, later="".join(other.text for other in blocks[number:])))
        except (Unknown, tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
            raise Unknown(f"line {block.line}: {error}") from None
    for before, step in pairwise(steps):
        if (step["language"], *step["marks"]) == OUTPUT:
            if before["language"] != "python" or before["file"]:
                raise Unknown(f"line {step['line']}: an output follows the python block that prints it")
            before["output"] = step["text"]
    return [step for step in steps if step["language"] not in {"text", "json"}]


def run_page(
    name: str, steps: list[dict[str, Any]], home: Path, environment: Environment = DEVELOPERS
) -> subprocess.CompletedProcess[str]:
    work = home / "work"
    work.mkdir()
    (home / "site").mkdir()  # before Python starts, which forgets folders of its path that are not there
    with Simulator() as upstream:
        env = {
            "PATH": f"{environment.bin}{os.pathsep}{os.environ.get('PATH', '')}",
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "BROWSER": "true",  # the command of this name, in place of a browser
            "PYTHONPATH": str(home / "site"),
            "OPENAI_API_KEY": "sk-test",
            "SLACK_WEBHOOK": "https://hooks.example/services/test",
            "SMTP_PASSWORD": "test",
            "OPENAI_BASE_URL": upstream.base_url,
            "ANTHROPIC_API_KEY": "sk-ant-test",
            "ANTHROPIC_BASE_URL": upstream.url,
            "ELEVENLABS_API_KEY": "sk_test",
            "DATABASE_URL": "postgresql://llmcore@127.0.0.1:5432/app",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # its import would fetch a table of prices
        }
        command = [environment.python, str(ROOT / "tests/docs/run_page.py")]
        return subprocess.run(
            command,
            input=json.dumps([name, steps])
            .replace(VENDOR, upstream.base_url)
            .replace(OLLAMA, upstream.base_url)
            .replace(SPEAKER, upstream.url),
            cwd=work,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.mark.timeout(600)  # the first page makes the wheels, and each set of install lines an environment
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, wheels: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = str(page.relative_to(ROOT))
    steps = list_steps(page.read_text())
    if any(step["commands"] or step["language"] in {"python", "toml"} for step in steps):
        environment = make_environment(find_requirements(_list_shell_lines(page)), wheels, tmp_path_factory)
        done = run_page(name, steps, tmp_path, environment)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("```\nx = 1\n```\n", "a fence names one of"),
        ("```rust\nlet x;\n```\n", "a fence names one of"),
        ("```python no-run\nx = 1\n```\n", "marks are not known"),
        ("```python a.py\nx = 1\n```\n", "nothing after it runs it"),
        ("```toml skip\nx = 1\n```\n", "marks are not known"),
        ("```bash\nrm -rf /\n```\n", "runs ['rm']"),
        ("```console\n$ llmcore ask hi | sh\n```\n", "runs ['sh']"),
        ("```bash\nmake coffee\n```\n", "no target"),
        ("```bash\nmake test && llmcore ask hi\n```\n", "write two lines"),
        ("```json\n{,}\n```\n", "line 1: Expecting"),
        ("```python\nx = 1\n", "never closed"),
        ("```toml\nx = 1\n```\n```text output\n1\n```\n", "follows the python block"),
        ("```console\nhello\n$ echo hello\n```\n", "begins with a command"),
        ("```console\n$ make test\nok\n```\n", "cannot be compared"),
    ],
)
def test_a_block_that_is_not_run_is_rejected(page: str, said: str) -> None:
    with pytest.raises(Unknown, match=re.escape(said)):
        list_steps(page)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (
            "```python\nx = 1\n```\ntext\n```python\nassert x == 2\n```\n",
            "page.md:5: this python block fails",
        ),
        ("```python\nx = 1\n\nx.y\n```\n", 'File "page.md", line 4'),
        ("```python\nraise SystemExit\n```\n", "SystemExit"),
        ("```python\nprint(1)\n```\n```text output\n2\n```\n", "prints\n1\n"),
        ("```console\n$ python -c 'import sys; sys.exit(3)'\n```\n", "exit 3"),
        ("```console\n$ echo one\ntwo\n```\n", "prints\none\n"),
        ("```console\n$ echo one; python -c 'print(7)'\none\n```\n", "prints\none\n7\n"),
        ("```console\n$ echo 'error[LC1]: no'\nerror[LC1]: no\n```\n", "must fail"),
        ("```console\n$ python -c 'print(1); 1/0'\n1\n...\n```\n", "exit 1"),
        ("```bash\nLANG=C python -c '1/0' | cat\n```\n", "ZeroDivisionError"),
        ("```toml\n[llm]\nprovidr = 'echo'\n```\n", "provider"),
    ],
)
def test_a_block_that_fails_fails_its_page(page: str, said: str, tmp_path: Path) -> None:
    done = run_page("page.md", list_steps(page), tmp_path)
    assert done.returncode == 1
    assert said in done.stderr


def test_commands_of_the_preparation_are_not_run() -> None:
    (step,) = list_steps(
        "```bash\ngit clone HERE llmcore && cd llmcore\nmake\nmake test   # all\npip install ./x\n```\n"
    )
    assert step["commands"] == []


def test_the_blocks_of_a_page_work_together(tmp_path: Path) -> None:
    page = """
- in a list

  ```python app.py
  import os
  print(os.environ["OPENAI_BASE_URL"])
  ```

```bash
# what a reader has done before
export OPENAI_API_KEY=sk-...
python app.py > url.txt    # its output
```
~~~python
from pathlib import Path
text = Path("url.txt").read_text()
~~~
```console
$ python -m llmcore_testing.simulator --port 0
http://127.0.0.1:1234/v1
```
```toml
[llm]
provider = "openai"
model = "gpt-4o-mini"
[llm.openai]
base_url = "https://api.openai.com/v1"
```
```python
import llmcore
assert text.startswith("http://127.0.0.1")
with llmcore.load() as core:
    assert core.llm.chat("Who answers?").provider == "openai"
```
"""
    done = run_page("page.md", list_steps(page), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "work/url.txt").is_file()
