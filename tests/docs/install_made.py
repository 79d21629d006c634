"""Installs a plugin's folder into another one, editable, as pip would and without a network: called by test_docs.py."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile


def main(project: Path, site: Path) -> None:
    with tempfile.TemporaryDirectory() as built:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", built]
        subprocess.run(command, cwd=project, check=True, stdout=subprocess.DEVNULL)
        (wheel,) = Path(built).glob("*.whl")
        for metadata in site.glob(f"{project.name.replace('-', '_')}-*.dist-info"):
            shutil.rmtree(metadata)
        with ZipFile(wheel) as archive:
            names = archive.namelist()
            archive.extractall(site, [name for name in names if ".dist-info/" in name])
    for package in {name.partition("/")[0] for name in names if ".dist-info/" not in name}:
        (site / package).unlink(missing_ok=True)
        (site / package).symlink_to((project / package).absolute())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
