"""The pages of `docs`, as HTML for the portal."""

import re
from functools import cache
from pathlib import Path

from django.conf import settings
from django.urls import reverse
from django.utils.text import slugify
from markdown_it import MarkdownIt
from markdown_it.token import Token

# In the order of the list of pages; what is not named follows under the last heading.
CHAPTERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Films and labels", ("data", "import", "screening", "duplicates", "embedding-map", "viewer", "erasing")),
    (
        "Detectors and results",
        ("results", "method", "alignment", "sweeps", "bank-studies", "weights", "exports", "dicom"),
    ),
    ("Reading", ("reading", "confirmed-head")),
    ("Running Hilum", ("admin", "settings", "reliability", "performance", "scale", "engine", "library")),
)
OTHERS = "How it is made"
_LINK = re.compile(r"(?P<page>[\w-]+)\.md(?P<place>#[\w-]+)?")


def folder() -> Path:
    return Path(settings.BASE_DIR) / "docs"


@cache
def titles() -> dict[str, str]:
    """Page -> its title, the first line."""
    return {path.stem: path.read_text().split("\n", 1)[0].removeprefix("# ") for path in sorted(folder().glob("*.md"))}


def chapters() -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, pages with their titles) of those that are there."""
    named = {page for _, pages in CHAPTERS for page in pages}
    listed = [*CHAPTERS, (OTHERS, tuple(page for page in titles() if page not in named))]
    return [(heading, [(page, titles()[page]) for page in pages if page in titles()]) for heading, pages in listed]


@cache
def as_html(page: str) -> str:
    """Raises KeyError for a page that is not there. The pages are written by the project, and HTML in them is shown as
    text."""
    if page not in titles():
        raise KeyError(page)
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse((folder() / f"{page}.md").read_text())
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and after is not None:
            token.attrSet("id", slugify(after.content))
        if token.type == "table_open":
            token.attrSet("class", "table table-sm")
        for child in token.children or []:
            _lead_within(child)
    html: str = parser.renderer.render(tokens, parser.options, {})
    return html.replace("<pre>", '<pre tabindex="0">')  # on a narrow page it scrolls, by keys too


def _lead_within(token: Token) -> None:
    """A link to another page leads to it here; one to a file that the portal does not serve leads nowhere."""
    if token.type == "image":
        name = Path(str(token.attrGet("src"))).name
        token.attrSet("src", reverse("portal:manual-image", args=[name]))
        token.attrSet("loading", "lazy")
        token.attrSet("class", "img-fluid border")
    if token.type == "link_open":
        target = str(token.attrGet("href"))
        match = _LINK.fullmatch(target)
        if match and match["page"] in titles():
            token.attrSet("href", reverse("portal:manual-page", args=[match["page"]]) + (match["place"] or ""))
        elif not target.startswith(("#", "http")):
            token.attrs.pop("href")
