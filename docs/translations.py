"""Compare the French pages with the English ones, paragraph by paragraph.

    python docs/translations.py          fail if a page has other parts, or a paragraph is stale or untranslated
    python docs/translations.py accept   note that the French says what the English says now

docs/fr/translated.json holds a checksum of each English paragraph that the French was compared with. Someone
who edits an English paragraph edits the French one and runs `accept`; someone who speaks no French says so
in the pull request.

Exit codes: 0 all fits, 1 something does not (one line for each says what), 2 wrong usage.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
ACCEPTED = ROOT / "docs/fr/translated.json"
PAGES = {
    "README.md": "README.fr.md",
    "docs/guide/docker.md": "docs/fr/guide/docker.md",
    "docs/tutorial/first-project.md": "docs/fr/tutorial/first-project.md",
}
BLOCK = re.compile(r"^```.*?^```$|(?:^(?!```)[^\n]*\S[^\n]*\n?)+", re.MULTILINE | re.DOTALL)
# Three words in a row, once code and addresses are gone.
PROSE = re.compile(r"(?:[A-Za-zÀ-ÿ]+\W+){3}")
CODE = re.compile(r"`[^`]*`|\]\([^)]*\)|<!--.*?-->")


def main() -> int:
    if sys.argv[1:] not in ([], ["accept"]):
        print(__doc__, file=sys.stderr)
        return 2
    if sys.argv[1:]:
        accept()
    wrong = [line for pair in PAGES.items() for line in problems(*pair)]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return bool(wrong)


def accept() -> None:
    accepted = {english: checksums(blocks(english)) for english in PAGES}
    ACCEPTED.write_text(json.dumps(accepted, indent=1) + "\n", encoding="utf-8")


def blocks(page: str) -> list[str]:
    """Return the paragraphs, headings, lists, tables and code of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [block.strip() for block in re.findall(BLOCK, text)]


def checksums(parts: list[str]) -> list[str]:
    return [hashlib.sha256(part.encode()).hexdigest()[:12] for part in parts]


def problems(english: str, french: str) -> list[str]:
    """Return a sentence for each part of a French page that does not fit its English original."""
    ours, theirs = blocks(english), blocks(french)
    shapes = list(map(shape, ours)), list(map(shape, theirs))
    for number, (left, right) in enumerate(zip(*shapes, strict=False)):
        if left != right:
            return [f"{french}: other parts than {english}, from {theirs[number][:60]!r} on"]
    if len(ours) != len(theirs):
        return [f"{french}: {len(theirs)} parts, but {english} has {len(ours)}"]
    accepted = set(json.loads(ACCEPTED.read_text(encoding="utf-8"))[english])
    wrong = []
    for source, checksum, translation in zip(ours, checksums(ours), theirs, strict=True):
        if source == translation and PROSE.search(CODE.sub("", source)) and source[0] != "`":
            wrong.append(f"{french}: not translated: {source[:60]!r}")
        elif checksum not in accepted:
            wrong.append(f"{french}: stale, because the English has changed: {source[:60]!r}")
    return wrong


def shape(part: str) -> tuple:
    """Return what a part and its translation have in common: its kind, its size, and its commands."""
    if part.startswith(("```console", "<!--")):
        return (re.sub(r"--data language=fr |(?<=project_name=)\"[^\"]*\"", "", part),)
    if part.startswith("```"):
        return (part.splitlines()[0], part.count("\n"))
    if part.startswith("#"):
        return (part.split()[0],)
    kind = part[0] if part[0] in "|*!" else "text"
    return (
        kind,
        len(re.findall(r"^(?:\||\* )", part, re.MULTILINE)),
        len(re.findall(r"!\[", part)),
    )


if __name__ == "__main__":
    sys.exit(main())
