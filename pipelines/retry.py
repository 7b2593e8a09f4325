"""Try again what was refused: the ledger forgets it by stage and reason, and the next build does it anew."""

from __future__ import annotations

import contextlib
import fnmatch
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hqdata.settings import ConfigError
from hqdata.storage import Folder, open_folder
from pipelines.known_run import ledger_of
from pipelines.ledger import read_rows, rewrite_rows
from pipelines.run_lock import locked

__all__ = ["Refusals", "forget_refusals", "list_refusals"]

QUARANTINE_STAGE = "worker"
GLOB = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Refusals:
    """Which refusals are meant.

    Args:
        reason: part of it, or a pattern with * ? [ ] for all of it, in any case of letters; empty means any.
        stage: `read`, `landmarks`, `align`, `worker` or a network's; empty means any.
    """

    reason: str = ""
    stage: str = ""

    def include(self, stage: str, reason: str) -> bool:
        """Return whether a refusal with this stage and reason is meant."""
        if self.stage and stage != self.stage:
            return False
        text, wanted = reason.lower(), self.reason.lower()
        return fnmatch.fnmatchcase(text, wanted) if GLOB & set(wanted) else wanted in text


def list_refusals(run: Folder | Path | str) -> Counter[tuple[str, str]]:
    """Return how many photos and faces the ledger of the last build refuses, by (stage, reason).

    Raises:
        ConfigError: if no build began there, or its ledger is gone.
    """
    folder = open_folder(run)
    return Counter(refusal for part in ledger_of(folder) for _, rows in read_rows(part) for refusal in _refusals(rows))


def forget_refusals(run: Folder | Path | str, refusals: Refusals, *, dry_run: bool = False) -> Counter[tuple[str, str]]:
    """Forget refusals, so that the next build does their photos and faces again; return how many, by (stage, reason).

    Args:
        run: the run folder.
        refusals: which ones.
        dry_run: only count.

    Raises:
        ConfigError: if no build began there, its ledger is gone, the stage refused nothing, or a driver is at work.
    """
    folder = open_folder(run)
    parts = ledger_of(folder)
    _require_stage(folder, refusals.stage)
    forgotten: Counter[tuple[str, str]] = Counter()
    with contextlib.nullcontext() if dry_run else locked(folder):
        for part in parts:
            for name, rows in read_rows(part):
                kept = [row for row in rows if not _is_meant(row, refusals)]
                if len(kept) == len(rows):
                    continue
                forgotten.update(_refusals(row for row in rows if _is_meant(row, refusals)))
                if not dry_run:
                    rewrite_rows(part, name, kept)
    return forgotten


def _require_stage(run: Folder, stage: str) -> None:
    if not stage:
        return
    known = sorted({known for known, _ in list_refusals(run)})
    if stage not in known:
        raise ConfigError(f"nothing was refused at stage {stage!r}; stages that did: {', '.join(known) or 'none'}")


def _refusals(rows: Any) -> Iterator[tuple[str, str]]:
    """Yield (stage, reason) of the refused ones; a quarantined photo's row has no stage of its own."""
    for row in rows:
        stage = row.get("stage", QUARANTINE_STAGE)
        if stage:
            yield stage, row["reason"]


def _is_meant(row: Mapping[str, Any], refusals: Refusals) -> bool:
    return any(refusals.include(*refusal) for refusal in _refusals([row]))
