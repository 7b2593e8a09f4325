"""Why a build has something to do again: each setting that changed, with what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.run_folder import settings_changed

__all__ = ["redo_reasons"]

PARTS = {
    "find": ("landmarks.provider", "source.limit_megapixels", "stage.find", "weights.landmarks"),
    "wanted": ("landmarks.faces", "landmarks.min_face_px"),
    "score": ("restore.", "upscale.", "align.", "stage.score", "weights."),
    "select": ("select.",),
    "pack": ("pack.", "stage.pack"),
    "source": ("source.",),
}
"""What a changed setting touches, by how its line begins; the first part that fits counts."""
REDOING = frozenset({"find", "wanted", "score", "source"})
"""Parts that explain by themselves why photos are done again."""
ELSE = "recorded, nothing is done again for it"


def redo_reasons(before: Mapping[str, Any] | None, now: Mapping[str, Any], *, find: int, render: int) -> Iterator[str]:
    """Yield lines such as "align.size: 1024 -> 256: 24 photos rendered again, none searched again".

    Args:
        before: run.json of the last build; None where there was none.
        now: what it would be for this one.
        find: photos to search for faces.
        render: photos to render with known faces.
    """
    if before is None:
        return
    consequences = {
        "find": f"{find} photos searched and rendered again" if find else "the ledger knows these faces already",
        "wanted": f"{render} photos have faces to render that were not wanted before"
        if render
        else "faces are taken in or left out of those that are found",
        "score": f"{render} photos rendered again, {find or 'none'} searched again"
        if find or render
        else "the ledger knows these crops already",
        "select": "faces are chosen anew, none is scored again",
        "pack": "shards are packed anew from the same crops",
        "source": f"{find} photos searched and rendered" if find else "the ledger knows its photos already",
    }
    lines = settings_changed(before, now)
    for line in lines:
        yield f"{line}: {consequences.get(_part(line), ELSE)}"
    if not REDOING & {_part(line) for line in lines}:
        yield from _without_settings(before, now, find, render)


def _without_settings(before: Mapping[str, Any], now: Mapping[str, Any], find: int, render: int) -> Iterator[str]:
    """Yield what is to do though no setting changed."""
    old, new = before.get("keys", {}), now["keys"]
    device, device_now = (values.get("resolved", {}).get("device") for values in (before, now))
    if device != device_now:
        yield f"device: {device} -> {device_now}: other pixels, so {find + render} photos are done again"
    elif old.get("find") == new["find"] and old.get("photos") != new["photos"]:
        yield f"the source: photos or their attributes are new, changed or gone: {find} photos to search and render"
    elif old == new and find + render:
        yield f"the last build: it left {find + render} photos to do, or they were refused and are tried again"


def _part(line: str) -> str:
    return next((part for part, begins in PARTS.items() if line.startswith(begins)), "")
