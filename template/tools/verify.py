"""Build the commit again that an image names, and compare the two.

    python tools/verify.py NAME@sha256:DIGEST [STAGE]
    python tools/verify.py --images ONE OTHER

The second form compares two images that are here. What differs first is named, down to the file.
ENGINE and IMAGE_FLAGS count as for `make image`.

Exit codes: 0 equal, 1 with a sentence: different, or not possible.
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
LABEL = "org.opencontainers.image."
BUILDER = "One was built by Docker and the other by podman or buildah, which write layers in their own ways"


def run(*command: str | Path, **options) -> str:
    """Return what a command prints; one that fails says why itself."""
    result = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, **options)
    if result.returncode:
        sys.exit(f"verify: {command[0]} {command[1]} ended with {result.returncode}.")
    return result.stdout.strip()


def rebuild(image: str, stage: str, folder: str) -> str:
    """Build the commit that the labels of an image name in a folder; return the new image's name."""
    inspect = [*ENGINE, "image", "inspect", "--format", "{{json .Config.Labels}}", image]
    if subprocess.run(inspect, check=False, capture_output=True).returncode:
        print(run(*ENGINE, "pull", image), file=sys.stderr)
    labels = json.loads(run(*inspect)) or {}
    commit, source = labels.get(LABEL + "revision", ""), labels.get(LABEL + "source")
    if not commit or commit.endswith("-dirty"):
        sys.exit(f"verify: no commit has all files of {image}, so it cannot be built again.")
    if subprocess.run(
        ["git", "cat-file", "-e", commit], check=False, capture_output=True
    ).returncode:
        run("git", "fetch", "--quiet", "origin", commit)
    run("git", "clone", "--quiet", "--shared", "--no-checkout", ".", folder)
    run("git", "-C", folder, "checkout", "--quiet", commit)
    # A label holds this address, and the same repository can have several.
    address = ["set-url", "origin", source] if source else ["remove", "origin"]
    run("git", "-C", folder, "remote", *address)
    print(f"Building {commit}", file=sys.stderr, flush=True)
    name = f"verify-{commit}"
    run("make", "--no-print-directory", "image", f"IMAGE={name}", f"STAGE={stage}", cwd=folder)
    return f"{name}:{stage}"


def saved(image: str, file: Path) -> tuple[tarfile.TarFile, dict, list[str]]:
    """Save an image, in the one format of all engines; return its archive, settings and layers."""
    run(*ENGINE, "save", "--output", file, image)
    archive = tarfile.open(file)
    manifest = json.load(archive.extractfile("manifest.json"))[0]
    return archive, json.load(archive.extractfile(manifest["Config"])), manifest["Layers"]


def files(archive: tarfile.TarFile, name: str) -> dict[str, tuple]:
    """Return all that a layer says of each path in it."""
    found = {}
    with tarfile.open(fileobj=archive.extractfile(name)) as layer:
        for one in layer:
            content = layer.extractfile(one).read() if one.isreg() else b""
            about = one.type, one.mode, one.uid, one.gid, one.mtime, one.linkname, one.pax_headers
            found[one.name] = about, hashlib.sha256(content).digest()
    return found


def difference(left, right, place: str = "") -> str:
    """Return where two settings differ first, with both values, or nothing."""
    if not (isinstance(left, dict) and isinstance(right, dict)):
        return "" if left == right else f"{place} differs: {left} and {right}."
    keys = sorted(left.keys() | right.keys(), key=lambda key: (key == "history", key))
    return next(
        filter(None, (difference(left.get(k), right.get(k), f"{place} {k}") for k in keys)), ""
    )


def compare(one: str, other: str, folder: Path) -> str:
    """Return a sentence about the first difference of two images, or nothing."""
    (left, about, layers), (right, others, more) = (
        saved(image, folder / name) for image, name in ((one, "one.tar"), (other, "other.tar"))
    )
    builders = ["buildkit" in str(settings["history"]) for settings in (about, others)]
    if builders[0] != builders[1]:
        return f"{BUILDER}: name the other with ENGINE=..."
    sums = itertools.zip_longest(about["rootfs"]["diff_ids"], others["rootfs"]["diff_ids"])
    for number, (first, second) in enumerate(sums):
        if not (first and second):
            return f"One has {len(layers)} layers, the other {len(more)}."
        if first != second:
            old, new = files(left, layers[number]), files(right, more[number])
            names = sorted(
                name for name in old.keys() | new.keys() if old.get(name) != new.get(name)
            )
            return f"Layer {number + 1} differs in {len(names)} files, first in /{(names or ['?'])[0]}."
    return difference(about, others).strip()


def main() -> int:
    images, stage = [one for one in sys.argv[1:] if one != "--images"], "runtime"
    if "--images" not in sys.argv:
        image, stage = [*images, stage][:2]
        if "@sha256:" not in image:
            sys.exit(
                "Name an image by its digest, as in `make verify IMAGE=ghcr.io/me/it@sha256:...`."
            )
    with tempfile.TemporaryDirectory() as folder:
        if "--images" not in sys.argv:
            images = [image, rebuild(image, stage, f"{folder}/project")]
        text = "" if images[0] == images[1] else compare(*images, Path(folder))
    print(text or f"The same image: {images[0]}")
    return 1 if text else 0


if __name__ == "__main__":
    sys.exit(main())
