"""Where photos come from: CelebA in the wild, any folder or bucket of photos, or a demo drawn from one portrait."""

from hqdata.sources.files import read_bytes
from hqdata.sources.opening import open_source
from hqdata.sources.source import Source, SourceError

__all__ = ["Source", "SourceError", "open_source", "read_bytes"]
