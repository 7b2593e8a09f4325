"""What photos and shards cost so far, kept in RUN/work/spending.json: what `hqdata plan` estimates the rest from."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hqdata.shards.format import WORK_FOLDER
from hqdata.storage import Folder

__all__ = ["SPENDING_PATH", "Spending", "keep_spending", "read_spending"]

logger = logging.getLogger(__name__)

SPENDING_PATH = f"{WORK_FOLDER}/spending.json"
FIND = "find"
"""The step that a photo with known faces is spared."""


@dataclass(slots=True, kw_only=True)
class Spending:
    """Sums over the tasks of one or more builds with the same score key."""

    photos: int = 0
    """Read, rendered and scored."""
    searched: int = 0
    """Of these, searched for faces."""
    score_seconds: float = 0.0
    """That workers' threads were busy with them; on a GPU worker, the time that its GPU was taken."""
    cpu_seconds: Counter[str] = field(default_factory=Counter)
    """Of these, by step, as far as the step used a core."""
    faces: int = 0
    """Packed."""
    pack_seconds: float = 0.0
    threads: int = 0
    """Of all workers, in the last build."""

    def add_chunk(self, photos: int, searched: int, cpu_seconds: Mapping[str, float], seconds: float) -> None:
        """Count a scored list of photos that took a worker's thread `seconds`."""
        self.photos += photos
        self.searched += searched
        self.score_seconds += seconds
        self.cpu_seconds.update(cpu_seconds)

    def add_shard(self, faces: int, seconds: float) -> None:
        """Count a packed shard that took a worker's thread `seconds`."""
        self.faces += faces
        self.pack_seconds += seconds

    def __add__(self, other: Spending) -> Spending:
        """Return the sums of both; the threads are those of `other` if it had any."""
        return Spending(
            photos=self.photos + other.photos,
            searched=self.searched + other.searched,
            score_seconds=self.score_seconds + other.score_seconds,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            faces=self.faces + other.faces,
            pack_seconds=self.pack_seconds + other.pack_seconds,
            threads=other.threads or self.threads,
        )

    def to_score(self, searched: int, rendered: int) -> float | None:
        """Return the estimated worker-seconds to search and render some photos, and only to render others.

        None where nothing was measured. The search's part is its part of the CPU time.
        """
        if not self.photos:
            return None
        cpu = self.cpu_seconds.total()
        share = self.cpu_seconds[FIND] / cpu if cpu else 0.0
        find = self.score_seconds * share / self.searched if self.searched else 0.0
        render = self.score_seconds * (1 - share) / self.photos
        return searched * (find + render) + rendered * render

    def to_pack(self, faces: int) -> float | None:
        """Return the estimated worker-seconds to pack some faces; None where none were packed yet."""
        return faces * self.pack_seconds / self.faces if self.faces else None


def read_spending(run: Folder, score_key: str) -> Spending:
    """Return what the builds with this score key cost; nothing where there were none."""
    try:
        return _from_dict(_read(run).get(score_key, {}))
    except (AttributeError, TypeError, ValueError) as error:
        logger.warning("%s/%s: not understood (%s), no estimate is made from it", run, SPENDING_PATH, error)
        return Spending()


def keep_spending(run: Folder, score_key: str, spending: Spending) -> None:
    """Add a build's spending to that of earlier ones; where it cannot be written only an estimate is lost."""
    try:
        total = read_spending(run, score_key) + spending
        run.write_json(SPENDING_PATH, _read(run) | {score_key: _to_dict(total)})
    except (OSError, TypeError, ValueError) as error:
        logger.warning("%s/%s: not written (%s)", run, SPENDING_PATH, error)


def _read(run: Folder) -> dict[str, Any]:
    return run.read_json(SPENDING_PATH) if run.exists(SPENDING_PATH) else {}


def _to_dict(spending: Spending) -> dict[str, Any]:
    values = {field.name: getattr(spending, field.name) for field in dataclasses.fields(spending)}
    return values | {"cpu_seconds": dict(spending.cpu_seconds)}


def _from_dict(values: Mapping[str, Any]) -> Spending:
    spending = Spending(**values)
    spending.cpu_seconds = Counter(spending.cpu_seconds)
    return spending
