"""Which pictures a network was trained on: every one of them, with what is known of its source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from hqdata.atomic import write_json
from hqdata.training.identity import RUN_FILE
from hqdata.training.patches import PhotoPool

__all__ = ["ATTRIBUTIONS_FILE", "write_attributions"]

ATTRIBUTIONS_FILE = "attributions.json"


def write_attributions(folder: Path, pool: PhotoPool, run: Path) -> str:
    """Write `attributions.json` of a new run and return a digest of all its pictures' pixels.

    A run that was begun already keeps its own: these photos may be others, with which it will not be gone on.

    Args:
        folder: the prepared photos; entries of its own `attributions.json` are taken over by name.
        pool: the photos in use.
        run: folder of the run.
    """
    digests = pool.digests()
    if not ((run / RUN_FILE).exists() and (run / ATTRIBUTIONS_FILE).exists()):
        _write(folder, digests, run)
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def _write(folder: Path, digests: Mapping[str, str], run: Path) -> None:
    source = folder / ATTRIBUTIONS_FILE
    entries = json.loads(source.read_text(encoding="utf-8")) if source.exists() else []
    known = {entry["name"]: entry for entry in entries}
    used = [{"name": name, **known.get(name, {}), "pixels_sha256": digest} for name, digest in digests.items()]
    write_json(run / ATTRIBUTIONS_FILE, used)
