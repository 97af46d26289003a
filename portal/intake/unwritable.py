"""A data folder that cannot be written: on a disk that the system has made read-only after errors, or of another
account."""

import errno
from pathlib import Path

from django.conf import settings

_FORBIDDEN = (errno.EACCES, errno.EPERM)

WAITS = (
    "The server cannot write into its data folder. What was sent is kept; the import begins, or goes on, within "
    "minutes once it can. Your administrator sees the cause by manage.py doctor"
)


def is_unwritable(error: BaseException | None) -> bool:
    """Whether this is why: a file elsewhere that may not be read, such as one of an import, is another matter."""
    if not isinstance(error, OSError):
        return False
    is_ours = isinstance(error.filename, str) and Path(error.filename).is_relative_to(settings.DATA_DIR)
    return error.errno == errno.EROFS or (error.errno in _FORBIDDEN and is_ours)
