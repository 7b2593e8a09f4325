"""Do driver and workers see the same run folder? A folder that only looks shared is the commonest fault of a cluster.

The driver leaves a file, each worker looks for it, then leaves one of its own, and the driver looks for those.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hqdata.shards.format import WORK_FOLDER
from hqdata.storage import Folder, open_folder

__all__ = ["MeetingPoint", "meeting_in"]

DRIVER = "driver"


@dataclass(frozen=True, slots=True)
class MeetingPoint:
    """A folder of its own for one examination, inside the run folder; a plain value on its way to the workers."""

    run: str
    """Path or URL of the run folder."""
    token: str
    """What tells this examination from others."""
    patience_s: float = 5.0
    """How long a worker looks for the driver's file; nobody on its machine has looked for that name before."""

    @property
    def folder(self) -> Folder:
        """Where the files of this examination lie."""
        return open_folder(self.run) / f"{WORK_FOLDER}/preflight-{self.token}"

    def fault_seen_by_worker(self, name: str) -> str:
        """Try reading, writing and deleting as a task would; return what went wrong, or nothing.

        Args:
            name: this worker's, unique and usable as a file name; its file stays for the driver to see.
        """
        where = f"the run folder {self.run}"
        try:
            if not _appears(lambda: self._holds(DRIVER, self.token), self.patience_s):
                return f"{where} is another one than the driver's, whose file is not there; use a folder that all share"
            self.folder.write(name, self.token.encode())
            self.folder.write(f"{name}.gone", b"x" * 4096)
            self.folder.delete(f"{name}.gone")
            if not self._holds(name, self.token):
                return f"{where} does not give back what was written there"
        except Exception as error:  # each store has errors of its own
            return f"{where} cannot be used: {type(error).__name__}: {error}"
        return ""

    def unseen_by_driver(self, names: Iterable[str], *, patience_s: float = 30.0) -> list[str]:
        """Return those of the workers' files that the driver does not see.

        Args:
            names: of all that were written.
            patience_s: how long to look for the last one; NFS may show a folder as it was half a minute ago.
        """
        wanted = set(names)
        _appears(lambda: wanted <= self._listed(), patience_s)
        return sorted(wanted - self._listed())

    def _listed(self) -> set[str]:
        return {file.name for file in self.folder.files()}

    def _holds(self, name: str, content: str) -> bool:
        try:
            return self.folder.read(name) == content.encode()
        except FileNotFoundError:
            return False


@contextmanager
def meeting_in(run: str) -> Iterator[MeetingPoint]:
    """Yield a meeting point with the driver's file; at the end it is removed, and the run folder if it was not there.

    Raises:
        OSError: if the driver itself cannot write to the run folder.
    """
    point = MeetingPoint(run, secrets.token_hex(8))
    made = _missing_folders(open_folder(run))
    try:
        point.folder.write(DRIVER, point.token.encode())
        yield point
    finally:
        point.folder.delete_all()
        for folder in made:
            _remove_if_empty(folder)


def _missing_folders(run: Folder) -> list[Folder]:
    """Return those of the run's two folders that the examination will make, inner first; object stores have none."""
    if not run.is_local:
        return []
    return [folder for folder in (run / WORK_FOLDER, run) if not folder.path.exists()]


def _remove_if_empty(folder: Folder) -> None:
    if folder.path.is_dir() and not any(folder.path.iterdir()):
        folder.path.rmdir()


def _appears(seen: Callable[[], bool], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while not seen():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
