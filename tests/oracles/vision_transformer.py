"""A vision transformer in numpy, float64, one head and one token at a time; weights by the keys of the publishers."""

import math

import numpy as np
from scipy import special

Weights = dict[str, np.ndarray]


def clip_embedding(picture: np.ndarray, weights: Weights, *, heads: int) -> np.ndarray:
    """OpenAI's image tower for one prepared picture (3, h, w), under OpenAI's keys without `visual.`; length one."""
    kernel = weights["conv1.weight"]
    tokens = np.vstack([weights["class_embedding"], _patches(picture, kernel)]) + weights["positional_embedding"]
    tokens = _normalised(tokens, weights, "ln_pre", 1e-5)
    for block in range(_blocks(weights, "transformer.resblocks.")):
        name = f"transformer.resblocks.{block}"
        seen = _normalised(tokens, weights, f"{name}.ln_1", 1e-5)
        stacked = weights[f"{name}.attn.in_proj_weight"], weights[f"{name}.attn.in_proj_bias"]
        tokens = tokens + _linear(_attention(seen, stacked, heads), weights, f"{name}.attn.out_proj")
        wide = _linear(_normalised(tokens, weights, f"{name}.ln_2", 1e-5), weights, f"{name}.mlp.c_fc")
        tokens = tokens + _linear(wide / (1 + np.exp(-1.702 * wide)), weights, f"{name}.mlp.c_proj")
    seen = _normalised(tokens[0], weights, "ln_post", 1e-5) @ weights["proj"]
    return seen / np.sqrt((seen**2).sum())


def dino_embedding(picture: np.ndarray, weights: Weights, *, heads: int, positions: np.ndarray) -> np.ndarray:
    """Meta's class token for one prepared picture (3, h, w); `positions` (t, d) are for its grid."""
    patches = _patches(picture, weights["patch_embed.proj.weight"]) + weights["patch_embed.proj.bias"]
    tokens = np.vstack([weights["cls_token"][0], patches]) + positions
    for block in range(_blocks(weights, "blocks.")):
        name = f"blocks.{block}"
        seen = _normalised(tokens, weights, f"{name}.norm1", 1e-6)
        stacked = weights[f"{name}.attn.qkv.weight"], weights[f"{name}.attn.qkv.bias"]
        mixed = _linear(_attention(seen, stacked, heads), weights, f"{name}.attn.proj")
        tokens = tokens + weights[f"{name}.ls1.gamma"] * mixed
        wide = _linear(_normalised(tokens, weights, f"{name}.norm2", 1e-6), weights, f"{name}.mlp.fc1")
        wide = wide * (1 + special.erf(wide / math.sqrt(2))) / 2
        tokens = tokens + weights[f"{name}.ls2.gamma"] * _linear(wide, weights, f"{name}.mlp.fc2")
    return _normalised(tokens[0], weights, "norm", 1e-6)


def dino_positions(embedding: np.ndarray, grid: int) -> np.ndarray:
    """(1 + grid^2, d) of (1 + m^2, d): Keys' cubic with a = -0.75, without a filter, step m / (grid + 0.1)."""
    trained = math.isqrt(len(embedding) - 1)
    square = embedding[1:].reshape(trained, trained, -1)
    rows = _cubic(square, grid, trained / (grid + 0.1))
    both = _cubic(rows.swapaxes(0, 1), grid, trained / (grid + 0.1)).swapaxes(0, 1)
    return np.vstack([embedding[:1], both.reshape(grid * grid, -1)])


def _cubic(lines: np.ndarray, count: int, step: float) -> np.ndarray:
    made = []
    for target in range(count):
        place = (target + 0.5) * step - 0.5
        low = math.floor(place)
        near = [(position, _keys(place - position)) for position in range(low - 1, low + 3)]
        made.append(sum(weight * lines[min(max(position, 0), len(lines) - 1)] for position, weight in near))
    return np.stack(made)


def _keys(distance: float, a: float = -0.75) -> float:
    x = abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def _patches(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    side = kernel.shape[-1]
    rows = []
    for top in range(0, picture.shape[1], side):
        for left in range(0, picture.shape[2], side):
            patch = picture[:, top : top + side, left : left + side]
            rows += [(kernel * patch).sum(axis=(1, 2, 3))]
    return np.stack(rows)


def _attention(tokens: np.ndarray, stacked: tuple[np.ndarray, np.ndarray], heads: int) -> np.ndarray:
    queries, keys, values = np.split(tokens @ stacked[0].T + stacked[1], 3, axis=1)
    width = queries.shape[1] // heads
    mixed = np.zeros_like(queries)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for token in range(len(tokens)):
            scores = np.exp(keys[:, part] @ queries[token, part] / math.sqrt(width))
            mixed[token, part] = (scores / scores.sum()) @ values[:, part]
    return mixed


def _normalised(tokens: np.ndarray, weights: Weights, name: str, epsilon: float) -> np.ndarray:
    centred = tokens - tokens.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    return centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _linear(tokens: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return tokens @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _blocks(weights: Weights, prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[0] for key in weights if key.startswith(prefix)})
