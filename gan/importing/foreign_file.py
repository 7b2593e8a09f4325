"""One file in, one generator out: which of the known kinds it is, and what to draw with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gan.importing.gan_zoo import read_gan_zoo
from gan.importing.official import read_official
from gan.importing.refusal import ForeignFileError
from gan.zoo.progan import ProGanGenerator

__all__ = ["Imported", "import_file"]

ZIP = b"PK\x03\x04"
OLD_TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
"""How files of torch.save begin, since version 1.6 and before."""
PICKLE = b"\x80"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A generator from elsewhere, to be saved with `gan.checkpoint.save_generator`."""

    generator: ProGanGenerator
    """Averaged where the file holds an average; in eval mode on the CPU."""
    level: int
    fade: float
    """Where its training stood: what it draws well."""
    origin: str
    """Whose code wrote the file."""


def import_file(file: Path) -> Imported:
    """Return the generator of an official ProGAN pickle or of a pytorch_GAN_zoo checkpoint.

    Raises:
        ForeignFileError: when it is neither, is damaged, or asks for anything that networks do not need.
        OSError: when it cannot be read.
    """
    with file.open("rb") as opened:
        start = opened.read(len(OLD_TORCH))
    if start.startswith(ZIP) or start == OLD_TORCH:
        zoo = read_gan_zoo(file)
        return Imported(generator=zoo.generator, level=zoo.level, fade=zoo.fade, origin="pytorch_GAN_zoo")
    if start.startswith(PICKLE):
        official = read_official(file)
        return Imported(
            generator=official.average, level=official.level, fade=official.fade, origin="the authors' TensorFlow code"
        )
    raise ForeignFileError(
        f"{file}: is neither a pickle of the authors' TensorFlow code nor a .pth file of pytorch_GAN_zoo"
    )
