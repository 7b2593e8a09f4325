"""Which pictures a network was trained on: every one of them, with what is known of its source."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from hqdata.atomic import write_json
from hqdata.training.patches import PhotoPool

__all__ = ["ATTRIBUTIONS_FILE", "write_attributions"]

ATTRIBUTIONS_FILE = "attributions.json"


def write_attributions(folder: Path, pool: PhotoPool, run: Path) -> str:
    """Write `attributions.json` of a run and return a digest of all its pictures' pixels.

    Args:
        folder: the prepared photos; entries of its own `attributions.json` are taken over by name.
        pool: the photos in use.
        run: folder of the run.
    """
    source = folder / ATTRIBUTIONS_FILE
    entries = json.loads(source.read_text(encoding="utf-8")) if source.exists() else []
    known = {entry["name"]: entry for entry in entries}
    digests = pool.digests()
    used = [{"name": name, **known.get(name, {}), "pixels_sha256": digest} for name, digest in digests.items()]
    write_json(run / ATTRIBUTIONS_FILE, used)
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
