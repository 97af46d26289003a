"""Pages as a browser reads them: where a template breaks its lines does not matter."""

from __future__ import annotations

import re
from typing import Any


def one_line(page: Any) -> str:
    """The HTML of a response, or of a piece of it, with each run of white space as one space."""
    return " ".join((page if isinstance(page, str) else page.content.decode()).split())


def without_gaps(page: Any) -> str:
    """The same without any white space beside a tag: <td>0.5</td>, however the template breaks it."""
    return re.sub(r"(?<=>) | (?=<)", "", one_line(page))
