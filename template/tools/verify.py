"""Build again the commit that an image names, and compare the two, down to the file.

    python tools/verify.py NAME@sha256:DIGEST STAGE
    python tools/verify.py --images ONE OTHER

ENGINE and IMAGE_FLAGS count as for `make image`. The second form compares two images that are here.

Exit codes: 0 the same image, 1 with a sentence: what differs first, or why nothing can be compared.
"""

import hashlib
import itertools
import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ENGINE = shlex.split(os.environ.get("ENGINE", "docker"))
LABELS = ["image", "inspect", "--format", "{{json .Config.Labels}}"]
KEY = "org.opencontainers.image."


def run(*command: str) -> str:
    """Return what a command prints; one that fails says why itself."""
    result = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        sys.exit(f"`{shlex.join(command[:4])} ...` ended with {result.returncode}.")
    return result.stdout


def rebuild(image: str, stage: str, folder: str) -> str:
    """Build in a clone, so nothing of this folder gets in, and return the name of the new image."""
    if "@sha256:" not in image:
        sys.exit("Name an image by its digest: make verify IMAGE=ghcr.io/me/it@sha256:...")
    run(*ENGINE, "pull", "--quiet", image)
    labels = json.loads(run(*ENGINE, *LABELS, image)) or {}
    commit, source = (labels.get(KEY + name, "") for name in ("revision", "source"))
    if not commit.isalnum():
        sys.exit("No commit has all files of this image, so nobody can build it again.")
    here = ["git", "cat-file", "-e", commit]
    if subprocess.run(here, check=False, capture_output=True).returncode:
        run("git", "fetch", "--quiet", "origin", commit)
    run("git", "clone", "--quiet", "--shared", "--no-checkout", ".", folder)
    run("git", "-C", folder, "checkout", "--quiet", commit)
    # The address is in a label too, and one repository can have several.
    run("git", "-C", folder, "remote", "set-url", "--", "origin", source)
    print(f"Building {commit}", flush=True)
    run("make", "-C", folder, "image", f"IMAGE=verify-{commit}", f"STAGE={stage}")
    return f"verify-{commit}:{stage}"


def save(image: str, folder: str) -> tuple[dict, list[Path]]:
    """Unpack an image, in the format that all engines write; return its settings and its layers."""
    run(*ENGINE, "save", "--output", f"{folder}.tar", image)
    with tarfile.open(f"{folder}.tar") as archive:
        archive.extractall(folder, filter="data")
    manifest = json.loads(Path(folder, "manifest.json").read_bytes())[0]
    settings = json.loads(Path(folder, manifest["Config"]).read_bytes())
    if "buildkit" not in str(settings["history"]):
        # podman's cache goes by the commits that filled it, which change nothing in the image.
        settings["history"] = [step | {"comment": ""} for step in settings["history"]]
    return settings, [Path(folder, layer) for layer in manifest["Layers"]]


def files(layer: Path) -> dict[str, tuple]:
    """Return all that a layer says of each path in it."""
    found = {}
    with tarfile.open(layer) as archive:
        for one in archive:
            content = file.read() if one.isreg() and (file := archive.extractfile(one)) else b""
            about = one.type, one.mode, one.uid, one.gid, one.mtime, one.linkname, one.pax_headers
            found[one.name] = about, hashlib.sha256(content).digest()
    return found


def compare(one: str, other: str, folder: str) -> str:
    """Return a sentence about the first difference of two images, or nothing."""
    if one == other:
        return ""
    about, layers = save(one, f"{folder}/one")
    others, more = save(other, f"{folder}/other")
    if ("buildkit" in str(about["history"])) != ("buildkit" in str(others["history"])):
        return "Docker and podman write layers in their own ways: choose the other with ENGINE=..."
    pairs = itertools.zip_longest(about["rootfs"]["diff_ids"], others["rootfs"]["diff_ids"])
    for number, (left, right) in enumerate(pairs):
        if not (left and right):
            return f"One image has {len(layers)} layers and the other {len(more)}."
        if left != right:
            old, new = files(layers[number]), files(more[number])
            names = sorted(one for one in old.keys() | new.keys() if old.get(one) != new.get(one))
            return f"Layer {number + 1} differs, first in {names[0] if names else 'its order'}."
    left, right = (one["config"] | one for one in (about, others))
    wrong = sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
    return f"The settings differ: {', '.join(wrong)}." if wrong else ""


def main() -> None:
    *options, first, second = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        if not options:
            second = rebuild(first, second, f"{folder}/project")
        wrong = compare(first, second, folder)
        if not options:
            run(*ENGINE, "image", "rm", second)
    sys.exit(wrong) if wrong else print(f"The same image: {first}")


if __name__ == "__main__":
    main()
