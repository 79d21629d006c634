"""The wheels, installed in a clean environment without the sources in sight, answer a chat there."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
import zipfile
from base64 import urlsafe_b64encode
from hashlib import sha256
from importlib.metadata import files
from pathlib import Path

import pytest
from packaging.metadata import Metadata

from benchmarks.environments import Environment
from scripts import project_urls
from tests.docs.page_environments import DEVELOPERS, compile_ours

ROOT = Path(__file__).parents[2]

ECHO = """
import sys
import llmcore
assert llmcore.__file__.startswith(sys.prefix), llmcore.__file__
with llmcore.load({"llm": {"provider": "echo"}, "cache": {"provider": "memory"}}) as core:
    reply = core.llm.chat("Hello from a wheel")
assert reply.provider == "echo" and reply.text, reply
"""

OPENAI = """
import json
import llmcore
from llmcore_testing.simulator import Simulator
with Simulator(reply="It rains.") as upstream:
    own = {"api_key": "env:OPENAI_API_KEY", "base_url": upstream.base_url}
    settings = {"llm": {"provider": "openai", "model": "gpt-4o-mini", "openai": own}}
    with llmcore.load(settings) as core:
        replies = [core.llm.chat("Write a haiku about rain") for _ in range(2)]
    print(json.dumps([[reply.text, reply.cached, str(reply.cost)] for reply in replies]))
    print(upstream.counts["chat"])
