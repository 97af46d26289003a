"""The documentation, for everybody who is logged in."""

from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import render
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_GET

from portal.people.signed_in import SignedInRequest
from portal.views import manual_pages


@require_GET
def contents(request: SignedInRequest) -> HttpResponse:
    return render(request, "portal/manual.html", {"chapters": manual_pages.chapters()})


@require_GET
def page(request: SignedInRequest, name: str) -> HttpResponse:
    try:
        html = manual_pages.as_html(name)
    except KeyError:
        raise Http404("There is no such page.") from None
    context = {"title": manual_pages.titles()[name], "html": mark_safe(html)}  # noqa: S308 — of the project, without its HTML
    return render(request, "portal/manual_page.html", context)


@require_GET
def image(request: SignedInRequest, name: str) -> FileResponse:
    path = manual_pages.folder() / "images" / name
    if path.suffix != ".png" or not path.is_file() or path.parent.name != "images":
        raise Http404("There is no such picture.")
    return FileResponse(path.open("rb"), content_type="image/png")
