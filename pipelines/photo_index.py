"""The photos of a build in the order in which they are worked on: by the sha256 of their ids.

That order is pseudo-random, so that a running threshold sees good and bad photos evenly, and depends on nothing but the
ids: not on workers, chunks, or how a folder was listed. A photo's place in it is its number everywhere in the driver.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from hqdata.record import PhotoRef

__all__ = ["PhotoIndex", "order_key"]

KEY_BYTES = 8


def order_key(id: str) -> str:
    """Return the pseudo-random key by which photos are worked on and faces are laid out: independent of everything."""
    return _digest(id).hex()


class PhotoIndex:
    """Numbers for photos, in both directions; 12 bytes a photo beside the photos themselves.

    Args:
        photos: with unique ids, in any order; a `PhotoTable` where there are millions.
    """

    def __init__(self, photos: Sequence[PhotoRef]) -> None:
        self._photos = photos
        keys = np.fromiter((_key(ref.id) for ref in photos), dtype=np.uint64, count=len(photos))
        order = np.argsort(keys, kind="stable")
        self._rows = order.astype(np.uint32)
        self._keys = keys[order]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> PhotoRef:
        """Return the photo with this number, 0 to n - 1."""
        return self._photos[int(self._rows[number])]

    def find(self, id: str) -> int | None:
        """Return the number of the photo with this id; None where there is none."""
        key = _key(id)
        number = int(np.searchsorted(self._keys, key))
        while number < len(self) and self._keys[number] == key:
            if self[number].id == id:
                return number
            number += 1
        return None


def _key(id: str) -> np.uint64:
    return np.uint64(int.from_bytes(_digest(id)[:KEY_BYTES], "big"))


def _digest(id: str) -> bytes:
    return hashlib.sha256(id.encode("utf-8", "surrogateescape")).digest()
