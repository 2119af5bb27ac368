"""Refuse what looks like a secret; the cells of notebooks are read as a person sees them."""

import hashlib
import json
import re
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class as detectors

# RULES take the place of these, because they report hashes, the names of keys, and every address.
GUESSES = "HighEntropyString", "KeywordDetector", "BasicAuthDetector", "IPPublicDetector"
PASSWORD = r"(?:(?i:passwo?r?d|passphrase|pwd|secret)|_auth|(?<=\")auth)"
KEY = r"(?:access|account|api|auth|client|encryption|master|private|secret|service|signing)[_-]?key"
NAME = rf"(?P<name>{PASSWORD}|(?i:token|bearer|basic|{KEY})|(?<![\w-])(?:key|sig))(?:_?\d+)?"
RULES = {
    "key": r"(?<![\w+/=-])(?:sk-|hf_|npm_|gh[opsru]_|dapi|lsv2_|do[opr]_v1_|SK|AGE-SECRET-)(?P<key>[\w-]{20,})",
    "token": r"eyJ[\w-]+\.eyJ(?P<key>[\w.-]{20,})",
    "service": r"\b(?P<password>A[KS]IA[A-Z2-7]{16}|(?:glpat-|dckr_[op]at_|AIza|\d{8,}:AA)[\w-]{20,})",
    "webhook": r"(?:hooks\.slack\.com|/webhooks)/[\w/]+/(?P<key>[\w-]{20,})",
    "key with a prefix": r"""(?<![\w+/=-])(?!sha\d)[A-Za-z]{1,12}\d?[_.-][\w.-]{0,80}?
        (?<![^\W_])(?P<key>(?=[a-z\d]*[A-Z])(?=[A-Z\d]*[a-z])[A-Za-z\d]{20,})""",
    "password in an address": r"""(?:://|[ ]-u[ ])[^\s:/@"']*:(?P<password>[^\s@/"']+)[@ ]""",
    "quoted": rf"""{NAME}["'\])]*[ ]*(?::[ ]*\w+[ ]*=|:?=+>?|[:,(])[ ]*f?["'](?P<password>[^"'\s=]+=*)["']""",
    "value": rf"""{NAME}["']?(?:[ ]*[:=][ ]*|[ ]+(?=\S+(?:[ ]-|$))|>)(?P<value>[^\s"'`#;,&=()<>\[\]{{}}]+)""",
    "private key": r"(?P<password>-----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY)",
    "key file": r"^[\w.*-]+:(?:\d{4,5}|\*):[^:\s]+:[^:\s]+:(?P<password>\S+)$|^Private-MAC:[ ](?P<key>\w+)",
}
DETECTORS = [rule() for rule in detectors().values() if not rule.__name__.endswith(GUESSES)]
# Without quotes, a value is a variable in code and a word in prose, unless it looks random.
CODE = re.compile(r"(?i)\.(py|pyi|ipynb|md|rst|html|css|js|ts|r|jl|java|go|rs|c|h|cpp)$")
HARMLESS = r"""(?ix)^(?:\$[a-z({]|%\(|[<{])|your|example|change|placeholder|dummy|fake|\.\.\.|xxx|^.{0,6}$
    |^(?:test|user|admin|passwo?r?d|secret|[_-]|\d)+!?$|^[.~/]*(?:[a-z]+|\d+)(?:[-_./:@]+(?:[a-z]+|\d+))*$"""


def is_random(value: str) -> bool:
    """Return whether letters and digits change more often than in words, names and paths."""
    runs = re.findall(r"[A-Za-z\d]{12,}", value)
    return any(len(run) < 3.4 * len(re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", run)) for run in runs)


def secrets(text: str, code: bool) -> list[tuple[str, str]]:
    """Return the kind and the value of whatever looks like a secret in a text."""
    found = [(rule.secret_type, value) for rule in DETECTORS for value in rule.analyze_string(text)]
    weak_groups = ["password"] if code else ["password", "value"]
    for kind, pattern in RULES.items():
        for match in re.finditer(pattern, text, re.VERBOSE | re.MULTILINE):
            value, name = match[match.lastgroup or 0], match.groupdict().get("name", "secret")
            weak = re.fullmatch(PASSWORD, name) and match.lastgroup in weak_groups
            if is_random(value) or (weak and not re.search(HARMLESS, value)):
                found.append((kind, value))
    return found


def parts(path: str) -> dict[str, str]:
    """Return the text of a file; of a notebook, the source of each cell and the outputs that it keeps."""
    text = re.sub(r"[A-Za-z0-9+/]{400,}", "IMAGE", Path(path).read_text("utf-8", "replace"))
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        cells = json.loads(text)["cells"]
        found = {
            f"cell {number}, ": "".join(cell["source"]) for number, cell in enumerate(cells, 1)
        }
        return found | {
            "outputs, ": json.dumps([[c["metadata"], c.get("outputs")] for c in cells], indent=0)
        }
    return {"": text}


def main() -> int:
    """Search the files of the command line; return the exit code."""
    tools = tomllib.loads(Path("pyproject.toml").read_text("utf-8")).get("tool", {})
    allow = tools.get("findsecrets", {}).get("allow", [])
    found: dict[str, str] = {}
    for path in [path for path in sys.argv[1:] if not any(map(Path(path).match, allow))]:
        for where, text in parts(path).items():
            for kind, value in secrets(text, bool(CODE.search(path))):
                row = text[: text.find(value)].count("\n")
                line = text.split("\n")[row].strip()
                code = hashlib.sha256(line.encode("utf-8", "replace")).hexdigest()[:12]
                if code not in allow and "pragma: allowlist secret" not in line:
                    found.setdefault(f"{path}: {where}line {row + 1}", f"{kind} ({code})")
    if found:
        print(*map(": ".join, found.items()), sep="\n")
        print(
            "No secret? Add the code in brackets to `allow` of [tool.findsecrets] in pyproject.toml."
        )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
