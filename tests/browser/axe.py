"""axe-core in the page: what is seriously wrong for people who see, hear or move differently."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python
from playwright.sync_api import Page

SCRIPT = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def serious_findings(page: Page) -> list[str]:
    """Rule, what it asks for and the element, of every serious or critical finding."""
    page.evaluate(f"() => {{ {SCRIPT} }}")
    found = page.evaluate("async () => (await axe.run(document, { resultTypes: ['violations'] })).violations")
    return [
        f"{one['id']}: {one['help']}: {' '.join(map(str, node['target']))}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
