"""The portal's data by API: the same functions and the same rules as the pages."""

from typing import Any

from django.db.models import Count, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.access import get_visible, visible
from portal.api.serializers import DatasetSerializer, ImageSerializer, LabelRequest, SplitSerializer
from portal.films import Filters
from portal.labelling import InvalidLabel, label_films
from portal.models import Dataset, Image, Split
from portal.signed_in import person


class Datasets(generics.ListAPIView[Dataset]):
    serializer_class = DatasetSerializer
    queryset = Dataset.objects.none()

    def get_queryset(self) -> QuerySet[Dataset]:
        return visible(Dataset.objects.annotate(films=Count("images")), person(self.request)).order_by("name")


class Images(generics.ListAPIView[Image]):
    """The films of a dataset; filters as on its page: label, view, finding, split and part."""

    serializer_class = ImageSerializer
    queryset = Image.objects.none()

    def get_queryset(self) -> QuerySet[Image]:
        dataset = get_visible(Dataset.objects.all(), person(self.request), self.kwargs["uuid"])
        filters = Filters.from_query(self.request.query_params, Split.objects.filter(datasets=dataset))
        return filters.apply(dataset.images.all()).select_related("current_label", "patient").order_by("pk")


class Splits(generics.ListAPIView[Split]):
    serializer_class = SplitSerializer
    queryset = Split.objects.none()

    def get_queryset(self) -> QuerySet[Split]:
        return visible(Split.objects.all(), person(self.request))


class Labels(APIView):
    @extend_schema(request=LabelRequest, responses={201: None})
    def post(self, request: Request) -> Response:
        wish = LabelRequest(data=request.data)
        wish.is_valid(raise_exception=True)
        given: dict[str, Any] = wish.validated_data
        films = list(
            visible(Image.objects.select_related("dataset__site"), person(request)).filter(uuid__in=given["images"])
        )
        if len(films) != len(set(given["images"])):
            raise NotFound("A film is not at your site or is gone.")
        try:
            act = label_films(
                images=films,
                value=given["value"],
                author=person(request),
                site=films[0].dataset.site,
                findings=given["findings"],
                reason=given["reason"],
            )
        except InvalidLabel as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response({"act": str(act), "films": len(films)}, status=status.HTTP_201_CREATED)
