"""Print what an image holds, as CycloneDX: Python packages, and those of Debian or Alpine.

    python tools/sbom.py IMAGE

The image says what is in it, and the lock that it was made of which files a Python package may come
from: a component has the SHA-256 of each. One image gives the same bytes every time.

Exit codes: 0 done, 1 with a sentence: there is no such image, or it was made of another lock.
"""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path
from urllib.parse import quote

# Runs in the image, and prints the Python packages, those of the system, its name and its Python.
INSIDE = r"""
import importlib.metadata, json, pathlib, platform
def installed(path, *names):
    for entry in pathlib.Path(path).read_text().split("\n\n") if pathlib.Path(path).exists() else ():
        lines = [line.split(":", 1) for line in entry.splitlines() if not line.startswith(" ")]
        fields = {line[0]: line[-1].strip() for line in lines}
        if names[0] in fields and fields.get("Status", "installed").endswith("installed"):
            yield [fields[name] for name in names]
print(json.dumps([
    [[one.metadata["Name"], one.version] for one in importlib.metadata.distributions()],
    [*installed("/var/lib/dpkg/status", "Package", "Version", "Architecture"),
     *installed("/lib/apk/db/installed", "P", "V", "A")],
    platform.freedesktop_os_release(), platform.python_version()]))
"""


def fail(sentence: str) -> None:
    sys.exit(f"sbom: {sentence}")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked_files(lock: Path) -> list[tuple[str, str, list[str]]]:
    """Return the name of each package of the lock, its version or address, and its files' SHA-256."""
    text = lock.read_text(encoding="utf-8")
    if lock.name != "uv.lock":
        dev = lock.with_name("dev-requirements.txt")
        text += dev.read_text(encoding="utf-8") if dev.exists() else ""
        pins = re.findall(
            r"(?m)^([\w.-]+)(?:\[.*?])?(?:==| @ )(\S+).*\n((?: +--hash=.*\n?)+)", text
        )
        return [(normal(n), v, re.findall("sha256:([0-9a-f]{64})", files)) for n, v, files in pins]
    packages = tomllib.loads(text).get("package", [])
    return [
        (one["name"], one.get("version", ""), re.findall("sha256:([0-9a-f]{64})", str(one)))
        for one in packages
    ]


def components(found: list, lock: Path) -> list[dict]:
    """Return what is in the image, sorted, with a package URL for each."""
    packages, system, release, python = found
    locked = locked_files(lock)
    made = [{"name": "python", "version": python, "purl": f"pkg:generic/python@{python}"}]
    for name, version in packages:
        name = normal(name)
        files = {
            digest
            for pin, pinned, digests in locked
            if pin == name and (pinned == version or "://" in pinned)
            for digest in digests
        }
        purl = f"pkg:pypi/{name}@{quote(version)}"
        hashes = [{"alg": "SHA-256", "content": digest} for digest in sorted(files)]
        made.append({"name": name, "version": version, "purl": purl, "hashes": hashes})
    kind = {"alpine": "apk"}.get(release["ID"], "deb")
    distro = f"{release['ID']}-{release['VERSION_ID']}"
    for name, version, processor in system:
        place = f"pkg:{kind}/{release['ID']}/{quote(name)}@{quote(version, safe='')}"
        purl = f"{place}?arch={processor}&distro={distro}"
        made.append({"name": name, "version": version, "purl": purl})
    return [
        {"type": "library", "bom-ref": one["purl"], **one}
        for one in sorted(made, key=lambda one: one["purl"])
    ]


def main() -> None:
    engine, image = shlex.split(os.environ.get("ENGINE", "docker")), sys.argv[1]
    inspect = [*engine, "image", "inspect", "--format", "{{json .}}", image]
    result = subprocess.run(inspect, check=False, capture_output=True, text=True)
    if result.returncode:
        fail(f"{result.stderr.strip()}: run `make image`.")
    about = json.loads(result.stdout)
    labels = about["Config"].get("Labels") or {}
    lock = Path("requirements.txt" if Path("requirements.in").exists() else "uv.lock")
    if labels.get("lock.sha256") != hashlib.sha256(lock.read_bytes()).hexdigest():
        fail(f"{image} was not made of the {lock} that is here: run `make image`.")
    strict = ["--rm", "--network=none", "--read-only", "--cap-drop=ALL", "--entrypoint=python"]
    command = [*engine, "run", *strict, image, "-c", INSIDE]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    commit = labels.get("org.opencontainers.image.revision", "")
    name = re.split("[:@]", image.rpartition("/")[2])[0]
    identity = json.dumps([about["RootFS"]["Layers"], labels], sort_keys=True)
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, identity)}",
        "version": 1,
        "metadata": {
            "timestamp": re.sub(r"\.\d+", "", about["Created"]),
            "component": {"type": "container", "bom-ref": "image", "name": name, "version": commit},
        },
        "components": components(found, lock),
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
