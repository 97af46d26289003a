"""Tags by API: the lists of the sites, tagging films, undo, and what managers do with a tag."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.relabel import films_of_dataset, films_of_list
from portal.grid.tagging import Tagged, add_tag, remove_tag, undo_tagging
from portal.grid.tags import InvalidTag, delete_tag, merge_tags, rename_tag, tag_of, tags_of
from portal.people import blinding
from portal.people.access import sites_of
from portal.people.signed_in import person

MOST_FILMS = 5000


class TagSerializer(serializers.Serializer[None]):
    uuid = serializers.UUIDField()
    name = serializers.CharField()
    site = serializers.UUIDField()
    films = serializers.IntegerField(help_text="Without films that you have yet to read blinded.")


class TagFilmsRequest(serializers.Serializer[None]):
    """`images`, or `dataset` with the `filters` of its page."""

    tag = serializers.CharField(
        max_length=100, help_text="Letters, spaces, hyphens and at most 4 digits; 1 to 30 in all."
    )
    remove = serializers.BooleanField(default=False, help_text="Take it off.")
    images = serializers.ListField(child=serializers.UUIDField(), required=False, min_length=1, max_length=MOST_FILMS)
    dataset = serializers.UUIDField(required=False, help_text="All its films that match `filters`.")
    filters = serializers.DictField(child=serializers.CharField(max_length=100), required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("images" in attrs) == ("dataset" in attrs):
            raise ValidationError("Send either `images` or `dataset`.")
        if "filters" in attrs and "dataset" not in attrs:
            raise ValidationError("`filters` belong to a `dataset`.")
        return attrs


class UndoTagRequest(serializers.Serializer[None]):
    act = serializers.UUIDField()


class RenameTagRequest(serializers.Serializer[None]):
    name = serializers.CharField(max_length=100)


class MergeTagRequest(serializers.Serializer[None]):
    into = serializers.UUIDField()


class Tags(APIView):
    @extend_schema(responses=TagSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The tags of your sites, with their numbers of films."""
        withheld = blinding.withheld_patients(person(request))
        rows = [
            {"uuid": str(count.tag.uuid), "name": count.tag.name, "site": str(site.uuid), "films": count.films}
            for site in sites_of(person(request)).order_by("name")
            for count in tags_of(site, without=withheld)
        ]
        return Response(rows)


class TagFilms(APIView):
    @extend_schema(request=TagFilmsRequest, responses={201: dict})
    def post(self, request: Request) -> Response:
        """Put a tag on films, or take it off, as one act. Films that you have yet to read blinded are left out, which
        `omitted` says. `same` are films that were so already."""
        data, user = _valid(TagFilmsRequest(data=request.data)), person(request)
        images, among, site = films_of_dataset(data, user) if "dataset" in data else films_of_list(data, user)
        change = remove_tag if data["remove"] else add_tag
        try:
            done = change(
                images=images, among=images if among is None else among, name=data["tag"], author=user, site=site
            )
        except InvalidTag as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(_act(done), status=status.HTTP_201_CREATED)


class UndoTagging(APIView):
    @extend_schema(request=UndoTagRequest, responses={200: dict})
    def post(self, request: Request) -> Response:
        """Undo an act of your own, on the films that are still as it left them."""
        try:
            done = undo_tagging(act=_valid(UndoTagRequest(data=request.data))["act"], author=person(request))
        except InvalidTag as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(_act(done))


class RenameTag(APIView):
    @extend_schema(request=RenameTagRequest, responses={200: dict})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Rename a tag, on its films and in saved views."""
        tag, data = tag_of(person(request), uuid), _valid(RenameTagRequest(data=request.data))
        try:
            rename_tag(tag=tag, name=data["name"], author=person(request))
        except InvalidTag as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response({"name": tag.name})


class MergeTag(APIView):
    @extend_schema(request=MergeTagRequest, responses={200: dict})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Merge a tag into another one of the site. `films` got the other one by it."""
        tag, data = tag_of(person(request), uuid), _valid(MergeTagRequest(data=request.data))
        try:
            films = merge_tags(tag=tag, into=tag_of(person(request), data["into"]), author=person(request))
        except InvalidTag as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response({"films": films})


class DeleteTag(APIView):
    @extend_schema(request=None, responses={200: dict})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Take a tag off all films for good."""
        return Response({"films": delete_tag(tag=tag_of(person(request), uuid), author=person(request))})


def _act(done: Tagged) -> dict[str, Any]:
    return {
        "act": str(done.act) if done.act else None,
        "tag": done.tag,
        "adds": done.adds,
        "films": done.films,
        "same": done.same,
        "omitted": done.omitted,
    }


def _valid(serializer: serializers.Serializer[None]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    data: dict[str, Any] = serializer.validated_data
    return dict(data)
