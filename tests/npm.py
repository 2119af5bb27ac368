"""Packages of npm, which no test installs: each is unpacked as it is, and only with the known checksum."""

import base64
import hashlib
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.support import run


def unpack(package: str, sha512: str, folder: Path) -> Path:
    """Fetch a package such as axe-core@4.14.1 into a folder; return the folder of its files.

    Skips the test where there is no npm.
    """
    if not shutil.which("npm"):
        pytest.skip(f"NOT TESTED: what {package} says, because there is no npm")
    run("npm", "pack", "--silent", package, cwd=folder)
    (archive,) = folder.glob("*.tgz")
    digest = hashlib.sha512(archive.read_bytes()).digest()
    assert base64.b64encode(digest).decode() == sha512
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / "package"
