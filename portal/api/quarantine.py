"""Quarantine by API: the files and their reasons, the bytes, trying files again, deleting them."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.pagination import Pages
from portal.api.uploads import UploadSerializer
from portal.imaging.errors import REASONS
from portal.intake import quarantine
from portal.intake.import_plans import ImportPlan, PlanKind
from portal.intake.planned_imports import begin_planned
from portal.intake.quarantine import NotInQuarantine, QuarantineRow
from portal.models import Dataset, QuarantinedFile
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, require
from portal.people.signed_in import person
from portal.views.quarantine import sent_as_is

MOST_CHOSEN = 10_000


class QuarantineSerializer(serializers.Serializer[QuarantineRow]):
    uuid = serializers.UUIDField(source="file.uuid")
    created_at = serializers.DateTimeField(source="file.created_at")
    import_ = serializers.UUIDField(source="file.upload.uuid")
    name = serializers.CharField(
        help_text="What a table called the file, or the shape of that while you read films of the site blinded."
    )
    sha256 = serializers.CharField(source="file.source_sha256")
    reason = serializers.CharField(source="file.reason", help_text=f"One of {', '.join(sorted(REASONS))}.")
    sentence = serializers.CharField(source="file.sentence")
    bytes = serializers.IntegerField(source="file.bytes_kept", help_text="0: not kept.")
    kept_until = serializers.DateTimeField(allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        return {name.rstrip("_"): field for name, field in super().get_fields().items()}


class AgainRequest(serializers.Serializer[None]):
    files = serializers.ListField(
        child=serializers.UUIDField(), required=False, max_length=MOST_CHOSEN, help_text="All that are kept, without."
    )


class DeleteRequest(serializers.Serializer[None]):
    files = serializers.ListField(child=serializers.UUIDField(), min_length=1, max_length=MOST_CHOSEN)
    reason = serializers.CharField(max_length=500, help_text="Why they are deleted; the audit keeps it.")


class DeletedFiles(serializers.Serializer[None]):
    deleted = serializers.IntegerField()


@extend_schema_view(
    get=extend_schema(
        parameters=[OpenApiParameter("import", OpenApiTypes.UUID), OpenApiParameter("reason", OpenApiTypes.STR)]
    )
)
@accepts_query("import", "reason")
class Quarantine(generics.ListAPIView[Any]):  # rows of the files, for a page at a time
    """The files of a dataset that did not become films, and why."""

    serializer_class = QuarantineSerializer
    pagination_class = Pages
    queryset = QuarantinedFile.objects.none()

    def get_queryset(self) -> QuerySet[QuarantinedFile]:
        self.dataset = get_visible(Dataset.objects.select_related("site"), person(self.request), self.kwargs["uuid"])
        files = self.dataset.quarantined.select_related("upload", "dataset")
        if reason := self.request.query_params.get("reason"):
            if reason not in REASONS:
                raise ValidationError(
                    {"reason": [f"The reason is {reason[:40]!r}; choose one of {', '.join(sorted(REASONS))}."]}
                )
            files = files.filter(reason=reason)
        if wanted := self.request.query_params.get("import"):
            try:
                files = files.filter(upload__uuid=UUID(wanted))
            except ValueError:
                raise ValidationError({"import": [f"The import is {wanted[:40]!r}; it has to be a UUID."]}) from None
        return files

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset) or []
        return quarantine.rows_of(page, person(self.request), self.dataset.site)


class QuarantinedBytes(APIView):
    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, uuid: UUID) -> StreamingHttpResponse:
        """The file as it was sent, with all identifiers. For curators and managers; the audit records it."""
        files = QuarantinedFile.objects.select_related("dataset__site", "upload")
        file = get_visible(files, person(request), uuid)
        try:
            return sent_as_is(file, quarantine.open_kept(file, person(request)))
        except NotInQuarantine as error:
            raise NotFound(str(error)) from error


class TryAgain(APIView):
    @extend_schema(request=AgainRequest, responses={202: UploadSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Import files of quarantine again, for example after an update of Hilum. The answer is the import."""
        dataset = get_visible(Dataset.objects.select_related("site"), person(request), uuid)
        require(person(request), "import films", dataset.site)
        asked = AgainRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        files = quarantine.kept_in(dataset)
        if "files" in asked.validated_data:
            files = files.filter(uuid__in=asked.validated_data["files"])
        items = [str(uuid) for uuid in files.values_list("uuid", flat=True)]
        if not items:
            raise ValidationError({"files": ["None of these files is in quarantine and kept; import them again."]})
        plan = ImportPlan(PlanKind.QUARANTINE, items)
        upload = begin_planned(dataset=dataset, plan=plan, verb="try quarantined files again", author=person(request))
        return Response(UploadSerializer(upload).data, status=status.HTTP_202_ACCEPTED)


class DeleteFiles(APIView):
    @extend_schema(request=DeleteRequest, responses=DeletedFiles)
    def post(self, request: Request, uuid: UUID) -> Response:
        """Delete files of quarantine for good, with a reason that the audit keeps."""
        dataset = get_visible(Dataset.objects.select_related("site"), person(request), uuid)
        require(person(request), "import films", dataset.site)
        asked = DeleteRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        files = dataset.quarantined.filter(uuid__in=asked.validated_data["files"])
        reason = asked.validated_data["reason"]
        try:
            deleted = quarantine.delete_files(files, dataset=dataset, reason=reason, author=person(request))
        except NotInQuarantine as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response({"deleted": deleted})
