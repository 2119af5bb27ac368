"""List what an image holds, as CycloneDX: its Python packages, and those of Debian or Alpine.

    python tools/sbom.py IMAGE FILE

The image says what is in it, and its lock has the SHA-256 of each file that a Python package may come
from. One image gives the same bytes every time.

Exit codes: 0 done, 1 with a sentence: there is no such image.
"""

import json
import re
import sys
import uuid
from pathlib import Path
from urllib.parse import quote, unquote

sys.path.insert(0, str(Path(__file__).parent))  # Python leaves it out if PYTHONSAFEPATH is set.
from lock import LOCKS, pinned_files
from project import normal
from verify import ENGINE, run

STRICT = "--rm --network=none --read-only --cap-drop=ALL --entrypoint=python"
# Runs in the image, where dpkg and apk keep lists of the same form.
INSIDE = r"""
import importlib.metadata, json, pathlib, platform
def listed(path, *names):
    for entry in pathlib.Path(path).read_text().split("\n\n") if pathlib.Path(path).exists() else ():
        found = dict(line.split(":", 1) for line in entry.splitlines() if ":" in line)
        if names[0] in found and found.get("Status", "installed").endswith("installed"):
            yield [found[name].strip() for name in names]
python = [(one.metadata["Name"], one.version) for one in importlib.metadata.distributions()]
system = [*listed("/var/lib/dpkg/status", "Package", "Version", "Architecture"),
          *listed("/lib/apk/db/installed", "P", "V", "A")]
print(json.dumps([python, system, platform.freedesktop_os_release(), platform.python_version()]))
"""


def locked_files() -> dict[tuple[str, str], set[str]]:
    """Return the SHA-256 of all files that the lock admits for each name and version."""
    files: dict[tuple[str, str], set[str]] = {}
    for pin, hashes in (item for lock in LOCKS for item in pinned_files(Path(lock)).items()):
        name, place = re.split(r"\[.*]|==| @ |;", pin.replace(" ;", ";"))[:2]
        # An address names the version in that of its file.
        version = re.sub(r".*/[\w.]+-([^-/]+?)(-[^/]+|\.tar\.gz|\.zip)$", r"\1", unquote(place))
        files.setdefault((normal(name), version), set()).update(hashes)
    return files


def components(found: list, locked: dict) -> list[dict]:
    packages, system, release, python = found
    made: list[tuple] = [("python", python, f"pkg:generic/python@{python}", [])]
    for name, version in packages:
        name = normal(name)
        files = sorted(locked.get((name, version), ()))
        made.append((name, version, f"pkg:pypi/{name}@{quote(version)}", files))
    kind, distro = "apk" if release["ID"] == "alpine" else "deb", release["ID"]
    for name, version, processor in system:
        place = f"pkg:{kind}/{distro}/{quote(name)}@{quote(version)}?arch={processor}"
        made.append((name, version, f"{place}&distro={distro}-{release['VERSION_ID']}", []))
    return [
        {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        | ({"hashes": [{"alg": "SHA-256", "content": one[7:]} for one in files]} if files else {})
        for name, version, purl, files in sorted(made, key=lambda one: one[2])
    ]


def main() -> None:
    image, target = sys.argv[1], Path(sys.argv[2])
    about = json.loads(run(*ENGINE, "image", "inspect", "--format", "{{json .}}", image))
    labels = about["Config"].get("Labels") or {}
    printed = run(*ENGINE, "run", *STRICT.split(), image, "-c", INSIDE)
    found = components(json.loads(printed), locked_files())
    identity = json.dumps([about["RootFS"]["Layers"], labels], sort_keys=True)
    name = re.split("[:@]", image.rpartition("/")[2])[0]
    holds = {"type": "container", "bom-ref": "image", "name": name}
    commit = labels.get("org.opencontainers.image.revision", "")
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, identity)}",
        "metadata": {"timestamp": about["Created"], "component": holds | {"version": commit}},
        "components": found,
    }
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    python = sum(one["purl"].startswith("pkg:pypi/") for one in found)
    print(f"{target}: {python} Python packages, and {len(found) - python} others")


main()
