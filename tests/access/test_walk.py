"""Every URL of the project against `url_table`: as each role, from another site, and as a person who reads films
blinded."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from http.cookies import SimpleCookie
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, resolve, reverse
from rest_framework.test import force_authenticate

from analysis.models import TestLook
from portal.models import AuditEvent, DownloadCount, Exposure, Image, Role, User
from portal.people.access import ALLOWED
from portal.people.blinding import open_for
from portal.people.downloads import declared
from portal.project.download_audit import is_file
from tests.access import world as worlds
from tests.access.url_table import ADMINISTRATOR, ALSO, ANYONE, FURTHER, OWN, SIGNED_IN, URLS, Blind, Look, Url
from tests.access.world import World
from tests.portal import factories
from tests.portal.test_strangers import all_addresses

pytestmark = pytest.mark.django_db

MONITOR = "readyz"  # answers 503 here, since no worker runs; tests/portal/project/test_readiness.py asks it
METHODS = ("get", "post", "put", "patch", "delete")
OF_ALLAUTH = {  # and of Django: about the account of whoever asks; tests/portal/views/test_second_factors.py
    *("login", "account_login", "logout", "lost-password", "invitation", "change-password", "account_reauthenticate"),
    *("mfa_authenticate", "mfa_reauthenticate", "mfa_activate_totp", "mfa_deactivate_totp", "mfa_add_webauthn"),
    *("mfa_generate_recovery_codes", "mfa_list_webauthn", "mfa_reauthenticate_webauthn", "mfa_remove_webauthn"),
}
SAY_NOTHING_OF_FILMS = {"portal:manual-image", "schema"}  # files that are not recorded
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
    event or a count of downloads."""

    def __init__(self, response: Any) -> None:
        self.status = int(response.status_code)
        self.response = response
        streamed = getattr(response, "streaming_content", None)
        body = b"".join(streamed) if streamed is not None else response.content
        self.body = body.decode("utf-8", errors="replace")
        self.text = self.body + "\n".join(f"{name}: {value}" for name, value in response.headers.items())
        self.exposed: set[int] = set()
        self.looks = 0
        self.recorded = False

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
        self.last_event = AuditEvent.objects.order_by("pk").values_list("pk", flat=True).last() or 0

    def ask(self, name: str, url: Url) -> Answer:
        """Request the URL and take back what the request changed."""
        world, client = self.world, self.client
        client.cookies = SimpleCookie(self.cookies)
        address = address_of(name, url, world)
        saved, looks = transaction.savepoint(), TestLook.objects.count()
        if url.method == "get":
            answer = Answer(client.get(address, url.query(world)))
        else:
            kind = {"content_type": "application/json"} if name.startswith("api-") else {}
            answer = Answer(getattr(client, url.method)(address, url.data(world), **kind))
        answer.exposed = set(Exposure.objects.filter(person=self.person).values_list("image", flat=True))
        answer.looks = TestLook.objects.count() - looks
        is_audited = AuditEvent.objects.filter(pk__gt=self.last_event).exists()
        answer.recorded = is_audited or DownloadCount.objects.exists()
        transaction.savepoint_rollback(saved)
        return answer


def address_of(name: str, url: Url, world: World) -> str:
    return reverse(name, args=[getattr(world.things[thing], "uuid", world.things[thing]) for thing in url.of])


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
    wrong: dict[str, Any] = {}
    walk = Walk(User.objects.get(username=role), world)
    for name, url in [*URLS.items(), *FURTHER]:
        permitted = role in roles_with(url.action)
        if name == MONITOR or (name in SLOW and permitted and role != Role.ANALYST):
            continue
        answer = walk.ask(name, url)
        if answer.is_allowed != permitted or answer.status >= 500:
            wrong[f"{url.method} {name}"] = answer.status
        is_recorded = name in SAY_NOTHING_OF_FILMS or (answer.recorded and name in declared())
        if answer.status == 200 and is_file(name, answer.response) and not is_recorded:
            wrong[f"file of {name}"] = "is not recorded"
        if not runs_nothing(answer):
            wrong[f"headers of {name}"] = dict(answer.response.headers)
    assert wrong == {}
    assert all(Role.ANALYST in roles_with(URLS[name].action) for name in SLOW)


def runs_nothing(answer: Answer) -> bool:
    """Whether what is no page is sent so that a browser runs nothing in it, whatever it holds."""
    headers = answer.response.headers
    is_page = headers.get("Content-Type", "").startswith("text/html") and "Content-Disposition" not in headers
    is_sandboxed = headers["Content-Security-Policy"].endswith("; sandbox")
    return headers["X-Content-Type-Options"] == "nosniff" and is_sandboxed != is_page


def test_no_url_shows_a_person_of_another_site_anything(world: World) -> None:
    walk = Walk(worlds.everyone("visitor", factories.site("Busan")), world)
    wrong: dict[str, Any] = {}
    for name, url in [*URLS.items(), *FURTHER]:
        answer = walk.ask(name, url)
        if names_a_thing(url, world) and answer.is_allowed and url.action not in (ANYONE, SIGNED_IN):
            wrong[f"{url.method} {name}"] = answer.status
        if leaked := words_in(answer, world, but=set(url.of)):
            wrong[name] = leaked
    assert wrong == {}


def names_a_thing(url: Url, world: World) -> bool:
    """Whether the address or the fields name something of the site."""
    sent = str(url.data(world))
    named = (str(thing.uuid) in sent for thing in world.things.values() if hasattr(thing, "uuid"))
    return any(hasattr(world.things[thing], "uuid") for thing in url.of) or any(named)


def test_a_url_takes_the_methods_of_the_table_and_no_others(world: World) -> None:
    """Views are called without middleware: whoever asks, a method is refused by the view."""
    table = {(name, url.method) for name, url in [*URLS.items(), *FURTHER]}
    taken = {}
    for name, method in product(URLS.keys() - OF_ALLAUTH, METHODS):
        if (name, method) in table:
            continue
        address = address_of(name, URLS[name], world)
        request: Any = RequestFactory().generic(method.upper(), address, headers={"Tus-Resumable": "1.0.0"})
        request.user = world.blinded
        force_authenticate(request, world.blinded)
        found = resolve(address)
        status = found.func(request, *found.args, **found.kwargs).status_code
        if status != 405:
            taken[f"{method} {name}"] = status
    assert taken == {}


def test_what_is_ones_own_is_refused_to_a_colleague_with_every_role(world: World) -> None:
    walk = Walk(worlds.everyone("colleague", world.site), world)
    own = [(name, url) for name, url in [*URLS.items(), *FURTHER] if url.action == OWN]
    answers = {f"{url.method} {name}": walk.ask(name, url) for name, url in own}
    assert {name: answer.status for name, answer in answers.items() if answer.is_allowed} == {}
    assert max(answer.status for answer in answers.values()) < 500
    assert len(own) > 20


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
