"""Pages without line breaks, since a browser ignores where a template breaks its lines."""

from __future__ import annotations

import re
from typing import Any


def one_line(page: Any) -> str:
    """The HTML of a response, or a part of it, with each run of white space replaced by a space."""
    return " ".join((page if isinstance(page, str) else page.content.decode()).split())


def without_gaps(page: Any) -> str:
    """The same without any white space beside a tag: <td>0.5</td>, however the template breaks it."""
    return re.sub(r"(?<=>) | (?=<)", "", one_line(page))
