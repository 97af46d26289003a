"""Resumable uploads by the tus protocol 1.0 (tus.io): core, creation, expiration, termination, checksum.

The pages send films through these two addresses, and so can a script, with any tus client. Two departures. The names in
Upload-Metadata are not kept and so not answered by HEAD, since names of files may be names of patients. And an upload
that is not what it has to be is answered with 422 and a sentence when its last byte arrives.
"""

import base64
import binascii
from collections.abc import Mapping
from io import BytesIO
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.http import http_date
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.intake import resumable
from portal.intake.resumable import CONTENT
from portal.intake.sources.choice import chosen_source
from portal.intake.sources.source import InvalidSource
from portal.intake.zip_uploads import InvalidUpload
from portal.models import Dataset, PartialUpload, Upload
from portal.people.access import get_visible, require
from portal.people.signed_in import person

VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,termination,checksum"
CHECKSUM_MISMATCH = 460  # of the protocol
_OVERRIDING = frozenset({"PATCH", "DELETE", "HEAD"})


class Refused(APIException):
    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status_code = code


class TusView(APIView):
    """What the protocol asks of every request and answer."""

    own_refusals: ClassVar = {"412": f"The header Tus-Resumable is not {VERSION}."}

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        override = request.headers.get("X-HTTP-Method-Override", "").upper()
        if request.method == "POST" and override in _OVERRIDING:
            request.method = override
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.fetch(request, kwargs["uuid"])
        version = request.headers.get("Tus-Resumable", "none")
        if request.method not in ("OPTIONS", "GET") and version != VERSION:
            raise Refused(412, f"The header Tus-Resumable is {version}; this server speaks version {VERSION} of tus.")

    def fetch(self, request: Request, uuid: UUID) -> None:
        """Fetch what the address names. Raises Http404 and PermissionDenied."""
        raise NotImplementedError

    def handle_exception(self, exc: Exception) -> Response:
        return super().handle_exception(_in_terms_of_http(exc))

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response["Tus-Resumable"] = VERSION
        if response.status_code == status.HTTP_412_PRECONDITION_FAILED:
            response["Tus-Version"] = VERSION
        return super().finalize_response(request, response, *args, **kwargs)

    @extend_schema(exclude=True)
    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        headers = {
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(settings.UPLOAD_LIMIT_BYTES),
            "Tus-Checksum-Algorithm": ",".join(resumable.CHECKSUMS),
        }
        return Response(status=status.HTTP_204_NO_CONTENT, headers=headers)


def _in_terms_of_http(error: Exception) -> Exception:
    match error:
        case resumable.WrongOffset():
            return Refused(409, str(error))
        case resumable.UploadGone():
            return Refused(410, "The upload is not there any more: it was discarded, or nothing was sent for too long.")
        case resumable.OverQuota():
            return Refused(507, str(error))
        case resumable.TooLarge():
            return Refused(413, str(error))
        case resumable.UploadBusy():
            return Refused(423, "Another request is writing this upload; try again.")
        case resumable.WrongChecksum():
            return Refused(CHECKSUM_MISMATCH, "The checksum is not that of the bytes that arrived; send them again.")
        case resumable.NoSpace():
            return Refused(507, str(error))
        case InvalidUpload() | InvalidSource():
            return Refused(400, str(error))
    return error


class ImportState(serializers.ModelSerializer[Upload]):
    class Meta:
        model = Upload
        fields = ["uuid", "state", "done", "total", "message"]


class PartialState(serializers.Serializer[PartialUpload]):
    offset = serializers.IntegerField()
    length = serializers.IntegerField(source="bytes_total")
    upload = ImportState(allow_null=True, help_text="The import, once everything has arrived.")


