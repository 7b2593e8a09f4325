"""A network, its weights and its preparation of pictures, run in batches: every extractor of this room is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from metrics.arrays import ArrayLike, checked_images
from metrics.features.interface import Embedding
from metrics.features.preparation import Preparation
from metrics.features.weight_files import Weights

__all__ = ["NetworkExtractor", "Precision", "Running", "chosen_device"]

Precision: TypeAlias = Literal["float32", "bfloat16"]
BATCHES = {"cpu": 16, "cuda": 256}
"""Pictures run at a time: on a CPU what fits its caches, on a GPU what fills it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Where and how a network runs."""

    device: str = "auto"
    """As torch names it; "auto" takes the GPU where there is one."""
    precision: Precision = "float32"
    """bfloat16 is about twice as fast, and moves features: by 0.4 % in Inception, by 9 % in EfficientNet-Lite0."""
    compile: bool = False
    """Whether torch.compile makes code of it: a minute of waiting, meant for GPUs; on a CPU it gained nothing."""

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be 'float32' or 'bfloat16', got {self.precision!r}")

    @property
    def dtype(self) -> torch.dtype:
        """The precision as torch knows it."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def placed(self, module: nn.Module) -> Callable[[Tensor], object]:
        """Return the network on the device, in the precision, channels last, and compiled if it shall be."""
        module = module.eval().to(device=self.device, dtype=self.dtype)
        ready = module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return torch.compile(ready, dynamic=False) if self.compile else ready

    def describe(self) -> str:
        """Return what of it changes results."""
        return f"{self.precision}, compiled" if self.compile else self.precision


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkExtractor:
    """A `FeatureExtractor`; made by `metrics.features.extractor`."""

    module: Callable[[Tensor], object]
    """In eval mode on `device`; gives features, or features and logits."""
    preparation: Preparation
    running: Running
    """Its device is a real one, never "auto"."""
    name: str
    width: int
    sha256: str
    protocol: str
    distance_name: str
    ddof: int = 1

    @classmethod
    def of_weights(
        cls,
        module: nn.Module,
        read: Weights,
        *,
        preparation: Preparation,
        running: Running,
        name: str,
        width: int,
        layer: str,
        distance_name: str,
        other_name: str | None = None,
    ) -> NetworkExtractor:
        """Return the extractor of one of our own networks with a single protocol.

        Args:
            module: with its weights.
            read: the weights file that they are from.
            preparation: of pictures.
            running: where and how; its device is a real one.
            name: of the network.
            width: features of a picture.
            layer: whose output they are, for the protocol.
            distance_name: of a Frechet distance over them with the published weights.
            other_name: with other weights, before the beginning of their hash; None is `distance_name`.
        """
        return cls(
            module=running.placed(module),
            preparation=preparation,
            running=running,
            name=name,
            width=width,
            sha256=read.sha256,
            protocol=f"{name}: {preparation.describe()}, layer {layer}, ddof 1, {running.describe()}",
            distance_name=distance_name if read.published else f"{other_name or distance_name}-{read.sha256[:8]}",
        )

    @property
    def device(self) -> str:
        """As torch names it; where rows come out."""
        return self.running.device

    def embed(self, images: UInt8[ArrayLike, "n 3 h w"]) -> Embedding:
        """Return features and logits of pictures of any one size; row i depends on picture i alone (to rounding).

        Raises:
            TypeError: when the images are not uint8.
            ValueError: when they have another shape than (n, 3, h, w), or the network gives other rows than declared.
        """
        pictures = checked_images("images", images)
        features, logits = [], []
        with torch.no_grad(), _exact_float32(self.device):
            for batch in self._batches(pictures):
                rows, scores = _both(self.module(batch.to(self.running.dtype)))
                features.append(self._checked(rows, len(batch)))
                logits.append(scores)
        wanted = [scores for scores in logits if scores is not None]
        return Embedding(
            features=torch.cat(features)[: len(pictures)],
            logits=torch.cat(wanted)[: len(pictures)].float() if wanted else None,
        )

    def stages(self, images: UInt8[ArrayLike, "n 3 h w"]) -> list[Float32[Tensor, "n c i j"]]:
        """Return the maps after each of the network's stages, at the pictures' own size; see `perceptual_distance`.

        Raises:
            TypeError: when the images are not uint8, or the network has no stages.
            ValueError: when they have another shape than (n, 3, h, w), or are too small for the network.
        """
        stages: Callable[[Tensor], list[Tensor]] | None = getattr(self.module, "stages", None)
        if stages is None:
            raise TypeError(f"{self.name} has no stages to compare place by place; use squeezenet1.1")
        pictures = checked_images("images", images).to(self.device)
        with torch.no_grad(), _exact_float32(self.device):
            prepared = (self.preparation.normalised(picture.float()[None]) for picture in pictures)
            parts = [stages(picture.to(self.running.dtype)) for picture in prepared]
        return [torch.cat(maps).float() for maps in zip(*parts, strict=True)]

    def _batches(self, pictures: UInt8[Tensor, "n 3 h w"]) -> Iterator[Float32[Tensor, "b 3 s s"]]:
        """Yield prepared batches; a compiled network gets full ones alone, so that it is compiled once."""
        size = BATCHES.get(torch.device(self.device).type, BATCHES["cpu"])
        for start in range(0, len(pictures), size):
            batch = pictures[start : start + size].to(self.device, non_blocking=True)
            if self.running.compile and len(batch) < size:
                batch = torch.cat([batch, batch.new_zeros(size - len(batch), *batch.shape[1:])])
            yield self.preparation(batch)

    def _checked(self, rows: Tensor, count: int) -> Float32[Tensor, "b d"]:
        if rows.shape != (count, self.width):
            raise ValueError(
                f"{self.name} must give rows of shape ({count}, {self.width}), got {tuple(rows.shape)}; declare the"
                " width that the network has, and average or flatten maps"
            )
        return rows.float()


def chosen_device(device: str) -> str:
    """Return the device that "auto" means here, or the one given, which must exist.

    Raises:
        ValueError: when torch does not know such a device, or sees none of its kind.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device must be 'auto' or a device of torch such as 'cpu' or 'cuda:0', got {device!r}"
        ) from error
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for, but torch sees no CUDA device; use 'auto' or 'cpu'")
    return str(wanted)


@contextmanager
def _exact_float32(device: str) -> Iterator[None]:
    """Make float32 mean float32: cuDNN rounds convolutions' inputs to 10 bits unless told, matmul where it was told.

    Autocast, in which training loops call, would run the network in half precision.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with exact, torch.autocast(torch.device(device).type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _both(result: object) -> tuple[Tensor, Tensor | None]:
    if isinstance(result, Tensor):
        return result, None
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Tensor):
        return result
    raise ValueError(
        f"the network must give a tensor of features, or a tuple of features and logits, got {type(result).__name__}"
    )
