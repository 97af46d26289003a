"""Relabelling of many films by API: preview, apply, undo."""

from collections import Counter
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.filters import exact_filters
from portal.labels.events import InvalidLabel, LabelChange, undo
from portal.labels.relabel import MOST_FILMS, PreviewOutdated, RelabelPreview, apply_relabel, preview_relabel
from portal.labels.relabel_sentences import sentences_of
from portal.models import Dataset, Image, Site, User
from portal.people.access import get_visible, sites_of, visible
from portal.people.blinding import refuse_file
from portal.people.signed_in import person


class RelabelRequest(serializers.Serializer[None]):
    """`images`, or `dataset` with the `filters` of its page."""

    images = serializers.ListField(
        child=serializers.UUIDField(), required=False, min_length=1, max_length=MOST_FILMS, help_text="Of one site."
    )
    dataset = serializers.UUIDField(required=False, help_text="All its films that match `filters`.")
    filters = serializers.DictField(
        child=serializers.CharField(max_length=100),
        required=False,
        help_text="label, view, finding, attribute, criteria, split (its UUID) and part, as of the films of a dataset.",
    )
    value = serializers.CharField(max_length=8)
    findings = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        help_text="Without it, films whose value stays keep their findings; an empty list states that there are none.",
    )
    attributes = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, help_text="Of normal films; kept like findings."
    )
    reason = serializers.CharField(max_length=500, default="", allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("images" in attrs) == ("dataset" in attrs):
            raise ValidationError("Send either `images` or `dataset`.")
        if "filters" in attrs and "dataset" not in attrs:
            raise ValidationError("`filters` belong to a `dataset`.")
        return attrs


class ApplyRequest(serializers.Serializer[None]):
    token = serializers.CharField(max_length=2**20, help_text="Of the preview.")


class UndoRequest(serializers.Serializer[None]):
    act = serializers.UUIDField()


class PreviewRelabel(APIView):
    @extend_schema(request=RelabelRequest, responses={200: dict})
    def post(self, request: Request) -> Response:
        """Say what a label would do to these films: films by label before and after (`changes`), what no longer counts
        (`gone`), how many are withheld from you as blinded (`omitted`), and all of it as `sentences`. `token` applies
        it within an hour. Nothing is changed."""
        serializer = RelabelRequest(data=request.data)
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        user = person(request)
        images, among, site = films_of_dataset(data, user) if "dataset" in data else films_of_list(data, user)
        change = LabelChange(
            value=data["value"],
            findings=data.get("findings"),
            attributes=data.get("attributes"),
            reason=data["reason"],
        )
        try:
            preview = preview_relabel(images=images, among=among, change=change, author=user, site=site)
        except InvalidLabel as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(_as_json(preview))


def films_of_dataset(data: dict[str, Any], user: User) -> tuple[QuerySet[Image], QuerySet[Image], Site]:
    dataset = get_visible(Dataset.objects.select_related("site"), user, data["dataset"])
    films = dataset.images.all()
    filters = exact_filters(data.get("filters", {}), dataset)
    return filters.apply(films), films, dataset.site


def films_of_list(data: dict[str, Any], user: User) -> tuple[QuerySet[Image], None, Site]:
    images = visible(Image.objects.all(), user).filter(uuid__in=data["images"])
    sites = list(sites_of(user).filter(datasets__images__in=images).distinct())
    if not sites or images.count() != len(set(data["images"])):
        raise NotFound("A film does not exist or belongs to another site.")
    return images, None, sites[0]


def _as_json(preview: RelabelPreview) -> dict[str, Any]:
    moves = sorted(preview.moves.items(), key=lambda move: (-move[1], move[0]))
    return {
        "films": preview.films,
        "changes": [{"before": before, "after": after, "films": films} for (before, after), films in moves],
        "keeping": preview.keeping,
        "gone": {
            "films": len(preview.gone),
            "findings": Counter(name for lost in preview.gone for name in lost.findings),
            "attributes": Counter(name for lost in preview.gone for name in lost.attributes),
            "boxes": sum(lost.boxes for lost in preview.gone),
        },
        "omitted": preview.omitted,
        "in_test": preview.in_test,
        "criteria": preview.criteria.version if preview.criteria else None,
        "sentences": sentences_of(preview),
        "token": preview.token,
    }


class ApplyRelabel(APIView):
    @extend_schema(request=ApplyRequest, responses={201: dict, 409: dict})
    def post(self, request: Request) -> Response:
        """Do what a preview says, as one act; sent twice, it is applied once. Films whose label has changed since are
        not labelled and are listed in `left_aside`. 409 if these are all films, or if the preview does not hold any
        more."""
        serializer = ApplyRequest(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            done = apply_relabel(token=serializer.validated_data["token"], author=person(request))
        except PreviewOutdated as outdated:
            return Response({"detail": str(outdated)}, status=status.HTTP_409_CONFLICT)
        except InvalidLabel as error:
            raise ValidationError({"detail": str(error)}) from error
        aside = Image.objects.filter(pk__in=done.left_aside).values_list("uuid", flat=True)
        response = {"act": str(done.act), "films": len(done.labelled), "left_aside": list(aside)}
        return Response(response, status=status.HTTP_201_CREATED if done.labelled else status.HTTP_409_CONFLICT)


class UndoLabels(APIView):
    @extend_schema(request=UndoRequest, responses={200: dict})
    def post(self, request: Request) -> Response:
        """Take back the labels of an act of your own, single or of many films: the former labels count again."""
        serializer = UndoRequest(data=request.data)
        serializer.is_valid(raise_exception=True)
        act, user = serializer.validated_data["act"], person(request)
        site = sites_of(user).filter(datasets__images__label_events__batch=act).first()
        if site is None:
            raise NotFound("No such act.")
        refuse_file(user, Image.objects.filter(label_events__batch=act), what="The act")
        try:
            undone = undo(act=act, author=user, site=site)
        except InvalidLabel as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response({"act": str(act), "films": undone})
