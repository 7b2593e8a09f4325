"""Where the faces of a photo are: five points each, from one of several interchangeable providers.

Read `provider` first (the protocol and `open_provider`), then `choose` (which faces of a photo are kept). Providers:
`annotations` hands on what the source knows; `mtcnn` finds faces itself with networks whose weights come with an
installed package. Landmarks are in CelebA's convention throughout: see `hqdata.record`.
"""

from hqdata.landmarks.choose import (
    MIN_FACE_PX,
    choose_faces,
    distinct_faces,
    face_side_px,
    landmark_fault,
    largest_first,
)
from hqdata.landmarks.provider import PROVIDERS, LandmarkProvider, open_provider, to_five_points

__all__ = [
    "MIN_FACE_PX",
    "PROVIDERS",
    "LandmarkProvider",
    "choose_faces",
    "distinct_faces",
    "face_side_px",
    "landmark_fault",
    "largest_first",
    "open_provider",
    "to_five_points",
]
