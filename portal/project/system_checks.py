"""Warnings that `manage.py check`, `migrate` and every start print."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks

from portal.intake.virus_scan import ScannerAway, version
from portal.project.production import weakness


@checks.register(checks.Tags.security)
def pseudonym_secret(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of a secret that can be guessed. It is no reason to refuse: with another one, the films of a patient that
    come later would not be linked to those that are there."""
    sentence = weakness(settings.PSEUDONYM_SECRET, "HILUM_PSEUDONYM_SECRET")
    if not sentence:
        return []
    hint = (
        "Whoever guesses it can compute which pseudonym a patient has. Changing it cuts the link to films that are "
        "there: for a new installation choose another one; otherwise keep it, and guard who can read pseudonyms."
    )
    return [checks.Warning(sentence, hint=hint, id="hilum.W001")]


@checks.register(checks.Tags.security)
def virus_scanner(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of a scanner that does not answer: imports wait for it."""
    if settings.SCANNER is None:
        return []
    try:
        version(settings.SCANNER, seconds=2.0)
    except ScannerAway as problem:
        sentence = f"The virus scanner of HILUM_CLAMD does not answer ({problem})."
        hint = "Start clamd, or take the setting out. Imports wait until it answers; nothing is imported unscanned."
        return [checks.Warning(sentence, hint=hint, id="hilum.W002")]
    return []
