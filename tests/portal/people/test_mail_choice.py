"""The choice of mail at the end of runs."""

from __future__ import annotations

import pytest

from portal.models import AuditEvent
from portal.people.mail_choice import InvalidAddress, choose_mail
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


def test_an_address_is_kept_without_its_spaces_and_audited_without_itself() -> None:
    person = factories.user("rosa")
    choose_mail(person=person, email=" rosa@example.org ", at_run_end=True)
    person.refresh_from_db()
    assert (person.email, person.mail_at_run_end) == ("rosa@example.org", True)
    assert AuditEvent.objects.get(verb="choose mail").after == {"at_run_end": True}
    choose_mail(person=person, email="", at_run_end=False)
    person.refresh_from_db()
    assert (person.email, person.mail_at_run_end) == ("", False)


@pytest.mark.parametrize(("email", "wanted"), [("", True), ("nowhere", False), ("a" * 300, True)])
def test_mail_to_nowhere_is_refused(email: str, wanted: bool) -> None:
    person = factories.user("rosa")
    with pytest.raises(InvalidAddress, match="is no mail address"):
        choose_mail(person=person, email=email, at_run_end=wanted)
    assert not AuditEvent.objects.exists()
