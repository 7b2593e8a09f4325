"""Any folder of photos, local or remote, read recursively."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hqdata.sources.files import absolute_root, list_files
from hqdata.sources.photo_table import PhotoTable
from hqdata.sources.source import Source, SourceError

__all__ = ["EXTENSIONS", "open_photos"]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


def open_photos(root: str, *, storage_options: Mapping[str, Any] | None = None) -> Source:
    """Return every JPEG, PNG, WebP and TIFF below `root`, told by their extensions; a photo's id is its path.

    Raises:
        SourceError: if there is no such folder, it cannot be listed, or it holds no photos.
    """
    root = absolute_root(root)
    photos = PhotoTable.of(list_files(root, extensions=EXTENSIONS, storage_options=storage_options))
    if not photos:
        raise SourceError(f"{root}: no photos found, looked for {', '.join(EXTENSIONS)} in it and below")
    return Source(kind="photos", root=root, photos=photos)
