"""Looks for text burned into the films of a dataset, in the background, and says which films wait for a person."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass

import numpy as np
from celery import current_app
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from kombu.exceptions import OperationalError

from portal.imaging.burned_in import WrittenLine, find_text
from portal.imaging.errors import UnusableFile
from portal.imaging.film import Film, PixelFacts, shown_values, unpack
from portal.intake.film_files import pixels_here
from portal.models import Dataset, Image, TextDecision, TextLook, User
from portal.people import audit
from portal.people.access import require

logger = logging.getLogger(__name__)
SEARCH = "portal.tasks.search_text_in"
_BATCH = 10  # films between two looks at the clock


@dataclass(frozen=True)
class TextSearch:
    """How far the search of a dataset is, and how many of its films wait for a decision."""

    films: int
    looked_at: int
    suspected: int

    @property
    def left(self) -> int:
        return self.films - self.looked_at


def film_of(image: Image) -> Film:
    """The film's pixels with the facts to show them. Raises OSError and UnusableFile where they are lost."""
    stored = unpack(pixels_here(image.pixel_sha256).read_bytes(), image.rows, image.columns)
    return Film(stored, PixelFacts.from_json(image.facts))


def lines_on(film: Film) -> list[WrittenLine]:
    """Lines that look like text on a film as it is shown."""
    return find_text(np.asarray(255 * shown_values(film), dtype=np.uint8))


def header_says_so(image: Image) -> bool:
    return image.header.get("burned_in") == "YES"


def to_decide(films: QuerySet[Image]) -> QuerySet[Image]:
    """Those films that are suspected, by the search or by their header, and on whose pixels nobody has decided."""
    decided = TextDecision.objects.filter(image=OuterRef("pk"), pixels_after=OuterRef("pixel_sha256"))
    suspected = Q(text_look__is_suspected=True) | Q(header__burned_in="YES")
    return films.filter(suspected).exclude(Exists(decided))


def search_of(dataset: Dataset) -> TextSearch:
    films = dataset.images.all()
    return TextSearch(
        films=films.count(),
        looked_at=films.filter(text_look__isnull=False).count(),
        suspected=to_decide(films).count(),
    )


def begin_search(*, dataset: Dataset, author: User) -> TextSearch:
    """Queue the search of the films that were not looked at yet."""
    require(author, "import films", dataset.site)
    search = search_of(dataset)
    if search.left:
        with transaction.atomic():
            after = {"films": search.left}
            audit.record(verb="search for burned-in text", site=dataset.site, actor=author, target=dataset, after=after)
            transaction.on_commit(lambda: publish_search(dataset), robust=True)
    return search


def publish_search(dataset: Dataset) -> None:
    try:
        current_app.send_task(SEARCH, args=[str(dataset.uuid)])
    except OperationalError:
        logger.warning("text in dataset %s is not searched for: the broker is not there", dataset.uuid)


def look_for_text(dataset: Dataset, *, seconds: float = float("inf")) -> int:
    """Look at films of the dataset that were not looked at, for about so many seconds. Returns how many are left."""
    ends = time.monotonic() + seconds
    films = dataset.images.filter(text_look__isnull=True).order_by("pk")
    while batch := list(films[:_BATCH]):
        for image in batch:
            look_at(image)
        if time.monotonic() > ends:
            break
    return films.count()


def look_at(image: Image) -> TextLook:
    """Look at the film, once more if need be; one whose pixels are lost counts as looked at."""
    try:
        lines = lines_on(film_of(image))
    except (OSError, UnusableFile):
        lines = []
    values = {"lines": [asdict(line) for line in lines], "is_suspected": bool(lines)}
    look, _ = TextLook.objects.update_or_create(image=image, defaults=values)
    return look


def blacked_out(films: QuerySet[Image]) -> QuerySet[Image]:
    """Those of the films whose pixels are not those that were imported."""
    return films.filter(text_decisions__verdict=TextDecision.Verdict.BLACKED_OUT).distinct()


def film_that_had(dataset: Dataset, pixel_sha256: str) -> Image | None:
    """The film of the dataset whose pixels these were before text was blacked out."""
    decided = TextDecision.objects.filter(
        pixels_before=pixel_sha256, verdict=TextDecision.Verdict.BLACKED_OUT, image__dataset=dataset
    )
    decision = decided.exclude(pixels_after=F("pixels_before")).select_related("image").first()
    return decision.image if decision else None
