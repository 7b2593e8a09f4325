"""Picture files, wherever their bytes come from: decoded by threads ahead of need, in order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import ImageFile
from torch import Tensor

from metrics.sources.batches import Block
from metrics.sources.conversion import Tally
from metrics.sources.decoding import PictureFacts, UnreadablePicture, decode, describe
from metrics.sources.options import Options
from metrics.sources.ordered import in_order
from metrics.sources.summary import Summary, of_files, same_content

__all__ = ["EncodedPictures"]

AHEAD_BYTES = 256 * 2**20
"""Decoded pictures that may wait, judged by the first one's size."""
CUT_FILES_PASS = (
    "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on in this process, so files that are cut off are read with grey parts"
    " instead of being refused; switch it off"
)


class EncodedPictures:
    """Files in a folder, an archive or a table."""

    def __init__(
        self,
        *,
        name: str,
        labels: Sequence[str],
        read: Callable[[int], bytes],
        options: Options,
        notes: Sequence[str] = (),
    ) -> None:
        """Take what is there.

        Args:
            name: the source's, for messages.
            labels: what to call each picture, in the source's order.
            read: from an index to a file's bytes; called from several threads.
            options: how many decoders work at the same time, and whether to leave out what cannot be decoded.
            notes: what was noticed while the files were listed.
        """
        self.name = name
        self.tally = Tally()  # nothing: the files themselves tell
        self.count: int | None = len(labels)
        self._labels = [_printable(label) for label in labels]
        self._read = read
        self._num_threads = options.num_threads
        self._skip_unreadable = options.skip_unreadable
        self._notes = notes
        self._facts: dict[int, PictureFacts] = {}
        self._digests: dict[int, bytes] = {}
        self._unreadable: dict[int, str] = {}

    def label(self, index: int) -> str:
        """Return the file's name within the source."""
        return self._labels[index]

    def blocks(self, chosen: Sequence[int], *, size: int) -> Iterator[Block]:
        """Yield one picture at a time.

        Raises:
            UnreadablePicture: in its turn, naming the file, unless such pictures are to be skipped.
        """
        ahead = self._ahead(chosen[0], size)
        decoded = in_order(self._decoded, chosen, num_threads=self._num_threads, ahead=ahead)
        for place, images in enumerate(decoded):
            if images is not None:
                yield place, images

    def digests(self, chosen: Sequence[int]) -> list[bytes]:
        """Return the sha256 of each file's bytes, also of those that cannot be decoded."""
        self._examine(chosen)
        return [self._digests.get(index, b"unreadable") for index in chosen]

    def summary(self, chosen: Sequence[int]) -> Summary:
        """Return what headers and bytes tell, and which files were skipped."""
        self._examine(chosen)
        readable = [index for index in chosen if index in self._facts and index not in self._unreadable]
        labels, facts = [self._labels[i] for i in readable], [self._facts[i] for i in readable]
        found = of_files(self.name, labels, facts)
        copies = same_content(self.name, labels, [self._digests[i] for i in readable])
        skipped = self._skipped([index for index in chosen if index in self._unreadable])
        cut = [f"{self.name}: {CUT_FILES_PASS}"] if ImageFile.LOAD_TRUNCATED_IMAGES else []
        return replace(found, notes=(*self._notes, *cut, *skipped, *found.notes, *copies))

    def _decoded(self, index: int) -> UInt8[Tensor, "1 3 h w"] | None:
        try:
            image, self._facts[index] = decode(self._bytes(index))
        except UnreadablePicture as error:
            return self._refused(index, error)
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]

    def _examine(self, chosen: Sequence[int]) -> None:
        """Read those of the chosen files that nothing is known of."""
        unknown = [index for index in chosen if index not in self._digests and index not in self._unreadable]
        for _ in in_order(self._described, unknown, num_threads=self._num_threads, ahead=4 * self._num_threads):
            pass

    def _described(self, index: int) -> None:
        try:
            self._facts[index] = describe(self._bytes(index))
        except UnreadablePicture as error:
            self._refused(index, error)

    def _bytes(self, index: int) -> bytes:
        try:
            data = self._read(index)
        except OSError as error:
            raise UnreadablePicture(f"it cannot be read: {error.strerror or error}") from error
        self._digests[index] = hashlib.sha256(data).digest()
        return data

    def _refused(self, index: int, error: UnreadablePicture) -> None:
        if not self._skip_unreadable:
            raise UnreadablePicture(
                f"{self.name}: {self._labels[index]}: {error}; mend or remove it, or leave such files out with"
                " skip_unreadable=True"
            ) from error
        self._unreadable[index] = str(error)

    def _skipped(self, indices: Sequence[int]) -> list[str]:
        if not indices:
            return []
        label, reason = self._labels[indices[0]], self._unreadable[indices[0]]
        return [f"{self.name}: {len(indices)} unreadable files were left out (first {label}: {reason})"]

    def _ahead(self, index: int, size: int) -> int:
        """Return how many pictures may wait: two batches, or what fits in the memory set aside."""
        try:
            height, width = describe(self._bytes(index)).size
        except UnreadablePicture:
            return self._num_threads
        return max(self._num_threads, min(2 * size, AHEAD_BYTES // (3 * height * width)))


def _printable(label: str) -> str:
    """Return a name as any terminal and file of text can hold it: bytes that are no text and control signs escaped."""
    if label.isprintable():
        return label
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in label)
