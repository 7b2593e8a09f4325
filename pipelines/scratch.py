"""A machine's folders for temporary files: can they be written to, how much room is there, and on what do they lie."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ScratchFolder", "examine_scratch", "file_system_of", "free_bytes"]

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = re.compile(r"(nfs|cifs|smb|lustre|beegfs|gpfs|ceph|glusterfs|9p|afs|pvfs|orangefs|panfs|fuse\.sshfs).*")
MEMORY = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchFolder:
    """One folder for temporary files."""

    path: str
    file_system: str
    """As the system calls it, such as ext4, nfs4 or tmpfs; empty where it does not say."""
    free_bytes: int
    fault: str = ""
    """Why nothing can be written there; empty where that works."""

    def warnings(self) -> list[str]:
        """Return what works, but badly."""
        if NETWORK.fullmatch(self.file_system):
            return [f"scratch {self.path} is on a network ({self.file_system}): slow, and shared with others"]
        if self.file_system in MEMORY:
            return [f"scratch {self.path} is in memory ({self.file_system}): what lies there is missing to the work"]
        return []


def examine_scratch(folder: Path) -> ScratchFolder:
    """Write, read and remove a small file in `folder`, and return what was learnt."""
    try:
        with tempfile.NamedTemporaryFile(prefix="hqdata-", dir=folder) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        free = free_bytes(folder)
    except OSError as error:
        return ScratchFolder(path=str(folder), file_system=file_system_of(folder), free_bytes=0, fault=str(error))
    return ScratchFolder(path=str(folder), file_system=file_system_of(folder), free_bytes=free)


def free_bytes(folder: Path) -> int:
    """Return what may still be written at `folder`, or, where that is not there yet, at the nearest one above it."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def file_system_of(path: Path) -> str:
    """Return the kind of file system that `path` is on; empty where the system does not say."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    kind, length = "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        mount = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), before.split(" ")[4])
        if path.resolve().is_relative_to(mount) and len(mount) >= length:
            kind, length = after.split(" ")[0], len(mount)
    return kind
