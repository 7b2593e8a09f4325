"""Where pictures to be measured come from: folders, archives, arrays, data sets, generators and run folders.

`open_source` makes an `ImageSource` of any of them; what it tells about storage is compared by `contrast`.
"""

from metrics.sources.batches import RESIZE_METHOD, Batch, MixedBatch, SizeGroup
from metrics.sources.decoding import UnreadablePicture
from metrics.sources.opening import open_source
from metrics.sources.source import ImageSource, MixedSizes, NoPictures
from metrics.sources.summary import Summary, contrast

__all__ = [
    "RESIZE_METHOD",
    "Batch",
    "ImageSource",
    "MixedBatch",
    "MixedSizes",
    "NoPictures",
    "SizeGroup",
    "Summary",
    "UnreadablePicture",
    "contrast",
    "open_source",
]
