"""Uploads by API: how far an import is, and what the columns of a table mean where one waits for that."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.intake.column_questions import QuestionTable, answer, discard, open_question, require_answer
from portal.intake.csv_labels import InvalidCsv
from portal.intake.folder_imports import import_server_folder
from portal.intake.import_preview import MappingPreview
from portal.intake.mapping.meaning import FIELDS, MEANINGS, InvalidMapping, mapping_of_json
from portal.intake.remembered_mappings import made_words
from portal.intake.sources.choice import chosen_source
from portal.intake.sources.server_folders import InvalidFolder, listed_folders
from portal.intake.sources.source import InvalidSource
from portal.intake.zip_uploads import InvalidUpload
from portal.models import Dataset, Upload
from portal.people.access import get_visible, require
from portal.people.signed_in import person


class UploadSerializer(serializers.ModelSerializer[Upload]):
    class Meta:
        model = Upload
        fields = [
            "uuid",
            "created_at",
            "state",
            "done",
            "total",
            "counts",
            "message",
            "finished_at",
            "patients",
            "source",
        ]


class MappingRequest(serializers.Serializer[None]):
    """`tables`: by the name of each table its `kind` (labels, boxes, aside), `columns` (field -> column), `keep` (other
    columns -> number or category, which only a manager may add), `labels` (value -> normal, abnormal, unsure, exclude,
    or an empty text) and `other_values`."""

    tables = serializers.DictField(child=serializers.JSONField())
    patients = serializers.CharField(
        default="", allow_blank=True, help_text="table or header: what counts where they name two patients."
    )
    preview = serializers.BooleanField(default=False, help_text="Count what the mapping means, and change nothing.")


class _NotWaiting(APIException):
    status_code = status.HTTP_409_CONFLICT


class FolderRequest(serializers.Serializer[None]):
    folder = serializers.CharField(help_text="The name of a folder in the import folder of the server.")
    source = serializers.CharField(  # type: ignore[assignment]
        help_text="padchest, nih, chexpert, mimic, rsna or vindr."
    )
    views = serializers.CharField(
        default="", allow_blank=True, help_text="pa, frontal or all; by default the usual of the dataset."
    )
    children = serializers.BooleanField(default=False, help_text="Also take the films of people under 18.")


class FolderImports(APIView):
    """Published datasets that lie on the server."""

    @extend_schema(responses={200: dict})
    def get(self, request: Request, uuid: UUID) -> Response:
        """The folders that can be imported."""
        self._dataset(request, uuid)
        return Response({"folders": listed_folders()})

    @extend_schema(request=FolderRequest, responses={202: UploadSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Import a folder in the background. The answer has the UUID by which `/api/v1/imports/` says how far it is."""
        dataset = self._dataset(request, uuid)
        serializer = FolderRequest(data=request.data)
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        try:
            of_source = chosen_source(data)
            upload = import_server_folder(
                dataset=dataset, folder=data["folder"], of_source=of_source, author=person(request)
            )
        except (InvalidFolder, InvalidSource) as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(UploadSerializer(upload).data, status=status.HTTP_202_ACCEPTED)

    def _dataset(self, request: Request, uuid: UUID) -> Dataset:
        dataset = get_visible(Dataset.objects.select_related("site"), person(request), uuid)
        require(person(request), "import films", dataset.site)
        return dataset


class UploadState(APIView):
    @extend_schema(responses={200: UploadSerializer})
    def get(self, request: Request, uuid: UUID) -> Response:
        """How far the import is. In the state `mapping` it waits for its mapping."""
        return Response(UploadSerializer(_upload(request, uuid)).data)


class UploadMapping(APIView):
    @extend_schema(responses={200: dict, 409: dict})
    def get(self, request: Request, uuid: UUID) -> Response:
        """The tables of an upload that waits: columns, first rows, values of the column that may be the label with
        their number of rows, and a draft of the mapping. 409 if it does not wait."""
        upload = _upload(request, uuid)
        require_answer(upload, person(request))
        try:
            with open_question(upload) as question:
                return Response({"message": upload.message, "tables": [_table(table) for table in question.tables]})
        except (InvalidUpload, InvalidCsv) as error:
            raise _NotWaiting(str(error)) from error

    @extend_schema(request=MappingRequest, responses={200: dict, 202: dict, 409: dict})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Import with this mapping, which the site remembers. The answer counts what it means; with `preview` nothing
        else is done. 409 if the upload does not wait."""
        serializer = MappingRequest(data=request.data)
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        upload, author = _upload(request, uuid), person(request)
        require_answer(upload, author)
        try:
            mappings = {name: mapping_of_json(table, name) for name, table in data["tables"].items()}
            if data["preview"]:
                with open_question(upload) as question:
                    return Response(_counts(question.preview(mappings)))
            patients = data["patients"] or upload.patients
            counts = answer(upload=upload, mappings=mappings, patients=patients, author=author)
        except InvalidMapping as error:
            raise ValidationError({"detail": str(error)}) from error
        except (InvalidUpload, InvalidCsv) as error:
            raise _NotWaiting(str(error)) from error
        return Response(_counts(counts), status=status.HTTP_202_ACCEPTED)


class DiscardUpload(APIView):
    @extend_schema(request=None, responses={200: UploadSerializer, 409: dict})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Delete the file of an upload that waits for its mapping. 409 if it does not wait."""
        upload = _upload(request, uuid)
        require(person(request), "import films", upload.dataset.site)
        try:
            discard(upload=upload, author=person(request))
        except InvalidUpload as error:
            raise _NotWaiting(str(error)) from error
        return Response(UploadSerializer(upload).data)


def _upload(request: Request, uuid: UUID) -> Upload:
    return get_visible(Upload.objects.select_related("dataset__site", "uploaded_by"), person(request), uuid)


def _table(table: QuestionTable) -> dict[str, Any]:
    draft, facts = table.draft, table.facts
    values = facts.values_of(draft.columns["label"]) if "label" in draft.columns else None
    return {
        "name": table.key,
        "rows": facts.rows,
        "columns": facts.columns,
        "first_rows": facts.first_rows,
        "fields": FIELDS[draft.kind],
        "meanings": MEANINGS,
        "label_values": values.counts if values else {},
        "draft": {**draft.to_json(), "labels": dict(draft.labels)},
        "draft_is": f"as {made_words(table.remembered)}" if table.remembered else "guessed",
    }


def _counts(counts: MappingPreview) -> dict[str, Any]:
    return {**vars(counts), "matches_nothing": counts.matches_nothing}
