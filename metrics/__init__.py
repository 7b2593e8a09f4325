"""Distances between pictures and between sets of images; importable alone, knows nothing of the other rooms.

Picture by picture: `psnr`, `ssim` (on `matlab_luma` for published figures) and `perceptual_distance`. Images are uint8
(n, 3, h, w). Torch is imported only with an extractor, such as `metrics.features.efficientnet_lite0`.
"""

from metrics.luma import matlab_luma
from metrics.perceptual import perceptual_distance
from metrics.psnr import psnr
from metrics.ssim import ssim

__all__ = ["matlab_luma", "perceptual_distance", "psnr", "ssim"]