"""

POINTS = """
import json
from importlib.metadata import distributions
points = [point for found in distributions() for point in found.entry_points]
print(json.dumps({f"{p.group}:{p.name}": p.value for p in points if p.group.startswith("llmcore.")}))
"""


@pytest.fixture(scope="module")
def installed(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment.make(tmp_path_factory.mktemp("installed") / "venv")
    # any-llm and llmcore-anthropic need different major versions of the package anthropic, so pip refuses both together.
    # Ray takes 370 MB.
    names = ("llmcore_any_llm-", "llmcore_engine_ray-")
    alone = [wheel for wheel in wheels if wheel.name.startswith(names)]
    environment.install(*(wheel for wheel in wheels if wheel not in alone))
    environment.install("--no-deps", *alone)
    environment.share_bytecode(compile_ours(wheels, tmp_path_factory), DEVELOPERS)
    return environment


def test_a_wheel_holds_its_package_and_nothing_else(wheels: list[Path]) -> None:
    assert len(wheels) == 1 + len(list(ROOT.glob("plugins/*/pyproject.toml")))
    for wheel in wheels:
        distribution = wheel.name.split("-")[0]
        package = "llmcore" if distribution == "llmcore_host" else distribution
        names = zipfile.ZipFile(wheel).namelist()
        tops = {name.split("/")[0] for name in names}
        command = {"llmcore_command.py"} if package == "llmcore" else set()
        assert tops == {package, *command, f"{distribution}-{wheel.name.split('-')[1]}.dist-info"}
        assert f"{package}/py.typed" in names
        assert [name for name in names if name.endswith((".pth", ".pyc")) or "/tests/" in name] == []


def test_the_token_ranks_have_the_notice_of_openai(wheels: list[Path]) -> None:
    (wheel,) = [wheel for wheel in wheels if wheel.name.startswith("llmcore_openai_optimized-")]
    notice = zipfile.ZipFile(wheel).read("llmcore_openai_optimized/data/NOTICE").decode()
    (licence,) = [path for path in files("tiktoken") or [] if path.match("licenses/LICENSE")]
    assert licence.read_text().strip() in notice


@pytest.mark.parametrize("name", ["llmcore_host", "llmcore_openai_compatible"])
def test_a_wheel_gets_the_address_of_its_repository(
    wheels: list[Path], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (built,) = [wheel for wheel in wheels if wheel.name.startswith(f"{name}-")]
    wheel = Path(shutil.copy(built, tmp_path))
    with pytest.raises(SystemExit, match="lacks the project URLs Changelog, Documentation, Homepage"):
        project_urls.main(["--check", str(wheel)])
    address = "https://forge.example/owner/llmcore"
    for _ in range(2):  # the second time changes nothing
        assert project_urls.main(["--address", f"{address}/", "--ref", "v0.1.0", str(wheel)]) == 0
    assert project_urls.main(["--check", str(wheel)]) == 0
    assert capsys.readouterr() == ("", "")

    archive = zipfile.ZipFile(wheel)
    info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
    data = archive.read(f"{info}/METADATA")
    digest = urlsafe_b64encode(sha256(data).digest()).decode().rstrip("=")
    record = archive.read(f"{info}/RECORD").decode().splitlines()
    assert f"{info}/METADATA,sha256={digest},{len(data)}" in record
    assert {line.split(",")[0] for line in record} == {*archive.namelist()}
    metadata = Metadata.from_email(data, validate=True)
    folder = "" if name == "llmcore_host" else f"/plugins/{name.removeprefix('llmcore_')}"
    assert metadata.project_urls == {
        "Homepage": address,
        "Documentation": f"{address}/blob/v0.1.0/docs/index.md",
        "Source": f"{address}/tree/v0.1.0{folder}",
        "Changelog": f"{address}/blob/v0.1.0{folder}/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }
    readme = metadata.description or ""
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)]*)\)", re.sub(r"(?ms)^```.*?^```", "", readme))
    assert {link for _, link in links if not link.startswith(("https://", "#"))} == set()
    expected = (
        {("", f"{address}/blob/v0.1.0/README.md")}
        if folder
        else {("", f"{address}/blob/v0.1.0/docs/guides/gateway.md")}
    )
    assert expected <= {*links}
    pictures = re.findall(r'\bsrc(?:set)?="([^"]*)"', readme)
    raw = f"{address}/raw/v0.1.0/docs"
    assert pictures == ([] if folder else [f"{raw}/architecture-narrow.svg", f"{raw}/architecture.svg"])
    assert "REPOSITORY" not in readme
    assert folder or f"git clone {address} llmcore && cd llmcore" in readme


@pytest.mark.parametrize(
    "address",
    [
        "http://forge.example/a/b",
        "https://forge.example",
        "https://me:pw@forge.example/a",
        "git@forge.example:a/b",
    ],
)
def test_an_address_that_is_not_a_repository_is_refused(address: str) -> None:
    with pytest.raises(SystemExit, match="must be https://HOST/OWNER/NAME, got"):
        project_urls.main(["--address", address, "none.whl"])


def test_a_clean_environment_answers_a_chat(installed: Environment, tmp_path: Path) -> None:
    done = installed.run("-c", ECHO, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_clean_environment_answers_through_the_real_client(installed: Environment, tmp_path: Path) -> None:
    done = installed.run("-c", OPENAI, cwd=tmp_path, env={"OPENAI_API_KEY": "sk-test"})
    assert done.returncode == 0, done.stderr
    replies, chats = done.stdout.splitlines()
    (text, cached, cost), again = json.loads(replies)
    assert (text, cached, cost != "None") == ("It rains.", False, True)
    assert again[:2] == ["It rains.", True]
    assert chats == "1"


def test_the_entry_points_are_those_of_the_projects(installed: Environment, tmp_path: Path) -> None:
    expected = {}
    for path in [ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]:
        for group, points in tomllib.loads(path.read_text())["project"].get("entry-points", {}).items():
            if group.startswith("llmcore."):
                expected.update({f"{group}:{name}": value for name, value in points.items()})
    done = installed.run("-c", POINTS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected


def test_the_command_is_there_and_knows_the_plugins(installed: Environment, tmp_path: Path) -> None:
    command = str(installed.bin / "llmcore")
    version = installed.run(command, "--version", cwd=tmp_path)
    assert (version.returncode, version.stderr) == (0, "")
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] in version.stdout
    plugins = installed.run(command, "plugins", "--json", cwd=tmp_path)
    assert plugins.returncode == 0, plugins.stderr
    assert {"openai", "fs"} <= {plugin["name"] for plugin in json.loads(plugins.stdout)["plugins"]}
