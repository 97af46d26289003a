"""Warnings that `manage.py check`, `migrate` and every start print."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.apps import StaticFilesConfig
from django.contrib.staticfiles.finders import get_finders
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage, staticfiles_storage
from django.core import checks

from portal.intake.virus_scan import ScannerAway, version
from portal.project.production import weakness


@checks.register(checks.Tags.security)
def pseudonym_secret(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of a secret that can be guessed. It is no reason to refuse: with another value in the setting, the films
    of a patient that come later would not be linked to those that are there."""
    if settings.PSEUDONYM_SECRET == settings.SECRET_KEY:
        sentence = "HILUM_PSEUDONYM_SECRET and HILUM_SECRET_KEY are the same, so that whoever has one has both."
    else:
        sentence = weakness(settings.PSEUDONYM_SECRET, "HILUM_PSEUDONYM_SECRET")
    if not sentence:
        return []
    hint = (
        "Whoever guesses it can compute which pseudonym a patient has. For a new installation choose another one. "
        "Where films are there already, exchange it by `manage.py pseudonym_secret rotate`, which keeps their "
        "pseudonyms: another value in the setting alone would cut their link to later films."
    )
    return [checks.Warning(sentence, hint=hint, id="hilum.W001")]


@checks.register(checks.Tags.staticfiles)
def static_files(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of scripts and styles that were not collected: each page that names one is then an internal error."""
    if not isinstance(staticfiles_storage, ManifestStaticFilesStorage):
        return []
    kept, ignored = staticfiles_storage.hashed_files, StaticFilesConfig.ignore_patterns
    missing = [name for finder in get_finders() for name, _ in finder.list(ignored) if name not in kept]
    if not missing:
        return []
    sentence = f"Static files that are not in {settings.STATIC_ROOT}: {len(missing)}, such as {missing[0]}."
    hint = "Run `manage.py collectstatic --noinput`, after each upgrade too; pages that need them fail until then."
    return [checks.Warning(sentence, hint=hint, id="hilum.W003")]


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
