"""CPU seconds and memory of this process, step by step."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 2**20


class Meter:
    """Notes what each step costs; `rows` is what a table shows.

    The peak of a step is the process's highest memory up to its end (VmHWM), so it never falls.
    """

    def __init__(self) -> None:
        self.rows: list[dict] = []

    @contextmanager
    def step(self, name: str, items: int) -> Iterator[None]:
        """Measure the block."""
        before, start = resident_bytes(), time.process_time()
        yield
        seconds = time.process_time() - start
        self.rows.append(
            {
                "step": name,
                "items": items,
                "cpu_s": seconds,
                "us_an_item": 1e6 * seconds / max(items, 1),
                "kept_mib": (resident_bytes() - before) / MIB,
                "resident_mib": resident_bytes() / MIB,
                "peak_mib": peak_bytes() / MIB,
            }
        )

        sys.stderr.write(f"{name}: {seconds:.0f} CPU s, {self.rows[-1]['peak_mib']:.0f} MiB\n")

    def note(self, notes: dict) -> None:
        """Add something else to the last step."""
        self.rows[-1]["note"] = ", ".join(f"{key} {value}" for key, value in notes.items())


def resident_bytes(pid: int | str = "self") -> int:
    """Memory that a process holds now."""
    return _status("VmRSS", pid)


def peak_bytes() -> int:
    """The most memory that this process ever held."""
    return _status("VmHWM", "self")


def cpu_seconds(pid: int) -> float:
    """User and system time of another process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def count_tasks(dask_scheduler) -> int:
    """Tasks that a scheduler knows; here, since the scheduler imports the module, and the other ones import torch."""
    return len(dask_scheduler.tasks)


def _status(key: str, pid: int | str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return 1024 * int(line.split()[1])
    raise KeyError(key)
