"""The errors that end a run though no photo is at fault, and how they are told from a photo's own.

Imported by workers and by the scheduler before anything else of a build, so it needs the standard library alone.
"""

from __future__ import annotations

import errno

__all__ = ["BuildStopped", "SchedulerLost", "is_systemic", "stop_if_systemic"]

SYSTEMIC_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE})


class BuildStopped(RuntimeError):
    """The environment, not a photo, is at fault; finished work is kept."""


class SchedulerLost(BuildStopped):
    """The cluster went away under the run; the same command goes on once there is one again."""


def is_systemic(error: BaseException) -> bool:
    """Return whether no other photo would survive what happened.

    A full disk, a missing permission, a missing module, code that does not fit its caller. Too little memory is not
    among them: fewer or smaller photos may do.

    >>> is_systemic(OSError(errno.ENOSPC, "No space left on device")), is_systemic(MemoryError())
    (True, False)
    """
    if isinstance(error, OSError):
        return error.errno in SYSTEMIC_ERRNOS
    return isinstance(error, (BuildStopped, ImportError, AttributeError, TypeError))


def stop_if_systemic(error: BaseException, where: str = "") -> None:
    """Raise BuildStopped for what no other photo would survive, naming the machine; return for anything else.

    Args:
        error: what happened.
        where: the machine and process that it happened on; empty on the driver's.
    """
    if not is_systemic(error):
        return
    if isinstance(error, BuildStopped):
        raise error
    place = f"{where}: " if where else ""
    if isinstance(error, OSError):
        raise BuildStopped(f"{place}{error}; mend that and run the same command to go on") from error
    raise BuildStopped(f"{place}cannot run the task: {type(error).__name__}: {error}") from error
