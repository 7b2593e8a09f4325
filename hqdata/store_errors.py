"""Errors of object stores as the OSErrors that a file system would raise, and which of them pass by themselves.

fsspec's stores raise what their libraries raise: OSErrors without a number, botocore's and aiohttp's own classes. The
rest of the package knows OSError with its `errno`: a missing file is a file's fault, a missing permission everybody's.
"""

from __future__ import annotations

import errno
import logging
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["TRANSIENT", "as_os_error", "attempt"]

Result = TypeVar("Result")

PAUSES_S = (1.0, 4.0)
"""Before the second and the third attempt, times 0.5 to 1.5 so that many workers do not come back at once. The stores'
own libraries repeat single requests before that."""
TRANSIENT = frozenset(
    {
        errno.EIO,
        errno.EREMOTEIO,
        errno.EBUSY,
        errno.EAGAIN,
        errno.EPIPE,
        errno.ETIMEDOUT,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
    }
)
"""Server errors, throttling and the network's: worth another attempt."""
FOREIGN_ROOTS = frozenset({"botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "azure", "requests", "urllib3"})
"""Libraries whose exceptions are no OSErrors."""
HTTP_ERRNOS = {401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT, 412: errno.EEXIST, 429: errno.EBUSY}
CREDENTIALS = "check the store's credentials and what they may do"

logger = logging.getLogger(__name__)


def attempt(call: Callable[[], Result], url: str) -> Result:
    """Return what `call` returns; if it meets a transient error, call it up to twice more.

    Args:
        call: asks the store for something; calling it again must do no harm.
        url: what it asks for, for the message.

    Raises:
        OSError: with `errno` and the URL: FileNotFoundError, FileExistsError and PermissionError at once, others after
            the last attempt.
    """
    for pause in (*PAUSES_S, None):
        try:
            return call()
        except Exception as error:
            failure = as_os_error(error, url)
            if failure is None:
                raise
            if pause is None or failure.errno not in TRANSIENT:
                raise failure from error
            logger.info("%s; trying again", failure)
            time.sleep(pause * random.uniform(0.5, 1.5))
    raise AssertionError("the last attempt returns or raises")


def as_os_error(error: Exception, url: str) -> OSError | None:
    """Return the error as an OSError with a number and the URL; None where it is no error of the store.

    >>> as_os_error(PermissionError("Access Denied"), "s3://bucket/a").errno == errno.EACCES
    True
    >>> as_os_error(KeyError("a"), "s3://bucket/a")
    """
    number = _errno(error)
    if number is None:
        return None
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    if number == errno.EACCES:
        text = f"{text}; {CREDENTIALS}"
    return OSError(number, text, url)


def _errno(error: Exception) -> int | None:
    if _is_lost_race(error):
        return errno.EEXIST
    if isinstance(error, OSError):
        return error.errno or _errno_of_kind(error)
    if isinstance(error, NotImplementedError):
        return errno.ENOTSUP
    if type(error).__module__.split(".")[0] not in FOREIGN_ROOTS:
        return None
    if "Credential" in type(error).__name__:
        return errno.EACCES
    status = str(getattr(error, "status", "") or getattr(error, "code", ""))
    return HTTP_ERRNOS.get(int(status), errno.EIO) if status.isdigit() else errno.EIO


def _errno_of_kind(error: OSError) -> int:
    kinds: tuple[tuple[type[OSError], int], ...] = (
        (FileNotFoundError, errno.ENOENT),
        (FileExistsError, errno.EEXIST),
        (PermissionError, errno.EACCES),
        (IsADirectoryError, errno.EISDIR),
        (NotADirectoryError, errno.ENOTDIR),
        (TimeoutError, errno.ETIMEDOUT),
        (ConnectionError, errno.ECONNRESET),
    )
    return next((number for kind, number in kinds if isinstance(error, kind)), errno.EIO)


def _is_lost_race(error: Exception) -> bool:
    """Return whether a store refused an exclusive write: not all say that it was the If-None-Match which failed."""
    response: Any = getattr(error.__cause__, "response", None)
    return isinstance(response, dict) and response.get("Error", {}).get("Code") in ("PreconditionFailed", "412")
