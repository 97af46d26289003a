"""The pages of a person's keys and of the site's list of findings."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils.html import escape

from portal.models import Dataset, Role, Site, User
from tests.pages import one_line
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


def test_keys_are_kept_for_the_person(curator: Client, of: Dataset) -> None:
    assert curator.post("/keys/", {"normal": "j"})["Location"] == "/keys/"
    assert 'name="normal" value="j"' in one_line(curator.get("/keys/"))
    factories.film(of)
    assert 'data-value="normal" data-key="j"' in one_line(curator.get(f"/datasets/{of.uuid}/"))
    assert 'data-key="a"' in as_(factories.curator("other")).get(f"/datasets/{of.uuid}/").content.decode()
    curator.post("/keys/", {"reset": ""})
    assert User.objects.get(username="curator").label_keys == {}


@pytest.mark.parametrize("key", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "ab"])
def test_an_invalid_key_is_refused_and_shown_as_text(curator: Client, of: Dataset, key: str) -> None:
    answer = curator.post("/keys/", {"normal": key})
    page = one_line(answer)
    assert answer.status_code == 400
    assert "cannot be the key for Normal" in page
    assert f'name="normal" value="{escape(key)}"' in page
    assert User.objects.get(username="curator").label_keys == {}


def test_an_unknown_command_is_refused(curator: Client, of: Dataset) -> None:
    answer = curator.post("/keys/", {"launch": "l"})
    assert (answer.status_code, "There is no command" in answer.content.decode()) == (400, True)


def test_a_manager_edits_the_findings_and_others_read_them(curator: Client, of: Dataset) -> None:
    boss = as_(factories.user("boss", Role.MANAGER))
    boss.post("/findings/", {"findings": "pneumonia\r\n\r\n<b>effusion</b>\r\n"})
    assert Site.objects.get().findings == ["pneumonia", "<b>effusion</b>"]
    page = curator.get("/findings/").content.decode()
    assert "&lt;b&gt;effusion&lt;/b&gt;" in page
    assert "<textarea" not in page
    assert curator.post("/findings/", {"findings": "x"}).status_code == 403
    answer = boss.post("/findings/", {"findings": "a|b"})
    assert (answer.status_code, "contains " in answer.content.decode()) == (400, True)


def test_a_member_of_no_site_has_no_findings(client: Client) -> None:
    assert as_(factories.user("nobody")).get("/findings/").status_code == 403
