"""One driver at a time in a run folder.

Where the file system has locks, the system's lock decides: it ends with the process, however that ends. Object stores,
and network file systems without locks, have none; there a file decides that only one can create, whose holder shows a
sign of life every half a minute, and which counts for nothing five minutes after the last one. The file is kept in both
cases, so that a second driver can say who the first one is. A driver that lost the run to another one finds that out at
its next sign of life, and must stop: `HeldLock.check`.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hqdata.atomic import json_bytes
from hqdata.settings import ConfigError
from hqdata.shards.format import WORK_FOLDER
from hqdata.storage import Folder
from pipelines.stopping import BuildStopped

__all__ = ["BEAT_S", "LOCK_PATH", "STALE_S", "HeldLock", "Holder", "LockLost", "holder_of", "locked"]

LOCK_PATH = f"{WORK_FOLDER}/lock.json"
SYSTEM_LOCK_PATH = f"{WORK_FOLDER}/lock"
BEAT_S = 30.0
"""Time between two signs of life."""
STALE_S = 300.0
"""Time without a sign of life after which a holder counts as gone."""
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
"""How a file system says that it has no locks."""

logger = logging.getLogger(__name__)


class LockLost(BuildStopped):
    """Another driver took the run over; this one must not write there any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a run, as LOCK_PATH says."""

    host: str
    pid: int
    user: str
    started: float
    """Seconds since 1970, like `beat`."""
    beat: float
    """The last sign of life."""
    token: str
    """Drawn at random, so that no two holders are mistaken for one another."""

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.started, UTC).strftime("%Y-%m-%d %H:%M UTC")
        ago = max(time.time() - self.beat, 0)
        return f"{self.user} on {self.host} (process {self.pid}), since {since}, last heard of {ago:.0f} s ago"


class HeldLock:
    """The lock while it is held; a thread of its own shows the signs of life."""

    def __init__(self, folder: Folder, holder: Holder, *, beat_s: float, stale_s: float) -> None:
        self._folder = folder
        self._holder = holder
        self._beat_s = beat_s
        self._stale_s = stale_s
        self._lost = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="run-lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Return while the run is ours; cheap, so that it can be asked after every task.

        Raises:
            LockLost: if another driver took it over, or may have.
        """
        if self._lost:
            raise LockLost(self._lost)

    def release(self) -> None:
        """Stop the signs of life, and remove the file if it is still ours."""
        self._ended.set()
        self._thread.join()
        try:
            if _is_ours(_read(self._folder), self._holder):
                self._folder.delete(LOCK_PATH)
            self._folder.delete(_life_path(self._holder.token))
        except OSError as error:
            logger.warning("%s/%s stays behind and counts for nothing soon: %s", self._folder, LOCK_PATH, error)

    def _keep_beating(self) -> None:
        while not self._ended.wait(self._beat_s) and not self._lost:
            try:
                self._beat()
            except OSError as error:
                logger.warning("no sign of life for the lock of %s: %s", self._folder, error)
                if time.time() - self._holder.beat > self._stale_s:
                    self._lost = (
                        f"{self._folder}: the lock could not be renewed for {self._stale_s:.0f} s, so another driver"
                        f" may have taken the run over ({error}); run the same command to go on"
                    )

    def _beat(self) -> None:
        other = _read(self._folder)
        if not _is_ours(other, self._holder):
            who = f"was taken over by {other}" if other else "lost its lock file to somebody who removed it"
            self._lost = f"{self._folder}: the run {who}; this driver stops, and what it finished is kept"
            return
        alive = replace(self._holder, beat=time.time())
        _show_life(self._folder, alive)
        self._holder = alive


@contextmanager
def locked(
    folder: Folder, *, steal: bool = False, beat_s: float = BEAT_S, stale_s: float = STALE_S
) -> Iterator[HeldLock]:
    """Hold the run folder for this process.

    Args:
        folder: the run.
        steal: take the run over from whoever holds it; for one who is gone but could not let go of it.
        beat_s: time between two signs of life.
        stale_s: time without one after which a holder counts as gone, by this machine's clock and the holder's.

    Raises:
        ConfigError: if another process is building there; it says who, where and since when.
    """
    system_lock = _lock_of_the_system(folder, steal) if folder.is_local else None
    try:
        holder = _ours()
        if system_lock is None:
            _claim(folder, holder, steal, stale_s)
        else:
            other = _read(folder)
            _warn_of_another_host(folder, other, stale_s)
            _replace(folder, other, holder)
        held = HeldLock(folder, holder, beat_s=beat_s, stale_s=stale_s)
        try:
            yield held
        finally:
            held.release()
    finally:
        if system_lock is not None:
            os.close(system_lock)


