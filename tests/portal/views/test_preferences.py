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


def test_a_manager_writes_criteria_and_everybody_reads_them_and_their_history(curator: Client, of: Dataset) -> None:
    boss = as_(factories.user("boss", Role.MANAGER))
    assert "A manager of the site can write them here" in one_line(curator.get("/criteria/"))
    assert "Save as version 1" in one_line(boss.get("/criteria/"))
    first = "No device.\r\n\r\nNo <script>alert(1)</script> scar."
    assert boss.post("/criteria/", {"text": first})["Location"] == "/criteria/"
    boss.post("/criteria/", {"text": "A device is normal.\r\n\r\nNo <script>alert(1)</script> scar."})
    page = one_line(curator.get("/criteria/"))
    assert "v2, in force since" in page
    assert "<p>A device is normal.</p> <p>No &lt;script&gt;alert(1)&lt;/script&gt; scar.</p>" in page
    assert "1 line added, 1 line removed" in page
    for word, line in (("removed", "No device."), ("added", "A device is normal.")):
        text = f'<span class="hilum-diff-word">{word}</span> <span class="hilum-diff-text">{line}</span>'
        assert f'<li class="is-{word}"> {text} </li>' in page
    assert "first version" in page
    assert "<textarea" not in page
    assert "Save as version 3" in one_line(boss.get("/criteria/"))


def test_invalid_criteria_are_refused_and_stay_in_the_form(curator: Client, of: Dataset) -> None:
    boss = as_(factories.user("boss", Role.MANAGER))
    factories.criteria("No device.")
    answer = boss.post("/criteria/", {"text": "No device.  "})
    assert (answer.status_code, "that of version 1" in one_line(answer)) == (400, True)
    long = boss.post("/criteria/", {"text": "y" * 10_001})
    assert (long.status_code, "10,001 characters" in one_line(long)) == (400, True)
    assert "y" * 10_001 in one_line(long)
    assert curator.post("/criteria/", {"text": "x"}).status_code == 403
    assert factories.site().normal_criteria.count() == 1


def test_a_change_of_spacing_alone_is_named_so(curator: Client, of: Dataset) -> None:
    factories.criteria("No device.\nNo scar.")
    factories.criteria("No device.\n\nNo scar.")
    assert "spacing only" in one_line(curator.get("/criteria/"))


def test_the_criteria_of_another_site_are_not_shown(stranger: Client, client: Client, of: Dataset) -> None:
    factories.criteria("Secret words.")
    assert "Secret words" not in one_line(stranger.get("/criteria/"))
    assert as_(factories.user("nobody")).get("/criteria/").status_code == 403
