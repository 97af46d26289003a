"""The query parameters that pages and API endpoints accept. A parameter that would be ignored is refused: its author
expects it to change what is shown, such as the fusion weight of a figure."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.http import QueryDict

V = TypeVar("V", bound=Callable[..., Any])
_ACCEPTED, _REPEATED = "accepted_query", "repeated_query"


def accepts_query(*names: str, repeated: str = "") -> Callable[[V], V]:
    """Decorate a view, or a class of API views, with the query parameters of its GET. Each may be sent once, except for
    the one `repeated`."""

    def mark(view: V) -> V:
        setattr(view, _ACCEPTED, frozenset({*names, *filter(None, [repeated])}))
        setattr(view, _REPEATED, repeated)
        return view

    return mark


def accepted_by(view: Callable[..., Any]) -> frozenset[str]:
    """The query parameters of a resolved view, with those by which the lists of an API are divided into pages and
    the format of an answer is chosen."""
    of = getattr(view, "cls", view)
    names: frozenset[str] = getattr(of, _ACCEPTED, frozenset())
    pagination = getattr(of, "pagination_class", None)
    if pagination is not None and hasattr(of, "list"):
        names |= {"limit", "cursor" if hasattr(pagination, "cursor_query_param") else "offset"}
    if len(getattr(of, "renderer_classes", ())) > 1:
        names |= {"format"}
    return names


def why_refused(view: Callable[..., Any], query: QueryDict) -> str:
    """What is wrong with the names in a query string, as a sentence; "" where nothing is."""
    accepted = accepted_by(view)
    repeated = getattr(getattr(view, "cls", view), _REPEATED, "")
    takes = f"it accepts {', '.join(sorted(accepted))}" if accepted else "it accepts none"
    for name, values in query.lists():
        if name not in accepted:
            return f"There is no query parameter {name[:40]!r} here: {takes}. Leave it out."
        if len(values) > 1 and name != repeated:
            return f"The query parameter {name!r} is given {len(values)} times: give it once."
    return ""
