"""Black text out of a film, in the portal and in the folders of runs, which hold the film's pixels too.

A run keeps its results, which were made from the pixels before; its page, its API and the pages of its films say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from django.utils import timezone

from ml_engine.models import Run, RunState
from ml_engine.runs import paths, run_bucket
from portal.imaging.black_out import PixelBox
from portal.intake.film_files import pixels_here
from portal.intake.text_decisions import InvalidTextDecision, black_out_copies, forget_left_pixels, require_decision
from portal.models import Image, Site, TextDecision, User

_DAYS_LOOKED_BACK = 30
_UNDER_WAY = (RunState.QUEUED, RunState.RUNNING)
_BLACKED_OUT = TextDecision.Verdict.BLACKED_OUT


def black_out_film(*, image: Image, boxes: Sequence[PixelBox], pixels_seen: str, author: User) -> list[TextDecision]:
    """Black the boxes out on the film and its copies at the site, and in the folders of runs. Raises
    InvalidTextDecision, InvalidBlackOut and PermissionDenied, changing nothing."""
    require_decision(image, author)
    site = image.dataset.site
    copies = list(Image.objects.filter(dataset__site=site, pixel_sha256=image.pixel_sha256))
    if names := [run.name for run in _runs_with(site, copies, states=_UNDER_WAY)]:
        raise InvalidTextDecision(
            f"{len(names)} run{'s are' if len(names) > 1 else ' is'} reading this film, for example “{names[0]}”; wait "
            "until it has ended, or cancel it. Nothing was changed."
        )
    decisions = black_out_copies(image=image, boxes=boxes, pixels_seen=pixels_seen, author=author)
    renew_run_files(site, decisions)
    return decisions


def renew_run_files(site: Site, decisions: Iterable[TextDecision]) -> None:
    """Give the runs that ended the new pixels in the place of the old ones. Running it twice is harmless."""
    films = list(Image.objects.filter(text_decisions__in=list(decisions)).distinct())
    for run in _runs_with(site, films, states=[state for state in RunState if state not in _UNDER_WAY]):
        for film in films:
            target = paths.run_folder(run.uuid) / "files" / f"{film.uuid}.u16.gz"
            source = pixels_here(film.pixel_sha256)
            if target.exists() and source.exists() and not target.samefile(source):
                target.unlink()
                paths.link(source, target)


def renew_after_crash() -> None:
    """Finish the black-outs of the last days whose process was killed."""
    since = timezone.now() - timedelta(days=_DAYS_LOOKED_BACK)
    recent = TextDecision.objects.filter(verdict=_BLACKED_OUT, created_at__gt=since)
    for site in Site.objects.filter(datasets__images__text_decisions__in=recent).distinct():
        renew_run_files(site, recent.filter(image__dataset__site=site))
    forget_left_pixels()


def _runs_with(site: Site, films: Sequence[Image], *, states: Sequence[str]) -> list[Run]:
    """The runs whose folder lists one of the films. One that is queued without a folder takes the pixels of then."""
    runs = []
    for run in Run.objects.filter(site=site, state__in=states).order_by("pk"):
        try:
            listed = run_bucket.read_text(run, "images.csv")
        except OSError:
            if run_bucket.is_used() and run.state == RunState.RUNNING:  # its list is on the machine that works on it
                runs.append(run)
            continue
        if any(str(film.uuid) in listed for film in films):
            runs.append(run)
    return runs


def had_other_pixels(run: Run, image: Image) -> bool:
    """Whether text was blacked out on the film after the run had begun, so that its results are of other pixels."""
    decisions = image.text_decisions.filter(verdict=_BLACKED_OUT)
    return run.started_at is not None and decisions.filter(created_at__gt=run.started_at).exists()
