"""ProGAN as its authors' TensorFlow code computes it, in slow numpy float64, on variables named and laid out as there.

Written from a description of that code: weights (height, width, in, out), scaled at run time; enlarging layers are
transposed convolutions with kernels (height, width, out, in), here scattered tap by tap as their definition says;
pictures always have the full resolution, and "lod" says how far from it the training stands.
"""

import numpy as np

SLOPE = 0.2
GAIN = np.sqrt(2)


def variables(rng, *, kind, resolution, maps, latent=16, labels=0, channels=3, fused=True):
    """Return random variables of a whole network: `maps` gives feature maps by level."""
    last = resolution.bit_length() - 1
    found = {"lod": np.float32(0.0)}

    def layer(name, *shape, biases):
        found[f"{name}/weight"] = rng.standard_normal(shape).astype(np.float32)
        found[f"{name}/bias"] = rng.standard_normal(biases).astype(np.float32)

    if kind == "G":
        layer("4x4/Dense", latent + labels, maps[2] * 16, biases=maps[2])
        layer("4x4/Conv", 3, 3, maps[2], maps[2], biases=maps[2])
        for level in range(3, last + 1):
            side, few, many = f"{1 << level}x{1 << level}", maps[level], maps[level - 1]
            if fused:
                layer(f"{side}/Conv0_up", 3, 3, few, many, biases=few)
            else:
                layer(f"{side}/Conv0", 3, 3, many, few, biases=few)
            layer(f"{side}/Conv1", 3, 3, few, few, biases=few)
        for level in range(2, last + 1):
            layer(f"ToRGB_lod{last - level}", 1, 1, maps[level], channels, biases=channels)
    else:
        for level in range(2, last + 1):
            layer(f"FromRGB_lod{last - level}", 1, 1, channels, maps[level], biases=maps[level])
        for level in range(last, 2, -1):
            side, few, many = f"{1 << level}x{1 << level}", maps[level], maps[level - 1]
            layer(f"{side}/Conv0", 3, 3, few, few, biases=few)
            layer(f"{side}/Conv1_down" if fused else f"{side}/Conv1", 3, 3, few, many, biases=many)
        layer("4x4/Conv", 3, 3, maps[2] + 1, maps[2], biases=maps[2])
        layer("4x4/Dense0", maps[2] * 16, maps[2], biases=maps[2])
        layer("4x4/Dense1", maps[2], 1 + labels, biases=1 + labels)
    return found


def generator(found, latents, labels=None, *, fused=True, wscale=True):
    """Return pictures (n, c, resolution, resolution)."""
    last, lod = _last(found, "ToRGB_lod"), float(found["lod"])
    rows = latents if labels is None else np.concatenate([latents, labels], axis=1)
    rows = _pixel_norm(rows.astype(np.float64))
    weight = _scaled(found, "4x4/Dense", np.sqrt(2) / 4, wscale)
    maps = (rows @ weight).reshape(len(rows), -1, 4, 4)
    maps = _pixel_norm(_leaky(_biased(maps, found, "4x4/Dense")))
    maps = _pixel_norm(_leaky(_conv(maps, found, "4x4/Conv", wscale=wscale)))
    pictures = _conv(maps, found, f"ToRGB_lod{last - 2}", gain=1.0, wscale=wscale)
    for level in range(3, last + 1):
        side, behind = f"{1 << level}x{1 << level}", last - level
        if fused:
            maps = _biased(
                _transposed(maps, _four_shifts(_scaled_up(found, f"{side}/Conv0_up", wscale))),
                found,
                f"{side}/Conv0_up",
            )
        else:
            maps = _conv(_enlarged(maps), found, f"{side}/Conv0", wscale=wscale)
        maps = _pixel_norm(_leaky(maps))
        maps = _pixel_norm(_leaky(_conv(maps, found, f"{side}/Conv1", wscale=wscale)))
        new = _conv(maps, found, f"ToRGB_lod{behind}", gain=1.0, wscale=wscale)
        old_share = min(max(lod - behind, 0.0), 1.0)
        pictures = new + (_enlarged(pictures) - new) * old_share
    return pictures


