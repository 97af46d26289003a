"""Unfinished uploads on the page of their dataset. They are sent by portal/api/resumable.py."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from portal.intake.resumable import discard
from portal.models import PartialUpload
from portal.people.access import get_visible
from portal.people.signed_in import SignedInRequest


@require_POST
def discard_upload(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    own = PartialUpload.objects.filter(author=request.user).select_related("dataset")
    partial = get_visible(own, request.user, uuid)
    discard(partial)
    return redirect("portal:dataset", partial.dataset.uuid)
