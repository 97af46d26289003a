"""Films that were chosen on a page, such as with a lasso on an embedding map, as a queue or a cohort."""

import re

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from portal.people.signed_in import SignedInRequest
from portal.sets.chosen_films import InvalidChoice, freeze_chosen, queue_chosen
from portal.sets.cohorts import InvalidCohort
from portal.sets.screening_queues import InvalidQueue, Order
from portal.views.frame import error_page


def _addresses(request: SignedInRequest) -> list[str]:
    """The UUIDs of the field `films`, separated by commas or white space."""
    return [word for word in re.split(r"[\s,]+", request.POST.get("films", "")) if word]


@require_POST
def queue(request: SignedInRequest) -> HttpResponse:
    """Fields: `films`, `name`, `order`, `seed`, and `source`, words for the page where they were chosen."""
    seed = request.POST.get("seed") or "0"
    try:
        if not (seed.isascii() and seed.isdigit() and len(seed) < 11):
            raise InvalidQueue(f"The seed is {seed[:20]!r}; enter a whole number from 0 to {2**31 - 1}.")
        made = queue_chosen(
            author=request.user,
            addresses=_addresses(request),
            name=request.POST.get("name", ""),
            order=request.POST.get("order", Order.UNLABELLED),
            source=request.POST.get("source", ""),
            seed=int(seed),
        )
    except (InvalidChoice, InvalidQueue) as error:
        return error_page(request, "No queue was created", str(error), 400)
    return redirect("portal:queue", made.uuid)


@require_POST
def cohort(request: SignedInRequest) -> HttpResponse:
    """Fields: `films`, `name`, `note` and `source`."""
    try:
        made = freeze_chosen(
            author=request.user,
            addresses=_addresses(request),
            name=request.POST.get("name", ""),
            note=request.POST.get("note", ""),
            source=request.POST.get("source", ""),
        )
    except (InvalidChoice, InvalidCohort) as error:
        return error_page(request, "No cohort was frozen", str(error), 400)
    return redirect("portal:cohort", made.uuid)
