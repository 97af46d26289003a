"""Whether two films that may be the same film are: a person's judgement."""

from django.db import transaction
from django.utils import timezone

from portal.models import FilmPair, User
from portal.people import audit
from portal.people.access import require


class InvalidJudgement(Exception):
    """The message is shown to the user."""


@transaction.atomic
def judge_pair(*, pair: FilmPair, verdict: str, seen: str, author: User) -> FilmPair:
    """Judge the pair, or correct a judgement. `seen` is the verdict that the author had before them, blank for none.
    Raises InvalidJudgement."""
    require(author, "judge duplicates", pair.site)
    if verdict not in FilmPair.Verdict.values:
        raise InvalidJudgement(f"The verdict is {verdict!r}; expected {' or '.join(FilmPair.Verdict.values)}.")
    pair = FilmPair.objects.select_for_update(of=("self",)).select_related("site").get(pk=pair.pk)
    if pair.verdict != seen:
        raise InvalidJudgement(
            f"Somebody judged this pair {pair.verdict} in the meantime; look at it again and judge it anew."
        )
    before = {"verdict": pair.verdict}
    pair.verdict, pair.judged_by, pair.judged_at = verdict, author, timezone.now()
    pair.save(update_fields=["verdict", "judged_by", "judged_at"])
    audit.record(
        verb="judge duplicate", site=pair.site, actor=author, target=pair, before=before, after={"verdict": verdict}
    )
    return pair
