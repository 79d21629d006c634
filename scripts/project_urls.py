"""Write the address of the repository into built wheels: their project URLs, and the links of their README.

The project has no fixed address, so `pyproject.toml` has none: the command that builds the wheels passes it.

    python scripts/project_urls.py --address https://HOST/OWNER/NAME --ref v0.1.0 dist/*.whl
    python scripts/project_urls.py --check dist/*.whl
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import re
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
LABELS = ("Homepage", "Documentation", "Source", "Changelog", "Issues")
LINK = re.compile(r"(!?)(\[[^\]]*\]\()([^)#:\s]+)([^)\s]*\))")
PICTURE = re.compile(r"""(<(?:img|source)\b[^>]*?\bsrc(?:set)?=")([^":\s]+)(?=")""")
PLACE = "git clone REPOSITORY "
"""The place for the address in the README: the repository does not know its own."""


def main(arguments: list[str] | None = None) -> int:
    """Write or check the URLs of the wheels in *arguments*."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--address", help="the repository, https://HOST/OWNER/NAME")
    task.add_argument("--check", action="store_true", help="fail if a wheel lacks a URL; write nothing")
    parser.add_argument(
        "--ref", default="HEAD", help="tag or branch that the URLs of files name (default: HEAD)"
    )
    parser.add_argument("wheels", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    if options.check:
        faults = [fault for wheel in options.wheels if (fault := find_fault(wheel))]
        if faults:
            _fail(
                "\n".join(faults), "python scripts/project_urls.py --address https://HOST/OWNER/NAME WHEELS"
            )
        return 0
    address = options.address.rstrip("/")
    parts = urlsplit(address)
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or not parts.path:
        _fail(
            f"--address must be https://HOST/OWNER/NAME, got {options.address!r}", "git remote get-url origin"
        )
    for wheel in options.wheels:
        add_urls(wheel, address, options.ref)
    return 0


def find_fault(wheel: Path) -> str | None:
    """Return why *wheel* may not be published; None if it has all URLs."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(_find_metadata(archive)).decode()
    urls = HeaderParser().parsestr(text).get_all("Project-URL", [])
    missing = {*LABELS} - {url.partition(",")[0] for url in urls}
    return f"{wheel.name} lacks the project URLs {', '.join(sorted(missing))}" if missing else None


def add_urls(wheel: Path, address: str, ref: str) -> None:
    """Rewrite *wheel* with the project URLs, and with absolute links to files of the repository."""
    distribution = wheel.name.partition("-")[0]
    folder = (
        ROOT if distribution == "llmcore_host" else ROOT / "plugins" / distribution.removeprefix("llmcore_")
    )
    written = wheel.with_suffix(".new")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(written, "w") as new:
        name = _find_metadata(old)
        metadata = make_metadata(old.read(name).decode(), folder, address, ref).encode()
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename == name:
                data = metadata
            elif entry.filename == name.replace("METADATA", "RECORD"):
                data = _update_record(data.decode(), name, metadata).encode()
            new.writestr(entry, data)
    written.replace(wheel)


def make_metadata(text: str, folder: Path, address: str, ref: str) -> str:
    """Return the metadata *text* of the distribution in *folder* with the URLs of the repository at *address*."""
    fields, _, readme = text.partition("\n\n")
    changes = folder / "CHANGELOG.md"
    pages = {
        "Homepage": address,
        "Documentation": _locate(ROOT / "docs/index.md", address, "blob", ref),
        "Source": _locate(folder, address, "tree", ref),
        "Changelog": _locate(changes if changes.exists() else ROOT / "CHANGELOG.md", address, "blob", ref),
        "Issues": f"{address}/issues",
    }
    lines = [line for line in fields.splitlines() if not line.startswith("Project-URL:")]
    lines += [f"Project-URL: {label}, {pages[label]}" for label in LABELS]

    def link(found: re.Match[str]) -> str:
        target = (folder / found[3]).resolve()
        if not target.is_relative_to(ROOT) or not target.exists():
            return found[0]  # not a link: code that looks like one
        kind = "raw" if found[1] else "blob"
        return f"{found[1]}{found[2]}{_locate(target, address, kind, ref)}{found[4]}"

    def picture(found: re.Match[str]) -> str:
        return f"{found[1]}{_locate((folder / found[2]).resolve(), address, 'raw', ref)}"

    readme = PICTURE.sub(picture, LINK.sub(link, readme)).replace(PLACE, f"git clone {address} ")
    return "\n".join(lines) + "\n\n" + readme


def _locate(path: Path, address: str, kind: str, ref: str) -> str:
    inside = path.relative_to(ROOT).as_posix()
    return f"{address}/{kind}/{ref}" + ("" if inside == "." else f"/{inside}")


def _find_metadata(archive: zipfile.ZipFile) -> str:
    return next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))


def _update_record(record: str, name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    lines = [line for line in record.splitlines() if not line.startswith(f"{name},")]
    return "\n".join([f"{name},sha256={digest},{len(data)}", *lines]) + "\n"


def _fail(message: str, fix: str) -> NoReturn:
    sys.exit(f"error: {message}\n  = fix: {fix}")


if __name__ == "__main__":
    sys.exit(main())
