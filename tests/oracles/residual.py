"""The residual networks of Miyato et al. 2018 (figure 8, tables 4 and 6), in slow numpy float64, on named weights.

Batch normalisation takes the statistics of the pictures at hand, and projection is that of Miyato and Koyama 2018.
Weights are plain; whoever wants them spectral divides them beforehand. A table of labels holds gamma - 1 and beta.
"""

import numpy as np


def generator(found, latents, labels=None, *, base, blocks):
    """Return pictures (n, c, h, w) after blocks of twice the size each, named in order."""
    maps = _dense(latents, found, "dense").reshape(len(latents), -1, *base)
    for block in blocks:
        values = _relu(_normalised(maps, found, f"{block}.norms.0", labels))
        values = _conv(_enlarged(values), found, f"{block}.convs.0")
        values = _relu(_normalised(values, found, f"{block}.norms.1", labels))
        values = _conv(values, found, f"{block}.convs.1")
        maps = values + _conv(_enlarged(maps), found, f"{block}.shortcut")
    return np.tanh(_conv(_relu(_normalised(maps, found, "norm", labels)), found, "to_pictures"))


def discriminator(found, images, labels=None, *, shrinking, plain):
    """Return scores (n,); the first of the shrinking blocks sees pictures and does not rectify them."""
    maps = images
    for block in [*shrinking, *plain]:
        values = maps if block == shrinking[0] else _relu(maps)
        values = _conv(_relu(_conv(values, found, f"{block}.convs.0")), found, f"{block}.convs.1")
        past = _conv(maps, found, f"{block}.shortcut") if f"{block}.shortcut.weight" in found else maps
        maps = _shrunk(values) + _shrunk(past) if block in shrinking else values + past
    features = _relu(maps).sum(axis=(2, 3))
    scores = _dense(features, found, "score")[:, 0]
    if labels is None:
        return scores
    return scores + np.array(
        [feature @ found["projection.weight"] @ label for feature, label in zip(features, labels, strict=True)]
    )


def _dense(rows, found, name):
    return rows @ found[f"{name}.weight"].T + found[f"{name}.bias"]


def _conv(maps, found, name):
    """Convolve as neural networks do, kernel not turned, zeros outside."""
    weight, bias = found[f"{name}.weight"], found[f"{name}.bias"]
    half = weight.shape[2] // 2
    n, _, h, w = maps.shape
    padded = np.pad(maps, ((0, 0), (0, 0), (half, half), (half, half)))
    out = np.zeros((n, weight.shape[0], h, w)) + bias[:, None, None]
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            out += np.einsum("nchw,oc->nohw", padded[:, :, i : i + h, j : j + w], weight[:, :, i, j])
    return out


def _normalised(maps, found, name, labels):
    """Bring each channel to mean 0 and deviation 1; scale and shift as learned, or as each picture's label asks."""
    out = np.empty_like(maps)
    for channel in range(maps.shape[1]):
        values = maps[:, channel]
        out[:, channel] = (values - values.mean()) / np.sqrt(values.var() + 1e-5)
    if labels is None:
        gamma, beta = found[f"{name}.normalise.weight"], found[f"{name}.normalise.bias"]
        return gamma[:, None, None] * out + beta[:, None, None]
    for picture, label in enumerate(labels):
        row = found[f"{name}.modulation.weight"] @ label + found[f"{name}.modulation.bias"]
        gamma, beta = 1 + row[: maps.shape[1]], row[maps.shape[1] :]
        out[picture] = gamma[:, None, None] * out[picture] + beta[:, None, None]
    return out


def _relu(values):
    return np.maximum(values, 0)


def _enlarged(maps):
    return maps.repeat(2, axis=2).repeat(2, axis=3)


def _shrunk(maps):
    return (maps[:, :, ::2, ::2] + maps[:, :, 1::2, ::2] + maps[:, :, ::2, 1::2] + maps[:, :, 1::2, 1::2]) / 4
