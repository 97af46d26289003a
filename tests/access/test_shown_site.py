"""The bar of every page about something names the site that it belongs to, whatever site the lists were of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from portal.models import Membership, Role, User
from tests.access import world as worlds
from tests.access.test_walk import Walk
from tests.access.url_table import URLS
from tests.portal import factories

pytestmark = pytest.mark.django_db
CHOSEN = re.compile(r'id="choose-site".*?<option value="([0-9a-f-]{36})" selected>', re.ASCII | re.DOTALL)
# a file that takes seconds; a search at a site; a person's first password; a new run; a chapter of the manual
OF_NO_SITE = {"analysis:report", "analysis:search", "invitation", "ml_engine:run-new", "portal:manual-page"}


def test_the_bar_names_the_site_of_what_a_page_shows(data_dir: Path) -> None:
    factories.restart_seeds()
    world = worlds.build()
    boss, elsewhere = User.objects.get(username="boss"), factories.site("Another hospital")
    Membership.objects.bulk_create(Membership(user=boss, site=elsewhere, role=role) for role in Role)
    walk = Walk(boss, world)
    session = walk.client.session
    session["site"] = str(elsewhere.uuid)
    session.save()
    wrong, checked = [], 0
    for name, url in URLS.items():
        is_about_something = url.method == "get" and (url.of or url.query(world)) and not name.startswith("api-")
        if name in OF_NO_SITE or not is_about_something:
            continue
        answer = walk.ask(name, url)
        if answer.status == 200 and (chosen := CHOSEN.search(answer.body)):
            checked += 1
            if chosen.group(1) != str(world.site.uuid):
                wrong.append(name)
    assert wrong == []
    assert checked > 40
