"""Every URL of the project against `url_table`: as each role, from another site, and as a person who reads films
blinded."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from analysis.models import TestLook
from portal.models import AuditEvent, DownloadCount, Exposure, Image, Role, User
from portal.people import downloads
from portal.people.access import ALLOWED
from portal.people.blinding import open_for
from portal.project.download_audit import is_file
from tests.access import world as worlds
from tests.access.url_table import ADMINISTRATOR, ALSO, ANYONE, OWN, SIGNED_IN, URLS, Blind, Look, Url
from tests.access.world import World
from tests.portal import factories
from tests.portal.test_strangers import all_addresses

pytestmark = pytest.mark.django_db

MONITOR = "readyz"  # answers 503 here, since no worker runs; tests/portal/project/test_readiness.py asks it
METHODS = ("get", "post", "put", "patch", "delete")
SLOW = {"analysis:report", "api-report"}  # seconds each: of the roles that may, one asks
SAY_NO_LABEL = {  # of films that they name
    *("portal:image", "api-adjudications", "portal:duplicate", "api-film-pairs"),
    *("analysis:search", "api-search"),
    "api-embedding-map",  # places, and no more
    "ml_engine:film-text",
}
NAME_NONE = {
    *("analysis:erase-patient", "api-erase-patient"),  # numbers of what is erased
    *("portal:quarantined-file", "portal:quarantined-preview", "api-quarantined-file"),  # never were films
    *("analysis:evaluate-set", "analysis:changed-films"),  # numbers of films; no film changes sides here
    *("analysis:figure-csv", "api-figure-csv"),  # refused even where the film is no corner of the curve
    "analysis:adjudications",  # gives films that are not settled neutral names
    "portal:duplicates",  # links to pairs, not to films
    "analysis:embedding-map",  # its points come by another address
    *("ml_engine:burned-in", "api-burned-in"),  # list suspected films, of which there are none here
    *("analysis:head-curve", "analysis:head-curve-table"),  # counts of verdicts, which name no film
    # leave out films whose scores are hidden from their reader, and give neutral names
    *("analysis:worklist-end", "api-worklist-end"),
    "portal:tags",  # numbers of films
    *("portal:cohorts", "portal:queues", "portal:queue"),  # say that films are left out of their numbers
    *("analysis:item-overlay", "analysis:revealed-overlay", "analysis:revealed-maps"),  # the film is in the address
    *("portal:mapping", "api-import-mapping"),  # refused whatever the table of another person names
    *("ml_engine:board", "ml_engine:board-film", "api-board"),  # name films by their position
    *("analysis:study-long", "api-study-long", "analysis:study-imrmc", "api-study-imrmc"),  # name cases by numbers
}
NOT_RECORDED = {
    "portal:manual-image": "a picture of the manual",
    "schema": "the description of the API",
}
ANSWER_PAGES = {"portal:deidentification"}  # without the parameter that asks for a file
SAYS_SO = re.compile(r"omitted|left out|hidden from you until|hidden until you have read|to read blinded")


@pytest.fixture(scope="module")
def built(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Generator[tuple[World, Path]]:
    """A world and its data folder, for all walks: each takes back what it wrote."""
    with pytest.MonkeyPatch.context() as patch, django_db_blocker.unblock(), transaction.atomic():
        folder = tmp_path_factory.mktemp("world")
        patch.setattr(settings, "DATA_DIR", folder)
        factories.restart_seeds()
        yield worlds.build(), folder
        transaction.set_rollback(True)


@pytest.fixture
def world(built: tuple[World, Path], db: None, monkeypatch: pytest.MonkeyPatch) -> World:
    world, folder = built
    monkeypatch.setattr(settings, "DATA_DIR", folder)
    return world


class Answer:
    """A response as text: its body and headers, with the names of files that it sends. `exposed` are the films that it
    recorded as shown to the person, `looks` the looks at a test part that it counted, `recorded` whether it left an
    event or a count."""

    def __init__(self, response: Any) -> None:
        self.status = int(response.status_code)
        self.response = response
        self.recorded = False
        streamed = getattr(response, "streaming_content", None)
        body = b"".join(streamed) if streamed is not None else response.content
        self.body = body.decode("utf-8", errors="replace")
        self.text = self.body + "\n".join(f"{name}: {value}" for name, value in response.headers.items())
        self.exposed: set[int] = set()
        self.looks = 0

    @property
    def is_allowed(self) -> bool:
        return self.status < 500 and self.status not in (401, 403, 404, 405)


class Walk:
    """A person, logged in, who requests one URL after the other."""

    def __init__(self, person: User, world: World) -> None:
        self.person, self.world = person, world
        self.client = Client(raise_request_exception=False)
        self.client.force_login(person)
        self.cookies = self.client.cookies.output(header="", sep=";")

    def ask(self, name: str, url: Url, method: str = "") -> Answer:
        """Request the URL, by its row's method or another one without fields, and take back what the request
        changed."""
        world, client = self.world, self.client
        client.cookies = SimpleCookie(self.cookies)
        address = reverse(name, args=[getattr(world.things[thing], "uuid", world.things[thing]) for thing in url.of])
        saved, looks, events = transaction.savepoint(), TestLook.objects.count(), AuditEvent.objects.count()
        method, data = (method, {}) if method else (url.method, url.data(world))
        if method == "get":
            answer = Answer(client.get(address, url.query(world)))
        else:
            kind = {"content_type": "application/json"} if name.startswith("api-") else {}
            answer = Answer(getattr(client, method)(address, data, **kind))
        answer.exposed = set(Exposure.objects.filter(person=self.person).values_list("image", flat=True))
        answer.looks = TestLook.objects.count() - looks
        answer.recorded = AuditEvent.objects.count() > events or DownloadCount.objects.exists()
        transaction.savepoint_rollback(saved)
        return answer


def names(resolver: URLResolver, space: str = "") -> Iterator[tuple[str, str]]:
    """(name with its namespace, route) of every URL."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            yield space + (pattern.name or "unnamed"), str(pattern.pattern)
        else:
            yield from names(pattern, f"{space}{pattern.namespace}:" if pattern.namespace else space)


