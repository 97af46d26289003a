"""The mail that tells whoever requested a run that it has ended, if they asked for it."""

from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail

from ml_engine.models import Run, RunState
from portal.people.public_links import public_link


def send_end_mail(uuid: UUID) -> bool:
    """Whether a mail was sent: of a chain of runs, for the end of the last one, or for the first that failed.

    Raises OSError and SMTPException where the mail server does not take it."""
    run = Run.objects.select_related("requested_by", "site", "after").get(uuid=uuid)
    person = run.requested_by
    if not settings.EMAIL_HOST or person is None or not (person.is_active and person.mail_at_run_end and person.email):
        return False
    goes_on = run.state == RunState.DONE and run.followers.exists()
    failed_before = run.after is not None and run.after.state != RunState.DONE
    if not run.has_ended or goes_on or failed_before:
        return False
    outcome = "failed" if run.state == RunState.FAILED else f"is {run.get_state_display().lower()}"
    lines = [f"The run “{run.name}” at {run.site.name} {outcome}.", run.message]
    lines.append(public_link("ml_engine:run", run.uuid))
    lines.append("You asked for this mail; the page of your account in Hilum ends it.")
    send_mail(f"{run.name} {outcome}", "\n\n".join(filter(None, lines)), None, [person.email])
    return True
