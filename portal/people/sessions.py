"""When a session is over: some time after the last request that its person made, and some time after the log-in,
whatever they do."""

import time

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest

from portal.models import User
from portal.people import audit

STARTED, SEEN, ENDED = "started_at", "seen_at", "session_ended"  # keys of the session; the first two in seconds
_NOTE_EVERY = 60  # seconds: a note is a write to the database


def start(request: HttpRequest) -> None:
    request.session[STARTED] = time.time()
    request.session.pop(SEEN, None)


def end_if_over(request: HttpRequest, person: User) -> bool:
    """Log the person out of a session that is over; the log-in page shows why."""
    now = time.time()
    sentence = _why_over(request, person, now)
    if not sentence:
        return False
    logout(request)
    request.session[ENDED] = sentence
    audit.record(verb="end session", site=None, actor=None, target=person, reason=sentence)
    return True


def note(request: HttpRequest, person: User) -> None:
    """The person is there. A page that follows a run asks every second, whether or not anybody looks at it."""
    if request.method == "GET" and "HX-Request" in request.headers:
        return
    now = time.time()
    if now - _seen(request, person) > min(_NOTE_EVERY, 6 * settings.SESSION_IDLE_MINUTES or _NOTE_EVERY):
        request.session[SEEN] = now


def why_ended(request: HttpRequest) -> str:
    """Once, for the log-in page; empty for a session that its person ended."""
    return str(request.session.pop(ENDED, "")) if ENDED in request.session else ""


def remove_ended() -> None:
    """Rows of sessions that nobody can go on with, and of log-ins that were begun and not finished."""
    SessionStore.clear_expired()


def _why_over(request: HttpRequest, person: User, now: float) -> str:
    if settings.SESSION_IDLE_MINUTES and now - _seen(request, person) > 60 * settings.SESSION_IDLE_MINUTES:
        return f"Your session ended: for {_span(settings.SESSION_IDLE_MINUTES)} you asked for no page."
    if now - _started(request, person) > settings.SESSION_COOKIE_AGE:
        return f"Your session ended: after {_span(settings.SESSION_COOKIE_AGE // 60)} everybody logs in again here."
    return ""


def _started(request: HttpRequest, person: User) -> float:
    """A session of an earlier release has no note of its start."""
    last_login = person.last_login.timestamp() if person.last_login else time.time()
    return float(request.session.get(STARTED, last_login))


def _seen(request: HttpRequest, person: User) -> float:
    return float(request.session.get(SEEN, _started(request, person)))


def _span(minutes: int) -> str:
    for length, word in ((24 * 60, "day"), (60, "hour")):
        if minutes % length == 0:
            return f"{minutes // length} {word}{'s' if minutes > length else ''}"
    return f"{minutes} minutes" if minutes > 1 else "a minute"
