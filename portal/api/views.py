"""API of the portal's data, with the same functions and rules as the pages."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from django.db.models import Count, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.filters import asked_order, exact_filters
from portal.api.new_sets import (
    NewCohort,
    NewDataset,
    NewQueue,
    NewSplit,
    freeze_films,
    make_dataset,
    make_split_of,
    queue_of_cohort,
    queue_of_dataset,
)
from portal.api.pagination import ByPosition, OnwardFilms, PagesOfFilms
from portal.api.serializers import (
    CohortImageSerializer,
    CohortSerializer,
    CriteriaSerializer,
    DatasetSerializer,
    ImageSerializer,
    LabelRequest,
    QueueImageSerializer,
    QueueSerializer,
    SplitSerializer,
)
from portal.grid.film_order import SORT, in_order, record_order
from portal.grid.tags import tags_by_film
from portal.labels.events import InvalidLabel, LabelChange, label_as_seen
from portal.labels.losses import losses_of, words_of
from portal.models import (
    Cohort,
    CohortImage,
    Dataset,
    Exposure,
    Image,
    NormalCriteria,
    QueueImage,
    ScreeningQueue,
    Split,
)
from portal.people import blinding
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, visible
from portal.people.exposure import record_exposure
from portal.people.retired import without_retired
from portal.people.signed_in import person
from portal.sets.cohorts import InvalidCohort, diff, leave_out
from portal.sets.film_filters import FILTERS, events_of, labelled
from portal.sets.moved_films import with_moved_films
from portal.sets.screening_queues import films_of, numbering, numberings


class Datasets(generics.ListAPIView[Dataset]):
    serializer_class = DatasetSerializer
    queryset = Dataset.objects.none()

    def get_queryset(self) -> QuerySet[Dataset]:
        datasets = without_retired(Dataset.objects.annotate(films=Count("images")))
        return visible(datasets, person(self.request)).order_by("name")

    @extend_schema(request=NewDataset, responses={201: DatasetSerializer})
    def post(self, request: Request) -> Response:
        """Make an empty dataset, to send films into."""
        dataset = make_dataset(request)
        dataset.films = 0  # type: ignore[attr-defined]
        return Response(DatasetSerializer(dataset).data, status=status.HTTP_201_CREATED)


@extend_schema_view(get=extend_schema(parameters=[OpenApiParameter(name) for name in (*FILTERS, SORT)]))
@accepts_query(*FILTERS, SORT)
class Images(generics.ListAPIView[Image]):
    """The films of a dataset, with the filters of its page: label, view, finding, attribute (of normals), criteria (a
    version, older or none), warning (nothing: films that show nothing), split and part; in the order `sort`, without it
    that of their import: -imported, patient, age, view, label, finding, size, each also backwards (-patient), and
    least-normal- with the UUID of a scoring run, films whose score you may not see last."""

    serializer_class = ImageSerializer
    pagination_class = PagesOfFilms
    queryset = Image.objects.none()

    def get_queryset(self) -> QuerySet[Image]:
        dataset = get_visible(Dataset.objects.all(), person(self.request), self.kwargs["uuid"])
        filters = exact_filters(self.request.query_params, dataset)
        films = filters.apply(blinding.without_withheld(dataset.images.all(), person(self.request)))
        self.order = asked_order(self.request.query_params, person(self.request), dataset)
        return in_order(films.select_related("current_label__criteria", "patient"), self.order)

    def omitted(self) -> str:
        return blinding.omitted_among(Image.objects.filter(dataset__uuid=self.kwargs["uuid"]), person(self.request))

    def paginate_queryset(self, queryset: Any) -> Any:
        films = super().paginate_queryset(queryset)
        self.tags = tags_by_film(films or [])
        record_exposure(person(self.request), Exposure.Kind.LABEL, {*labelled(films or []), *self.tags})
        record_order(person(self.request), films or [], self.order)
        return films

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "tags": getattr(self, "tags", {})}


class Splits(generics.ListAPIView[Split]):
    serializer_class = SplitSerializer
    queryset = Split.objects.none()

    def get_queryset(self) -> QuerySet[Split]:
        return with_moved_films(visible(Split.objects.all(), person(self.request)))

    @extend_schema(request=NewSplit, responses={201: SplitSerializer})
    def post(self, request: Request) -> Response:
        """Freeze a split: patients drawn into parts, or the parts of the table that came with the films."""
        split = with_moved_films(Split.objects.filter(pk=make_split_of(request).pk)).get()
        return Response(SplitSerializer(split).data, status=status.HTTP_201_CREATED)


class OneSplit(generics.RetrieveAPIView[Split]):
    serializer_class = SplitSerializer
    queryset = Split.objects.none()

    def get_object(self) -> Split:
        return get_visible(with_moved_films(Split.objects.all()), person(self.request), self.kwargs["uuid"])


@extend_schema_view(post=extend_schema(parameters=[OpenApiParameter(name) for name in FILTERS]))
@accepts_query(*FILTERS)
class FreezeCohort(APIView):
    """Freeze the films of a dataset, with the filters of its page in the query, as a cohort; the next version of a name
    that the site has. Refused while you have yet to read a film of the dataset blinded."""

    @extend_schema(request=NewCohort, responses={201: CohortSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        dataset = get_visible(Dataset.objects.select_related("site"), person(request), uuid)
        cohort = freeze_films(request, dataset)
        return Response(CohortSerializer(cohort).data, status=status.HTTP_201_CREATED)


@extend_schema_view(post=extend_schema(parameters=[OpenApiParameter(name) for name in FILTERS]))
@accepts_query(*FILTERS)
class QueueDataset(APIView):
    """A queue of the films of a dataset, with the filters of its page in the query."""

    @extend_schema(request=NewQueue, responses={201: QueueSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        dataset = get_visible(Dataset.objects.select_related("site"), person(request), uuid)
        return Response(queue_of_dataset(request, dataset), status=status.HTTP_201_CREATED)


class QueueCohort(APIView):
    """A queue of the films of a cohort."""

    @extend_schema(request=NewQueue, responses={201: QueueSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        cohort = get_visible(Cohort.objects.select_related("site"), person(request), uuid)
        return Response(queue_of_cohort(request, cohort), status=status.HTTP_201_CREATED)


class Cohorts(generics.ListAPIView[Cohort]):
    serializer_class = CohortSerializer
    queryset = Cohort.objects.none()

    def get_queryset(self) -> QuerySet[Cohort]:
        return visible(Cohort.objects.all(), person(self.request))

    def paginate_queryset(self, queryset: Any) -> Any:
        cohorts = super().paginate_queryset(queryset)
        leave_out(cohorts or [], blinding.withheld_patients(person(self.request)))
        return cohorts


class OneCohort(generics.RetrieveAPIView[Cohort]):
    serializer_class = CohortSerializer
    queryset = Cohort.objects.none()

    def get_object(self) -> Cohort:
        cohort = get_visible(Cohort.objects.all(), person(self.request), self.kwargs["uuid"])
        leave_out([cohort], blinding.withheld_patients(person(self.request)))
        return cohort


class CohortImages(generics.ListAPIView[CohortImage]):
    """The films of a cohort, with the label that each had when it was frozen."""

    serializer_class = CohortImageSerializer
    pagination_class = OnwardFilms
    queryset = CohortImage.objects.none()

    def get_queryset(self) -> QuerySet[CohortImage]:
        cohort = get_visible(Cohort.objects.all(), person(self.request), self.kwargs["uuid"])
        return blinding.without_withheld(cohort.members.select_related("image"), person(self.request), film="image")

    def omitted(self) -> str:
        return blinding.left_out(person(self.request))

    def paginate_queryset(self, queryset: Any) -> Any:
        members = super().paginate_queryset(queryset)
        with_label = [member.image_id for member in members or [] if member.label]
        record_exposure(person(self.request), Exposure.Kind.LABEL, with_label)
        return members


@accepts_query("earlier")
class CohortDifference(APIView):
    """The films that were added, removed or relabelled since `earlier`, another cohort of the site."""

    @extend_schema(parameters=[OpenApiParameter("earlier", UUID, required=True)], responses={200: dict})
    def get(self, request: Request, uuid: UUID) -> Response:
        cohorts = visible(Cohort.objects.all(), person(request))
        cohort = get_visible(cohorts, person(request), uuid)
        earlier = get_visible(cohorts, person(request), request.query_params.get("earlier", ""))
        withheld = set(blinding.withheld_images(person(request)).values_list("pk", flat=True))
        try:
            difference = diff(cohort, earlier).without(withheld)
        except InvalidCohort as error:
            raise ValidationError({"detail": str(error)}) from error
        ids = [*difference.added, *difference.removed, *(change.image_id for change in difference.relabelled)]
        record_exposure(person(request), Exposure.Kind.LABEL, ids)
        uuids = _uuids(ids)
        return Response(
            {
                "cohort": str(cohort),
                "earlier": str(earlier),
                "added": [uuids[pk] for pk in difference.added],
                "removed": [uuids[pk] for pk in difference.removed],
                "relabelled": [
                    {"image": uuids[change.image_id], "before": change.before, "after": change.after}
                    for change in difference.relabelled
                ],
                "omitted": blinding.left_out(person(request)),
            }
        )


def _uuids(ids: Sequence[int]) -> dict[int, UUID]:
    uuids: dict[int, UUID] = {}
    for start in range(0, len(ids), 500):  # old builds of SQLite allow 999 parameters
        uuids |= dict(Image.objects.filter(pk__in=ids[start : start + 500]).values_list("pk", "uuid"))
    return uuids


class Queues(generics.ListAPIView[ScreeningQueue]):
    serializer_class = QueueSerializer
    queryset = ScreeningQueue.objects.none()

    def get_queryset(self) -> QuerySet[ScreeningQueue]:
        return visible(ScreeningQueue.objects.all(), person(self.request))

    def paginate_queryset(self, queryset: Any) -> Any:
        queues = super().paginate_queryset(queryset)
        numbers = numberings(queues or [], person(self.request))
        for queue in queues or []:
            queue.films = numbers[queue.pk].total
        return queues


class QueueImages(generics.ListAPIView[QueueImage]):
    """The films of a queue in its order, without films that may not be shown in an order by score or that you have yet
    to read blinded; the positions are numbered without the latter."""

    serializer_class = QueueImageSerializer
    pagination_class = ByPosition
    queryset = QueueImage.objects.none()

    def get_queryset(self) -> QuerySet[QueueImage]:
        return films_of(self._queue(), person(self.request))

    def _queue(self) -> ScreeningQueue:
        return get_visible(ScreeningQueue.objects.all(), person(self.request), self.kwargs["uuid"])

    def omitted(self) -> str:
        return blinding.left_out(person(self.request))

    def paginate_queryset(self, queryset: Any) -> Any:
        members = super().paginate_queryset(queryset)
        queue, films = self._queue(), [member.image for member in members or []]
        if not queue.blinded:  # its source may name a label; that of a blinded queue is not shown
            record_exposure(person(self.request), Exposure.Kind.LABEL, labelled(films))
        if queue.order == ScreeningQueue.Order.SCORE:
            record_exposure(person(self.request), Exposure.Kind.SCORE, [film.pk for film in films])
        numbers = numbering(queue, person(self.request))
        for member in members or []:
            member.position = numbers.number_at(member.position)
        return members


class CriteriaVersions(generics.ListAPIView[NormalCriteria]):
    """The criteria of normal of a site in all their versions, newest first; labels name a version."""

    serializer_class = CriteriaSerializer
    queryset = NormalCriteria.objects.none()

    def get_queryset(self) -> QuerySet[NormalCriteria]:
        return visible(NormalCriteria.objects.all(), person(self.request)).order_by("site", "-version")


class LabelFilms(APIView):
    @extend_schema(request=LabelRequest, responses={201: dict, 409: dict})
    def post(self, request: Request) -> Response:
        """Label films in a single act. 409 if another person has changed every film since it was `seen`. `gone` names,
        by film, the findings and boxes of earlier labels that no longer count; `note` says it in a sentence. Films that
        you have yet to read blinded are left out, which `omitted` says; 403 if all of them are."""
        serializer = LabelRequest(data=request.data)
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        films = list(
            visible(Image.objects.select_related("dataset__site"), person(request)).filter(uuid__in=data["images"])
        )
        if len(films) != len(set(data["images"])):
            raise NotFound("A film does not exist or belongs to another site.")
        asked, patients = films, blinding.withheld_patients(person(request))
        films = [film for film in asked if film.patient_id not in patients]
        if not films:
            blinding.refuse_withheld(person(request), asked[0])
        try:
            outcome = label_as_seen(
                images=films,
                seen=_events_seen(films, data.get("seen")),
                change=LabelChange(
                    value=data["value"],
                    findings=data.get("findings"),
                    boxes=data.get("boxes"),
                    attributes=data.get("attributes"),
                    reason=data["reason"],
                ),
                act=data.get("act") or uuid4(),
                author=person(request),
                site=films[0].dataset.site,
            )
        except InvalidLabel as error:
            raise ValidationError({"detail": str(error)}) from error
        record_exposure(person(request), Exposure.Kind.LABEL, outcome.labelled)
        changed = [film.uuid for film in films if film.pk in outcome.changed]
        losses = losses_of(outcome.act)
        response = {
            "act": str(outcome.act),
            "films": len(outcome.labelled),
            "changed": changed,
            "gone": {str(film.uuid): losses[film.pk].to_json() for film in films if film.pk in losses},
            "note": words_of(losses.values()),
            "omitted": blinding.omitted(len(asked) - len(films)),
        }
        return Response(response, status=status.HTTP_201_CREATED if outcome.labelled else status.HTTP_409_CONFLICT)


def _events_seen(films: Sequence[Image], seen: Mapping[str, int] | None) -> dict[int, int]:
    """Events seen by film id: all existing events without `seen`, and none for a film that is missing from `seen`."""
    if seen is None:
        return events_of(films)
    return {film.pk: seen.get(str(film.uuid), 0) for film in films}
