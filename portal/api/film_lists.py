"""The films of a dataset as a CSV, by API: the same file as on the page."""

from uuid import UUID

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from portal.api.filters import asked_order, exact_filters
from portal.api.renderers import Csv
from portal.grid.film_order import SORT
from portal.models import Dataset
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible
from portal.people.signed_in import person
from portal.sets.film_filters import FILTERS
from portal.views.film_lists import film_list_response
from portal.views.grid_choice import GridChoice


@extend_schema_view(get=extend_schema(parameters=[OpenApiParameter(name) for name in (*FILTERS, SORT)]))
@accepts_query(*FILTERS, SORT)
class FilmList(APIView):
    """A line for each film under the filters: patient by its address, view, size, label, findings, tags. Refused while
    you have yet to read a film of the dataset blinded."""

    renderer_classes = [JSONRenderer, Csv]

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, uuid: UUID) -> HttpResponseBase:
        dataset = get_visible(Dataset.objects.select_related("site"), person(request), uuid)
        query = {name: value for name, value in request.query_params.items() if name != "format"}
        filters, order = exact_filters(query, dataset), asked_order(query, person(request), dataset)
        films = dataset.images.all()
        chosen = GridChoice(filters.apply(films), films, filters.words(), filters.facts())
        return film_list_response(person(request), dataset, chosen, order)
