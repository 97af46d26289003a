"""Sites and their people by API: members with their roles, a new member, the link with which one chooses a password."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.models import Role, Site, User
from portal.people import members
from portal.people.access import get_visible, require, sites_of
from portal.people.members import InvalidPerson
from portal.people.signed_in import person


class SiteSerializer(serializers.ModelSerializer[Site]):
    class Meta:
        model = Site
        fields = ["uuid", "name"]


class MemberSerializer(serializers.Serializer[Any]):
    uuid = serializers.UUIDField()
    username = serializers.CharField()
    full_name = serializers.CharField(allow_blank=True)
    roles = serializers.ListField(child=serializers.ChoiceField(Role.choices))
    is_active = serializers.BooleanField(help_text="False: the account is closed.")
    has_password = serializers.BooleanField(help_text="False: the person has not chosen a password yet.")


class NewSiteRequest(serializers.Serializer[None]):
    name = serializers.CharField(max_length=100)


class RolesRequest(serializers.Serializer[None]):
    roles = serializers.ListField(
        child=serializers.CharField(max_length=20),
        max_length=len(Role),
        help_text=f"Of {', '.join(Role.values)}; without any the person is no member any more.",
    )


class NewMemberRequest(RolesRequest):
    username = serializers.CharField(max_length=150)
    full_name = serializers.CharField(max_length=300, default="", allow_blank=True)
    email = serializers.CharField(max_length=254, default="", allow_blank=True)


class NewMember(MemberSerializer):
    link = serializers.CharField(
        allow_null=True,
        help_text="With which the person chooses a password, once, within three days; null for one who had an account.",
    )


class PasswordLink(serializers.Serializer[None]):
    link = serializers.CharField(help_text="Works once, within three days. The old password works until then.")


class Sites(APIView):
    @extend_schema(responses=SiteSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The sites of which you are a member, by name."""
        return Response(SiteSerializer(sites_of(person(request)).order_by("name"), many=True).data)

    @extend_schema(request=NewSiteRequest, responses={201: SiteSerializer})
    def post(self, request: Request) -> Response:
        """Make a site, of which you are the manager. For administrators."""
        asked = _valid(NewSiteRequest(data=request.data))
        try:
            site = members.make_site(name=asked["name"], author=person(request))
        except InvalidPerson as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(SiteSerializer(site).data, status=status.HTTP_201_CREATED)


class SitePeople(APIView):
    @extend_schema(responses=MemberSerializer(many=True))
    def get(self, request: Request, uuid: UUID) -> Response:
        """The members of a site with their roles, by user name."""
        site = _site(request, uuid)
        rows = [_member(member, roles) for member, roles in members.roles_at(site).items()]
        return Response(MemberSerializer(rows, many=True).data)

    @extend_schema(request=NewMemberRequest, responses={201: NewMember})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Give roles to the person of this user name, who is made if there is none. For managers."""
        site = require(person(request), "manage people", _site(request, uuid))
        asked, link = _valid(NewMemberRequest(data=request.data)), None
        try:
            member, is_new = members.add_person(site=site, author=person(request), **asked)
        except InvalidPerson as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        if is_new:
            link = _link(request, member, site)
        made = {**_member(member, members.roles_at(site)[member]), "link": link}
        return Response(NewMember(made).data, status=status.HTTP_201_CREATED)


class RolesOfMember(APIView):
    @extend_schema(request=RolesRequest, responses=RolesRequest)
    def put(self, request: Request, uuid: UUID, username: str) -> Response:
        """Give a member exactly these roles. For managers; a site keeps at least one."""
        site = require(person(request), "manage people", _site(request, uuid))
        member, asked = _member_named(site, username), _valid(RolesRequest(data=request.data))
        try:
            members.set_roles(site=site, person=member, roles=asked["roles"], author=person(request))
        except InvalidPerson as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response({"roles": members.roles_at(site).get(member, [])})


class LinkForMember(APIView):
    @extend_schema(request=None, responses={201: PasswordLink})
    def post(self, request: Request, uuid: UUID, username: str) -> Response:
        """Make a link with which a member chooses a new password. For managers of all of the member's sites."""
        site = require(person(request), "manage people", _site(request, uuid))
        link = _link(request, _member_named(site, username), site)
        return Response({"link": link}, status=status.HTTP_201_CREATED)


def _site(request: Request, uuid: UUID) -> Site:
    return get_visible(Site.objects.all(), person(request), uuid)


def _member_named(site: Site, username: str) -> User:
    for member in members.roles_at(site):
        if member.username == username:
            return member
    raise NotFound(f"{site.name} has no member {username[:40]!r}.")


def _link(request: Request, member: User, site: Site) -> str:
    return request.build_absolute_uri(members.link_for(person=member, author=person(request), site=site))


def _member(member: User, roles: list[str]) -> dict[str, Any]:
    return {
        "uuid": member.uuid,
        "username": member.username,
        "full_name": member.get_full_name(),
        "roles": roles,
        "is_active": member.is_active,
        "has_password": member.has_usable_password(),
    }


def _valid(serializer: serializers.Serializer[None]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    data: dict[str, Any] = serializer.validated_data
    return dict(data)
