"""A link in mail is whole, whatever the thread that writes it knows of requests."""

from __future__ import annotations

from threading import Thread
from typing import Any

from django.urls import set_script_prefix

from portal.people.public_links import public_link
from tests.portal import factories


def test_a_link_has_host_and_prefix(settings: Any) -> None:
    uuid = factories.somewhere()
    assert public_link("portal:image", uuid) == ""
    settings.PUBLIC_ADDRESS, settings.URL_PREFIX = "https://ward.example.org", "/hilum"
    links = []

    def in_a_request() -> None:
        set_script_prefix("/hilum/")
        links.append(public_link("portal:image", uuid))

    def in_a_task() -> None:
        links.append(public_link("portal:image", uuid))

    for act in (in_a_request, in_a_task):
        thread = Thread(target=act)
        thread.start()
        thread.join()
    assert links == [f"https://ward.example.org/hilum/images/{uuid}/"] * 2
