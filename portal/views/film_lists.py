"""The chosen films of a grid as a CSV."""

from uuid import UUID

from django.http import HttpResponseBase, StreamingHttpResponse
from django.views.decorators.http import require_POST

from portal.grid.film_list import export_films, file_name
from portal.grid.film_order import FilmOrder, order_of
from portal.models import Dataset, User
from portal.people.access import get_visible
from portal.people.signed_in import SignedInRequest
from portal.views.grid_choice import GridChoice, chosen_films


@require_POST
def export(request: SignedInRequest, uuid: UUID) -> HttpResponseBase:
    """The films `image` (repeated); without them, all that match the filters in the query string, in its order."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    order = order_of(request.GET, request.user, dataset)
    return film_list_response(request.user, dataset, chosen_films(request, dataset), order)


def film_list_response(person: User, dataset: Dataset, chosen: GridChoice, order: FilmOrder) -> HttpResponseBase:
    """The API answers with it too."""
    lines = export_films(dataset=dataset, images=chosen.images, person=person, order=order, words=chosen.words)
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name(dataset)}"'
    return response