def names_with_arguments() -> list[tuple[str, list[str]]]:
    """Every named URL with plausible arguments."""
    values = {"uuid": str(UUID(int=1)), "int": "1"}
    return [
        (name, [values.get(kind, "anything") for kind in re.findall(r"<(\w+):\w+>|<\w+>", route)])
        for name, route in names(get_resolver())
        if not name.startswith("admin:")
    ]


def roles_with(action: str) -> frozenset[Role]:
    if action in (ANYONE, SIGNED_IN):
        return frozenset(Role)
    if action in (OWN, ADMINISTRATOR):  # OWN: of the person who reads blinded
        return frozenset()
    return frozenset[Role]().union(*(ALLOWED[one] for one in ALSO.get(action, {action})))


def test_every_url_has_a_row_and_every_row_a_url() -> None:
    known = {name for name, _ in names(get_resolver()) if not name.startswith("admin:")}
    to_log_in = "unnamed"  # admin/login/ leads to the log-in page
    assert known - URLS.keys() == {to_log_in}
    assert URLS.keys() - known == set()
    assert len(known) > 150


@pytest.mark.parametrize("role", Role)
def test_every_url_answers_those_whom_its_row_permits_and_no_others(world: World, role: Role) -> None:
    wrong = {}
    walk = Walk(User.objects.get(username=role), world)
    for name, url in URLS.items():
        permitted = role in roles_with(url.action)
        if name == MONITOR or (name in SLOW and permitted and role != Role.ANALYST):
            continue
        answer = walk.ask(name, url)
        if answer.is_allowed != permitted or answer.status >= 500:
            wrong[name] = answer.status
        for method, action in url.also.items():
            answer = walk.ask(name, url, method)
            if answer.is_allowed != (role in roles_with(action)) or answer.status >= 500:
                wrong[f"{method} {name}"] = answer.status
    assert wrong == {}
    assert all(Role.ANALYST in roles_with(URLS[name].action) for name in SLOW)


def test_no_url_shows_a_person_of_another_site_anything(world: World) -> None:
    walk = Walk(worlds.everyone("visitor", factories.site("Busan")), world)
    wrong: dict[str, Any] = {}
    for name, url in URLS.items():
        answer = walk.ask(name, url)
        names_a_thing = any(hasattr(world.things[thing], "uuid") for thing in url.of) or url.data(world)
        if names_a_thing and answer.is_allowed and url.action not in (ANYONE, SIGNED_IN):
            wrong[name] = answer.status
        if leaked := words_in(answer, world, but=set(url.of)):
            wrong[name] = leaked
        for method in ("options", *url.also):
            answer = walk.ask(name, url, method)
            may_send = method == "options" or url.also[method] in (ANYONE, SIGNED_IN)
            if answer.status >= 500 or (names_a_thing and answer.is_allowed and not may_send):
                wrong[f"{method} {name}"] = answer.status
            if leaked := words_in(answer, world, but=set(url.of)):
                wrong[f"{method} {name}"] = leaked
    assert wrong == {}


def test_methods_that_nothing_uses_are_refused(world: World) -> None:
    walk = Walk(world.blinded, world)
    wrong = {
        f"{method} {name}": answer.status
        for name, url in URLS.items()
        for method in METHODS
        if method not in (url.method, *url.also)
        and (answer := walk.ask(name, url, method)).status not in (405, 302)  # 302: to confirm the password first
    }
    assert wrong == {}


def test_what_is_ones_own_is_refused_to_a_colleague_with_every_role(world: World) -> None:
    walk = Walk(worlds.everyone("colleague", world.site), world)
    own = [(name, url, url.method) for name, url in URLS.items() if url.action == OWN]
    own += [(name, url, method) for name, url in URLS.items() for method in url.also if url.also[method] == OWN]
    wrong = {f"{method} {name}": status for name, url, method in own if (status := status_of(walk, name, url, method))}
    assert wrong == {}
    assert len(own) > 20