def holder_of(folder: Folder, *, stale_s: float = STALE_S) -> Holder | None:
    """Return who builds in a run right now, touching nothing; None where nobody does, or the holder is gone."""
    other = _read(folder)
    return None if other is None or _is_gone(other, stale_s) else other


def _lock_of_the_system(folder: Folder, steal: bool) -> int | None:
    """Return a descriptor that holds the lock; None where the file system has none."""
    path = folder.path / SYSTEM_LOCK_PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    if steal:
        path.unlink(missing_ok=True)  # whoever is gone keeps a lock on a file without a name
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in NO_LOCKS:
                logger.warning("%s: the file system has no locks; holding the run by signs of life", folder)
                return None
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise _refusal(folder, _read(folder)) from error
        if _is_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # replaced by one who took the run over meanwhile


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _claim(folder: Folder, holder: Holder, steal: bool, stale_s: float) -> None:
    """Create the lock file, or replace that of one who is gone."""
    try:
        folder.create(LOCK_PATH, json_bytes(asdict(holder)))
        return
    except FileExistsError:
        other = _read(folder)
    if _is_ours(other, holder):
        return  # the answer to our own first attempt was lost
    if other is not None and not steal and not _is_gone(other, stale_s):
        raise _refusal(folder, other)
    logger.warning("%s: taking the run over from %s", folder, other or "a driver that let go of it just now")
    _replace(folder, other, holder)
    winner = _read(folder)
    if not _is_ours(winner, holder):
        raise _refusal(folder, winner)


def _is_gone(other: Holder, stale_s: float) -> bool:
    if time.time() - other.beat > stale_s:
        return True
    return (
        other.host == socket.gethostname() and not Path(f"/proc/{other.pid}").exists() and Path("/proc/self").exists()
    )


def _warn_of_another_host(folder: Folder, other: Holder | None, stale_s: float) -> None:
    """Tell of a holder that the system's lock does not know: some mounts keep locks to one machine."""
    if other is not None and other.host != socket.gethostname() and time.time() - other.beat < stale_s:
        logger.warning("%s: taking the run over from %s; if it still runs, it will stop", folder, other)


def _refusal(folder: Folder, other: Holder | None) -> ConfigError:
    who = f"{other}" if other else "another process"
    return ConfigError(
        f"another process is building {folder}: {who}; wait for it or stop it first, or, if you know that it is gone,"
        " repeat the command with --unlock"
    )


def _ours() -> Holder:
    now = time.time()
    return Holder(
        host=socket.gethostname(), pid=os.getpid(), user=_user(), started=now, beat=now, token=secrets.token_hex(16)
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return str(os.getuid())


def _is_ours(other: Holder | None, holder: Holder) -> bool:
    return other is not None and other.token == holder.token


def _read(folder: Folder) -> Holder | None:
    """Return who holds the run; None where nobody does, or where the file is damaged."""
    data = folder.read_if_there(LOCK_PATH)
    if data is None:
        return None
    try:
        holder = Holder(**json.loads(data))
        alive = folder.read_if_there(_life_path(holder.token))
        return holder if alive is None else replace(holder, beat=float(json.loads(alive)))
    except (TypeError, ValueError):
        return None


def _replace(folder: Folder, other: Holder | None, holder: Holder) -> None:
    folder.write(LOCK_PATH, json_bytes(asdict(holder)))
    if other is not None:
        folder.delete(_life_path(other.token))


def _show_life(folder: Folder, holder: Holder) -> None:
    """Write the time to a file of the holder's own: in LOCK_PATH it could undo that another one took the run over."""
    folder.write_json(_life_path(holder.token), holder.beat)


def _life_path(token: str) -> str:
    return f"{WORK_FOLDER}/lock-{token}.json"
