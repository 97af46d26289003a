"""axe-core in the page: serious accessibility problems."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python
from playwright.sync_api import Page

SCRIPT = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


# Bootstrap lets buttons and fields fade from one colour to the next. Half-way a colour is neither of the two, and its
# contrast is nobody's choice. An animation without end (a spinner) is not waited for.
FADES_END = """
async () => {
  const fading = () => document.getAnimations().filter(
    (one) => one.playState === "running" && Number.isFinite(one.effect.getComputedTiming().endTime));
  for (let now = fading(); now.length; now = fading()) await Promise.allSettled(now.map((one) => one.finished));
}
"""


def serious_findings(page: Page) -> list[str]:
    """The rule, its help text and the element, for every serious or critical violation once all fades have ended."""
    page.evaluate(FADES_END)
    page.evaluate(f"() => {{ {SCRIPT} }}")
    violations = page.evaluate("async () => (await axe.run(document, { resultTypes: ['violations'] })).violations")
    return [
        f"{violation['id']}: {violation['help']}: {' '.join(map(str, node['target']))}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