def discriminator(found, images, *, fused=True, group=4, wscale=True):
    """Return scores and label logits in one array (n, 1 + labels)."""
    last, lod = _last(found, "FromRGB_lod"), float(found["lod"])
    images = images.astype(np.float64)
    maps = _leaky(_conv(images, found, "FromRGB_lod0", wscale=wscale))
    for level in range(last, 2, -1):
        side, behind = f"{1 << level}x{1 << level}", last - level
        maps = _leaky(_conv(maps, found, f"{side}/Conv0", wscale=wscale))
        if fused:
            kernel = _four_shifts(_scaled(found, f"{side}/Conv1_down", np.sqrt(2), wscale)) / 4
            maps = _leaky(_biased(_strided(maps, kernel), found, f"{side}/Conv1_down"))
        else:
            maps = _shrunk(_leaky(_conv(maps, found, f"{side}/Conv1", wscale=wscale)))
        images = _shrunk(images)
        old = _leaky(_conv(images, found, f"FromRGB_lod{behind + 1}", wscale=wscale))
        maps = maps + (old - maps) * min(max(lod - behind, 0.0), 1.0)
    maps = _leaky(_conv(_with_stddev(maps, group), found, "4x4/Conv", wscale=wscale))
    rows = maps.reshape(len(maps), -1) @ _scaled(found, "4x4/Dense0", np.sqrt(2), wscale)
    rows = _leaky(rows + found["4x4/Dense0/bias"])
    return rows @ _scaled(found, "4x4/Dense1", 1.0, wscale) + found["4x4/Dense1/bias"]


def _last(found, prefix):
    return 1 + sum(name.startswith(prefix) and name.endswith("weight") for name in found)


def _scaled(found, name, gain, wscale):
    """Return a weight times gain / sqrt(fan in), where the last axis is the outputs'."""
    weight = found[f"{name}/weight"].astype(np.float64)
    return weight * (gain / np.sqrt(np.prod(weight.shape[:-1]))) if wscale else weight


def _scaled_up(found, name, wscale):
    """Return the weight of a transposed convolution, where the last axis is the inputs'."""
    weight = found[f"{name}/weight"].astype(np.float64)
    return weight * (np.sqrt(2) / np.sqrt(9 * weight.shape[3])) if wscale else weight


def _biased(maps, found, name):
    return maps + found[f"{name}/bias"].reshape(1, -1, 1, 1)


def _conv(maps, found, name, *, gain=GAIN, wscale):
    """Convolve as neural networks do, kernel not turned, zeros outside."""
    weight = _scaled(found, name, gain, wscale)
    half = weight.shape[0] // 2
    n, _, h, w = maps.shape
    padded = np.pad(maps, ((0, 0), (0, 0), (half, half), (half, half)))
    out = np.zeros((n, weight.shape[3], h, w))
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            out += np.einsum("nchw,co->nohw", padded[:, :, i : i + h, j : j + w], weight[i, j])
    return _biased(out, found, name)


def _four_shifts(weight):
    big = np.zeros((4, 4, *weight.shape[2:]))
    for i in range(2):
        for j in range(2):
            big[i : i + 3, j : j + 3] += weight
    return big


def _transposed(maps, weight):
    """Transpose the convolution of stride 2 with 4 x 4 taps and one zero outside: input (y, x) adds its value times
    tap (i, j) to output (2 y + i - 1, 2 x + j - 1)."""
    n, _, h, w = maps.shape
    out = np.zeros((n, weight.shape[2], 2 * h, 2 * w))
    for y in range(h):
        for x in range(w):
            for i in range(4):
                for j in range(4):
                    row, column = 2 * y + i - 1, 2 * x + j - 1
                    if 0 <= row < 2 * h and 0 <= column < 2 * w:
                        out[:, :, row, column] += maps[:, :, y, x] @ weight[i, j].T
    return out


def _strided(maps, weight):
    """Convolve with 4 x 4 taps at every second pixel, one zero outside."""
    n, _, h, w = maps.shape
    padded = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros((n, weight.shape[3], h // 2, w // 2))
    for i in range(4):
        for j in range(4):
            out += np.einsum(
                "nchw,co->nohw", padded[:, :, i : i + h : 2, j : j + w : 2][:, :, : h // 2, : w // 2], weight[i, j]
            )
    return out


def _with_stddev(maps, group):
    n, _, h, w = maps.shape
    group = min(group, n)
    statistic = np.zeros((n, 1, h, w))
    for first in range(n // group):
        members = [first + step * (n // group) for step in range(group)]
        statistic[members] = np.sqrt(maps[members].var(axis=0) + 1e-8).mean()
    return np.concatenate([maps, statistic], axis=1)


def _pixel_norm(values):
    return values / np.sqrt(np.square(values).mean(axis=1, keepdims=True) + 1e-8)


def _leaky(values):
    return np.maximum(values, SLOPE * values)


def _enlarged(maps):
    return maps.repeat(2, axis=2).repeat(2, axis=3)


def _shrunk(maps):
    return (maps[:, :, ::2, ::2] + maps[:, :, 1::2, ::2] + maps[:, :, ::2, 1::2] + maps[:, :, 1::2, 1::2]) / 4
