"""Generators of other people's ProGAN code, read without running anything that their files hold."""

from gan.importing.foreign_file import Imported, import_file
from gan.importing.refusal import ForeignFileError

__all__ = ["ForeignFileError", "Imported", "import_file"]
