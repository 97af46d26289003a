"""What a site asks for before the test part of a split may be looked at."""

from dataclasses import asdict, dataclass

from django.db import transaction

from portal.models import Site, User
from portal.people import audit
from portal.people.access import require


@dataclass(frozen=True, kw_only=True)
class TestRules:
    """`second_person` asks for a plan too: it is the plan that the second person approves."""

    __test__ = False  # the name is the field's word; it is not a test class

    plan: bool
    second_person: bool


def set_test_rules(*, site: Site, rules: TestRules, author: User) -> None:
    """From the next look on. Looks that were made stand."""
    require(author, "set rules for test", site)
    with transaction.atomic():
        site = Site.objects.select_for_update(no_key=True).get(pk=site.pk)
        before = TestRules(plan=site.plan_before_test, second_person=site.second_person_for_test)
        site.plan_before_test, site.second_person_for_test = rules.plan, rules.second_person
        site.save(update_fields=["plan_before_test", "second_person_for_test"])
        audit.record(
            verb="set rules for test", site=site, actor=author, target=site, before=asdict(before), after=asdict(rules)
        )
