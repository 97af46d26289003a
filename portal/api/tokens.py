"""A person's API tokens by API: list, make (signed in by a browser's session only), revoke."""

from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.models import ApiToken
from portal.people.signed_in import person
from portal.people.tokens import DAYS, InvalidToken, make_token, revoke_token


class ApiTokenSerializer(serializers.ModelSerializer[ApiToken]):
    class Meta:
        model = ApiToken
        fields = ["uuid", "name", "scope", "start", "created_at", "expires_at", "last_used_at", "revoked_at"]


class NewTokenRequest(serializers.Serializer[None]):
    name = serializers.CharField(max_length=60)
    scope = serializers.ChoiceField(ApiToken.Scope.choices)
    days = serializers.ChoiceField(DAYS)


class NewToken(ApiTokenSerializer):
    token = serializers.CharField(help_text="Shown only now.")

    class Meta(ApiTokenSerializer.Meta):
        fields = [*ApiTokenSerializer.Meta.fields, "token"]


class OwnTokens(APIView):
    @extend_schema(responses=ApiTokenSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Your tokens, the newest first, with those that have ended."""
        rows = ApiToken.objects.filter(owner=person(request)).order_by("-pk")
        return Response(ApiTokenSerializer(rows, many=True).data)

    @extend_schema(request=NewTokenRequest, responses={201: NewToken})
    def post(self, request: Request) -> Response:
        """Make a token, signed in by a browser's session: a token makes no others, or it would never end."""
        if isinstance(request.auth, ApiToken):
            raise PermissionDenied("A token makes no tokens. Make one in Hilum, under your name, API tokens.")
        asked: Any = NewTokenRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            token, secret = make_token(owner=person(request), **asked.validated_data)
        except InvalidToken as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        made = {**ApiTokenSerializer(token).data, "token": secret}
        return Response(made, status=status.HTTP_201_CREATED)


class RevokeToken(APIView):
    @extend_schema(request=None, responses=ApiTokenSerializer)
    def post(self, request: Request, uuid: UUID) -> Response:
        """Revoke a token of yours: it is refused from now on."""
        token = get_object_or_404(ApiToken, uuid=uuid, owner=person(request))
        revoke_token(token=token)
        token.refresh_from_db()
        return Response(ApiTokenSerializer(token).data)
