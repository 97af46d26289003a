"""The rules of a site that must be met before anyone looks at the test part of a split."""

from dataclasses import asdict, dataclass

from django.db import transaction

from portal.models import Site, User
from portal.people import audit
from portal.people.access import require


@dataclass(frozen=True, kw_only=True)
class TestRules:
    """`second_person` requires a plan too, since the second person approves the plan."""

    __test__ = False  # tells pytest that this is not a test class

    plan: bool
    second_person: bool


def set_test_rules(*, site: Site, rules: TestRules, author: User) -> None:
    """Apply the rules from the next look on. Earlier looks remain valid."""
    require(author, "set rules for test", site)
    with transaction.atomic():
        site = Site.objects.select_for_update(no_key=True).get(pk=site.pk)
        before = TestRules(plan=site.plan_before_test, second_person=site.second_person_for_test)
        site.plan_before_test, site.second_person_for_test = rules.plan, rules.second_person
        site.save(update_fields=["plan_before_test", "second_person_for_test"])
        audit.record(
            verb="set rules for test", site=site, actor=author, target=site, before=asdict(before), after=asdict(rules)
        )
