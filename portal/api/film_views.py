"""Saved views of a dataset's grid, by API."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.filters import asked_order, exact_filters
from portal.grid.saved_views import (
    InvalidView,
    change_view,
    delete_view,
    gone_sentence,
    open_with,
    save_view,
    view_of,
    views_for,
)
from portal.models import Dataset, FilmView, User
from portal.people.access import get_visible
from portal.people.signed_in import person


class FilmViewSerializer(serializers.Serializer[FilmView]):
    uuid = serializers.UUIDField()
    name = serializers.CharField()
    owner = serializers.CharField()
    shared = serializers.BooleanField(help_text="With the members of the site.")
    query = serializers.DictField(child=serializers.CharField(), help_text="Filters, as of the films of a dataset.")
    words = serializers.CharField()
    opens = serializers.BooleanField(help_text="The dataset opens with it for you.")
    gone = serializers.CharField(help_text="What it asks for that is no longer there; blank where all is.")


class SaveFilmView(serializers.Serializer[None]):
    name = serializers.CharField(max_length=60)
    query = serializers.DictField(child=serializers.CharField(max_length=100), default=dict)
    share = serializers.BooleanField(default=False)


class ChangeFilmView(serializers.Serializer[None]):
    name = serializers.CharField(max_length=60)
    share = serializers.BooleanField()


class ChooseFilmView(serializers.Serializer[None]):
    opens = serializers.BooleanField(default=True, help_text="false: the dataset opens with all films.")


class FilmViews(APIView):
    """Filters of a dataset's grid saved under a name: your own, and those shared with the site."""

    @extend_schema(responses=FilmViewSerializer(many=True))
    def get(self, request: Request, uuid: UUID) -> Response:
        dataset = get_visible(Dataset.objects.select_related("site"), person(request), uuid)
        return Response(_rows(person(request), views_for(person(request), dataset)))

    @extend_schema(request=SaveFilmView, responses={201: FilmViewSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Save a view; one of yours of this name is replaced. Sharing needs a curator or manager."""
        dataset = get_visible(Dataset.objects.select_related("site"), person(request), uuid)
        data = _valid(SaveFilmView(data=request.data))
        exact_filters(data["query"], dataset)
        asked_order(data["query"], person(request), dataset)
        try:
            view = save_view(
                dataset=dataset, name=data["name"], query=data["query"], author=person(request), share=data["share"]
            )
        except InvalidView as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(_row(person(request), view.uuid), status=status.HTTP_201_CREATED)


class ChangeView(APIView):
    @extend_schema(request=ChangeFilmView, responses=FilmViewSerializer)
    def post(self, request: Request, uuid: UUID) -> Response:
        """Rename a view, share it with the site, or take it back."""
        view, data = view_of(person(request), uuid), _valid(ChangeFilmView(data=request.data))
        try:
            change_view(view=view, author=person(request), name=data["name"], share=data["share"])
        except InvalidView as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(_rows(person(request), [view])[0])  # which a manager may not use any more once it is taken back


class DeleteView(APIView):
    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Delete a view. No film is changed."""
        delete_view(view=view_of(person(request), uuid), author=person(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class OpenWithView(APIView):
    @extend_schema(request=ChooseFilmView, responses=FilmViewSerializer)
    def post(self, request: Request, uuid: UUID) -> Response:
        """Let the dataset open with this view for you, or with all films again."""
        view, data = view_of(person(request), uuid), _valid(ChooseFilmView(data=request.data))
        open_with(dataset=view.dataset, view=view if data["opens"] else None, person=person(request))
        return Response(_row(person(request), uuid))


def _rows(user: User, views: Iterable[FilmView]) -> list[dict[str, Any]]:
    return [
        {
            "uuid": str(view.uuid),
            "name": view.name,
            "owner": view.owner.username,
            "shared": view.is_shared,
            "query": view.query,
            "words": view.words,
            "opens": view.opens,  # type: ignore[attr-defined]
            "gone": gone_sentence(view, user),
        }
        for view in views
    ]


def _row(user: User, uuid: UUID) -> dict[str, Any]:
    return _rows(user, [view_of(user, uuid)])[0]


def _valid(serializer: serializers.Serializer[None]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    data: dict[str, Any] = serializer.validated_data
    return dict(data)
