"""Small photo folders for tests: the demo portrait, cut out and reduced at random, in CelebA's layout."""

from pathlib import Path

import cv2
import numpy as np
from skimage import data

from hqdata.sources.demo import PORTRAIT_LANDMARKS


def write_small_celeba(folder: Path, *, num_photos: int, seed: int = 0) -> None:
    """Write `num_photos` JPEGs of some 100 px with their annotations."""
    rng = np.random.default_rng(seed)
    portrait = data.astronaut()
    (folder / "img_celeba").mkdir(parents=True)
    (folder / "Anno").mkdir()
    lines = [
        str(num_photos),
        "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y",
    ]
    for number in range(1, num_photos + 1):
        scale = rng.uniform(0.35, 0.6)
        left, top = rng.uniform(60, 130), rng.uniform(0, 20)
        matrix = np.array([[scale, 0, -scale * left], [0, scale, -scale * top]])
        photo = cv2.warpAffine(portrait, matrix, (110, 120), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101)
        photo = cv2.GaussianBlur(photo, (0, 0), float(rng.uniform(0.1, 1.5)))
        points = np.rint(np.asarray(PORTRAIT_LANDMARKS) @ matrix[:, :2].T + matrix[:, 2]).astype(int)
        name = f"{number:06d}.jpg"
        cv2.imwrite(str(folder / "img_celeba" / name), photo[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
        lines.append(f"{name}  " + "  ".join(map(str, points.ravel())))
    (folder / "Anno" / "list_landmarks_celeba.txt").write_text("\n".join(lines) + "\n")
