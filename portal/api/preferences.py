"""Preferences by API: a site's findings and criteria of normal, a person's keys and mail."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.serializers import CriteriaSerializer
from portal.labels import findings
from portal.labels.criteria import InvalidCriteria, write_criteria
from portal.labels.findings import InvalidFindings, set_findings
from portal.labels.keys import InvalidKeys, choose_keys, commands_of
from portal.models import Site, User
from portal.people.access import get_visible
from portal.people.mail_choice import InvalidAddress, choose_mail
from portal.people.signed_in import person


class FindingsSerializer(serializers.Serializer[None]):
    findings = serializers.ListField(
        child=serializers.CharField(max_length=10 * findings.LONGEST),
        max_length=10 * findings.MOST,
        help_text="In the order of the list: the first nine have a number key. An empty list allows any finding.",
    )


class NewCriteria(serializers.Serializer[None]):
    text = serializers.CharField(max_length=100_000, trim_whitespace=False)


class MailChoice(serializers.Serializer[None]):
    email = serializers.CharField(max_length=254, allow_blank=True)
    mail_at_run_end = serializers.BooleanField()


class KeysSerializer(serializers.Serializer[None]):
    keys = serializers.DictField(
        child=serializers.CharField(max_length=20, allow_blank=True),
        help_text="Command -> key; a command that is missing gets its own key back.",
    )


class SiteFindings(APIView):
    @extend_schema(responses=FindingsSerializer)
    def get(self, request: Request, uuid: UUID) -> Response:
        """The findings from which people of the site choose."""
        return Response({"findings": _site(request, uuid).findings})

    @extend_schema(request=FindingsSerializer, responses=FindingsSerializer)
    def put(self, request: Request, uuid: UUID) -> Response:
        """Replace the list. Labels keep the findings that they have. For managers."""
        asked = _valid(FindingsSerializer(data=request.data))
        try:
            names = set_findings(site=_site(request, uuid), findings=asked["findings"], author=person(request))
        except InvalidFindings as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response({"findings": names})


class SiteCriteria(APIView):
    @extend_schema(request=NewCriteria, responses={201: CriteriaSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Write the next version of what the site calls a normal film. For managers."""
        asked = _valid(NewCriteria(data=request.data))
        try:
            written = write_criteria(site=_site(request, uuid), text=asked["text"], author=person(request))
        except InvalidCriteria as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(CriteriaSerializer(written).data, status=status.HTTP_201_CREATED)


class OwnMail(APIView):
    @extend_schema(responses=MailChoice)
    def get(self, request: Request) -> Response:
        """Whether you get mail at the end of your runs, and where."""
        return Response(_mail_of(person(request)))

    @extend_schema(request=MailChoice, responses=MailChoice)
    def put(self, request: Request) -> Response:
        """Choose it."""
        asked = _valid(MailChoice(data=request.data))
        try:
            choose_mail(person=person(request), email=asked["email"], at_run_end=asked["mail_at_run_end"])
        except InvalidAddress as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(_mail_of(person(request)))


class OwnKeys(APIView):
    @extend_schema(responses=KeysSerializer)
    def get(self, request: Request) -> Response:
        """Your keys for labelling."""
        return Response(_keys_of(person(request)))

    @extend_schema(request=KeysSerializer, responses=KeysSerializer)
    def put(self, request: Request) -> Response:
        """Choose them."""
        asked = _valid(KeysSerializer(data=request.data))
        try:
            choose_keys(person=person(request), keys=asked["keys"])
        except InvalidKeys as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(_keys_of(person(request)))


def _mail_of(user: User) -> dict[str, Any]:
    return {"email": user.email, "mail_at_run_end": user.mail_at_run_end}


def _keys_of(user: User) -> dict[str, Any]:
    return {"keys": {command.name: command.key for command in commands_of(user)}}


def _site(request: Request, uuid: UUID) -> Site:
    return get_visible(Site.objects.all(), person(request), uuid)


def _valid(serializer: serializers.Serializer[None]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    data: dict[str, Any] = serializer.validated_data
    return dict(data)
