"""The photos of a build in the order in which they are worked on: by the sha256 of their ids.

That order is pseudo-random, so that a running threshold sees good and bad photos evenly, and depends on nothing but the
ids: not on workers, chunks, or how a folder was listed. A photo's place in it is its number everywhere in the driver.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt32, UInt64

from hqdata.record import PhotoRef

__all__ = ["PhotoIndex", "order_key"]

KEY_BYTES = 8
PHOTOS_HELD = 1024
"""Each photo is asked for several times in a row."""


def order_key(id: str) -> str:
    """Return the pseudo-random key by which photos are worked on and faces are laid out: independent of everything."""
    return _digest(id).hex()


class PhotoIndex:
    """Numbers for photos, in both directions; 8 bytes a photo beside the photos themselves.

    Args:
        photos: with unique ids, in any order; a `PhotoTable` where there are millions.
    """

    def __init__(self, photos: Sequence[PhotoRef]) -> None:
        self._photos = photos
        keys = np.fromiter((_key(ref.id) for ref in photos), dtype=np.uint64, count=len(photos))
        order = np.argsort(keys, kind="stable")
        self._rows = order.astype(np.uint32)
        self._keys = _first_half(keys[order])
        self._photo = functools.lru_cache(maxsize=PHOTOS_HELD)(self._read)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> PhotoRef:
        """Return the photo with this number, 0 to n - 1."""
        return self._photo(number)

    def _read(self, number: int) -> PhotoRef:
        return self._photos[int(self._rows[number])]

    def find(self, id: str) -> int | None:
        """Return the number of the photo with this id; None where there is none."""
        return self.find_all([id])[0]

    def find_all(self, ids: Sequence[str]) -> list[int | None]:
        """Return the number of each photo as `find` does, in a fraction of the time."""
        keys = _first_half(np.fromiter(map(_key, ids), np.uint64, count=len(ids)))
        return list(map(self._number, ids, keys, np.searchsorted(self._keys, keys).tolist()))

    def _number(self, id: str, key: np.uint32, place: int) -> int | None:
        """Return the number of the photo with this id, of those with the same key, which begin at `place`."""
        while place < len(self) and self._keys[place] == key:
            if self[place].id == id:
                return place
            place += 1
        return None


def _first_half(keys: UInt64[np.ndarray, " n"]) -> UInt32[np.ndarray, " n"]:
    """Four bytes tell nearly all photos apart, and their ids tell the others."""
    return (keys >> np.uint64(32)).astype(np.uint32)


def _key(id: str) -> np.uint64:
    return np.uint64(int.from_bytes(_digest(id)[:KEY_BYTES], "big"))


def _digest(id: str) -> bytes:
    return hashlib.sha256(id.encode("utf-8", "surrogateescape")).digest()
