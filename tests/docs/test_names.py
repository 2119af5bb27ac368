"""Names and descriptions stand in the pages of a project as they were typed, whatever Markdown makes of them."""

import json

import jinja2
import pytest

from tests.support import ROOT, run

HOSTILE = [
    *("plain words", "bird_songs and owl_calls", 'Ada\'s "best" (and only) work: 100 %, 5 > 4'),
    *("*a* **b** _c_ __d__ ~~e~~", "`code` ``more``", "[link](https://example.org) ![picture](x)"),
    *("<b>bold</b> <!-- no --> <https://example.org>", "&amp; &#65; & AT&T", "back\\slash \\* \\"),
    *("# title", "a # b #", "C# and F#", "- item", "+ item", "* item", "> quote", ">quote"),
    *("1. first", "1) first", "1.5 times", "2026", "---", "***", "===", "~~~", "```", "| a | b |"),
    *(
        "$x$ and $$y$$",
        "[ ] task",
        "[^1] [^1]: note",
        "x_ _x x_y _",
        "a*b*c",
        "https://example.org/a_b_",
    ),
]
# Print the text of the heading, and of the paragraph after it, which holds nothing else.
TEXTS = """if True:
    import json, sys, mistune
    def text(node):
        return node.get("raw", "") + "".join(map(text, node.get("children", ())))
    read = mistune.create_markdown(renderer="ast", plugins=["strikethrough", "table", "footnotes"])
    pages = []
    for page in json.load(sys.stdin):
        nodes = [node for node in read(page) if node["type"] != "blank_line"]
        pages.append([[node["type"], {part["type"] for part in node["children"]} == {"text"}, text(node)]
                      if "children" in node else [node["type"]] for node in nodes])
    print(json.dumps(pages))
"""


@pytest.fixture(scope="module")
def as_text():
    """Return the macro that pages use."""
    extensions = ["jinja2_ansible_filters.AnsibleCoreFiltersExtension"]
    loader = jinja2.FileSystemLoader(ROOT / "includes")
    environment = jinja2.Environment(loader=loader, extensions=extensions)
    return environment.get_template("markdown.jinja").module.as_text


def test_markdown_shows_what_was_typed(as_text, set_up, shared_folder):
    python = set_up(shared_folder) / ".venv/bin/python"
    pages = [f"# {as_text(text)}\n\n{as_text(text)}\n" for text in HOSTILE]
    shown = json.loads(run(python, "-c", TEXTS, input=json.dumps(pages)).stdout)
    expected = [[["heading", True, text], ["paragraph", True, text]] for text in HOSTILE]
    wrong = [pair for pair in zip(shown, expected, strict=True) if pair[0] != pair[1]]
    assert not wrong


@pytest.mark.parametrize(
    "text", ["plain words", "bird_songs, 5 % of 1.5", "C# & F#, AT&T", "It's (a) - b"]
)
def test_ordinary_names_get_no_backslash(as_text, text):
    assert as_text(text) == text