class NewPartialUpload(TusView):
    dataset: Dataset

    def fetch(self, request: Request, uuid: UUID) -> None:
        self.dataset = get_visible(Dataset.objects.select_related("site"), person(request), uuid)
        require(person(request), "import films", self.dataset.site)

    @extend_schema(request=None, responses={201: None})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Announce a file for the dataset: a zip of films, or a table. Upload-Length is its size; of Upload-Metadata,
        `filename` says whether it is a table (.csv, .tsv, .xlsx), `patients` (table, header) what counts where table
        and header name two patients, and `check_columns` (yes) that the table waits until somebody has said what its
        columns mean. `source` (padchest, nih, chexpert, mimic, rsna, vindr) says that the zip is of that published
        dataset, with its tables; of these `views` (pa, frontal, all) and `children` (yes) say what to take. Location is
        where to send it."""
        metadata = _metadata(request.headers.get("Upload-Metadata", ""))
        announced = resumable.Announced(
            bytes_total=_whole_number(request, "Upload-Length"),
            ending=resumable.ending_of(metadata.get("filename", "")),
            files=_count(metadata),
            is_folder=metadata.get("folder") == "yes",
            fingerprint=metadata.get("fingerprint", "")[:64],
            patients=metadata.get("patients", Upload.Patients.TABLE),
            check_columns=metadata.get("check_columns") == "yes",
            of_source=chosen_source(metadata),
        )
        partial = resumable.begin(dataset=self.dataset, author=person(request), announced=announced)
        address = request.build_absolute_uri(
            reverse("api-partial-upload", args=[partial.uuid])
        )  # aiotus needs the host
        headers = {"Location": address, **_headers(partial)}
        return Response(status=status.HTTP_201_CREATED, headers=headers)


class OnePartialUpload(TusView):
    """An upload, for the person who sends it; to everybody else it is not there."""

    own_refusals: ClassVar = TusView.own_refusals | {
        "409": "Upload-Offset is not how much has arrived.",
        "410": "The upload was discarded, or nothing was sent for too long.",
        "422": "Everything has arrived, and it is not what an import takes.",
        "423": "Another request is writing the upload.",
        str(CHECKSUM_MISMATCH): "Upload-Checksum is not that of the bytes that arrived.",
    }
    partial: PartialUpload

    def fetch(self, request: Request, uuid: UUID) -> None:
        own = PartialUpload.objects.filter(author=person(request)).select_related("upload", "author", "dataset__site")
        self.partial = get_visible(own, person(request), uuid)

    @extend_schema(exclude=True)
    def head(self, request: Request, uuid: UUID) -> Response:
        partial = self.partial
        return Response(headers={"Upload-Length": str(partial.bytes_total), **_headers(partial)})

    @extend_schema(responses=PartialState)
    def get(self, request: Request, uuid: UUID) -> Response:
        """How much has arrived, and the state of the import once everything has."""
        partial = self.partial
        partial.offset = resumable.offset_of(partial)  # type: ignore[attr-defined]
        return Response(PartialState(partial).data)

    @extend_schema(request={CONTENT: OpenApiTypes.BINARY}, responses={204: None})
    def patch(self, request: Request, uuid: UUID) -> Response:
        """Append the body at Upload-Offset. The import is queued when everything has arrived."""
        partial = self.partial
        require(person(request), "import films", partial.dataset.site)
        if request.content_type != CONTENT:
            raise Refused(415, f"The Content-Type is {request.content_type or 'missing'}; it has to be {CONTENT}.")
        offset = resumable.receive(
            partial,
            request.stream or BytesIO(),  # there is no stream without a body
            offset=_whole_number(request, "Upload-Offset"),
            length=int(request.META.get("CONTENT_LENGTH") or 0),
            checksum=_checksum(request.headers.get("Upload-Checksum", "")),
        )
        if offset == partial.bytes_total and partial.upload is None:
            upload = resumable.finish(partial)
            if upload.state == Upload.State.FAILED:
                raise Refused(422, upload.message)
        return Response(status=status.HTTP_204_NO_CONTENT, headers=_headers(partial))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uuid: UUID) -> Response:
        """Discard what has arrived. An import that is queued goes on."""
        resumable.discard(self.partial)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _headers(partial: PartialUpload) -> dict[str, str]:
    headers = {"Upload-Offset": str(resumable.offset_of(partial))}
    if partial.upload_id is None:
        headers["Upload-Expires"] = http_date(resumable.expires_at(partial).timestamp())
    else:
        headers["Hilum-Import"] = str(partial.uuid)
    return headers


def _whole_number(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Refused(400, f"The header {header} is {text[:40] or 'missing'}; it has to be a number of bytes.")
    return int(text)


def _metadata(text: str) -> dict[str, str]:
    """Upload-Metadata: keys and base64 values, "key value,key value". A key without a value is allowed."""
    metadata: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else []:
        key, _, value = pair.strip().partition(" ")
        if not key or key in metadata:
            raise Refused(400, "Upload-Metadata has an empty key, or a key twice.")
        try:
            metadata[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError):
            raise Refused(400, f"The value of {key[:40]} in Upload-Metadata is not base64 of UTF-8.") from None
    return metadata


def _count(metadata: Mapping[str, str]) -> int | None:
    text = metadata.get("files", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _checksum(text: str) -> str:
    """Upload-Checksum, with its digest in hexadecimal; empty without one."""
    if not text:
        return ""
    algorithm, _, digest = text.partition(" ")
    if algorithm not in resumable.CHECKSUMS:
        known = " and ".join(resumable.CHECKSUMS)
        raise Refused(400, f"The algorithm of Upload-Checksum is {algorithm[:40]}; {known} are known.")
    try:
        return f"{algorithm} {base64.b64decode(digest, validate=True).hex()}"
    except (binascii.Error, ValueError):
        raise Refused(400, "The digest of Upload-Checksum is not base64.") from None