def status_of(walk: Walk, name: str, url: Url, method: str) -> int:
    """The status if the request is not refused, else 0."""
    answer = walk.ask(name, url) if method == url.method else walk.ask(name, url, method)
    return answer.status if answer.is_allowed or answer.status >= 500 else 0


def words_in(answer: Answer, world: World, *, but: set[str]) -> set[str]:
    """What the answer says about the withheld films and others of their patients, except for the addresses of the
    things `but`."""
    of_url = {str(getattr(world.things[thing], "uuid", "")) for thing in but}
    return {word for words in world.secrets().values() for word in words - of_url if word in answer.text}


def test_a_person_who_reads_blinded_is_shown_nothing_about_their_films(world: World) -> None:
    world.blind()
    walk = Walk(world.blinded, world)
    wrong: dict[str, Any] = {}
    for name, url in URLS.items():
        answer = walk.ask(name, url)
        leaked = words_in(answer, world, but=set(url.of))
        if url.blind is Blind.NEUTRAL:
            leaked -= {str(film.uuid) for film in [*world.withheld, *world.siblings]}
        if leaked:
            wrong[name] = leaked
        elif url.blind is Blind.REFUSED:
            if (answer.status, "blinded" in answer.body) != (403, True):
                wrong[name] = answer.status
        elif not answer.is_allowed and url.action != ADMINISTRATOR and name != MONITOR:
            wrong[name] = answer.status
        elif url.blind is Blind.OMITS and not SAYS_SO.search(answer.body):
            wrong[name] = "does not say so"
    assert wrong == {}


def test_the_admin_is_refused_to_a_person_who_reads_blinded(world: World) -> None:
    root = User.objects.create_superuser("root", password=factories.PASSWORD)
    client = Client(raise_request_exception=False)
    client.force_login(root)
    addresses = [address for address in all_addresses() if address.startswith("admin/")]
    assert len(addresses) > 60
    looked_at = [Answer(client.get(f"/{address}")).status for address in addresses]
    assert looked_at.count(200) > 20
    open_for(person=root, images=world.withheld, source=worlds.OTHER_LIST, words="the worklist Blinded", days=28)
    client.force_login(root)
    wrong = {}
    for address in addresses:
        answer = Answer(client.get(f"/{address}"))
        to_log_in = answer.status == 302 and "/accounts/login/" in answer.text
        if (answer.status, "blinded" in answer.body) != (403, True) and not to_log_in and answer.status != 404:
            wrong[address] = answer.status
    assert wrong == {}


def test_what_a_person_is_shown_of_a_film_is_recorded(world: World) -> None:
    """By a person who reads nothing blinded, so that the films of the walk above are seen where they were left out."""
    walk = Walk(worlds.everyone("looker", world.site), world)
    films = {str(film.uuid): film.pk for film in [*world.withheld, *world.siblings]}
    seen, unrecorded = set(), {}
    for name, url in URLS.items():
        if url.blind in (Blind.NOTHING, Blind.NEUTRAL) or url.method != "get" or name in SLOW:
            continue
        answer = walk.ask(name, url)
        named = {pk for address, pk in films.items() if address in answer.text}
        shown = set() if name in SAY_NO_LABEL else named
        shown |= {film.pk for film in map(world.things.get, url.of) if isinstance(film, Image)}
        seen |= {name} if named | shown else set()
        if answer.status == 200 and not shown <= answer.exposed:
            unrecorded[name] = shown - answer.exposed
    assert unrecorded == {}
    withholding = {name for name, url in URLS.items() if url.blind in (Blind.OMITS, Blind.REFUSED)}
    assert sorted(name for name in withholding - seen if URLS[name].method == "get") == sorted(NAME_NONE)


def test_nothing_counts_a_look_at_what_was_opened_before(world: World) -> None:
    walk = Walk(User.objects.get(username="boss"), world)
    looks = {
        name: walk.ask(name, url).looks for name, url in URLS.items() if url.look is not Look.NO and name not in SLOW
    }
    again = {
        *("analysis:study-reference", "api-study-reference"),  # another reference is another look
        *("analysis:run-archive", "api-run-archive"),  # it holds the scores at weights that nobody has looked at
    }
    assert {name for name, count in looks.items() if count} == again


def test_every_file_that_is_sent_is_recorded(world: World) -> None:
    walk = Walk(world.blinded, world)  # who has all roles, reads, and has yet to read nothing here
    unrecorded, declared, sent = set(), downloads.declared(), set()
    for name, url in URLS.items():
        if url.method != "get" or name in SLOW - {"analysis:report"}:
            continue
        answer = walk.ask(name, url)
        if answer.status == 200 and is_file(name, answer.response):
            sent.add(name)
            if not answer.recorded:
                unrecorded.add(name)
            elif name not in declared:
                unrecorded.add(f"{name}, not declared")
    assert unrecorded == set(NOT_RECORDED)
    assert declared <= URLS.keys()
    assert {name for name in declared - sent if URLS[name].method == "get"} - SLOW == ANSWER_PAGES
    assert len(sent) > 50
