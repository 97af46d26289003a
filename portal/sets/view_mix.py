"""The view positions of the parts of a split: what a model was fitted on, and whether another part is a different mix.

A model of frontal films calls a lateral film abnormal for its view. A film whose view nothing states counts as frontal.
"""

from __future__ import annotations

from collections import Counter

from django.db.models import Count, QuerySet

from portal.imaging.views import FRONTAL, in_words
from portal.models import Image, Part, Split

MOST_DIFFERENT = 0.1  # of the films of a part would need another view to have the mix of fit


def views_of(split: Split, part: str) -> Counter[str]:
    """Films of the part by view, "" where nothing states it."""
    films = Image.objects.filter(split_images__member__split=split, split_images__member__part=part).order_by()
    return Counter(dict(films.values_list("view_position").annotate(Count("pk"))))


def is_of_frontal_films(split: Split) -> bool:
    """Whether a model fitted on the split has seen frontal films only."""
    views = views_of(split, Part.FIT)
    return bool(views) and FRONTAL.issuperset(views)


def of_other_views(films: QuerySet[Image], split: Split) -> QuerySet[Image]:
    """Those of the films that a model fitted on the split refuses: laterals and other views, if it is one of frontal
    films."""
    return films.exclude(view_position__in=FRONTAL) if is_of_frontal_films(split) else films.none()


def why_differs(split: Split, part: str) -> str:
    """A warning where the part is another mix of views than fit; "" where it is not, or one of the two is empty."""
    fit, other = views_of(split, Part.FIT), views_of(split, part)
    if part == Part.FIT or not fit or not other:
        return ""
    distance = sum(abs(fit[view] / fit.total() - other[view] / other.total()) for view in {*fit, *other}) / 2
    if distance <= MOST_DIFFERENT:
        return ""
    return (
        f"The views of {part} differ from those that the detector was fitted on: {part} has {in_words(other)}, fit "
        f"{in_words(fit)}. A film may score high for its view alone; the results by view are below."
    )
