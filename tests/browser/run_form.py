"""The form of a run, whose fields are folded by theme."""

from __future__ import annotations

from playwright.sync_api import Page


def open_themes(page: Page) -> None:
    """Open all themes, as a person does who changes settings in several of them."""
    folded = page.locator("form details:not([open]) > summary")
    while folded.count():
        folded.first.click()
