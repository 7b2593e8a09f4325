"""DINOv2 against a slow one written from the publication; the real weights cannot be had here."""

from pathlib import Path

import numpy as np
import pytest
import torch
from oracles.vision_transformer import dino_embedding, dino_positions
from PIL import Image
from skimage import data

from metrics.features import WeightsError, extractor
from metrics.features.dinov2 import NAMES, PREPARATION, DinoVisionTransformer, renamed

SMALL = {"width": 32, "heads": 4, "depth": 2}


def random_network(**size: int) -> DinoVisionTransformer:
    generator = torch.Generator().manual_seed(0)
    network = DinoVisionTransformer(**size).eval()
    for parameter in network.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    return network


def in_numpy(network: DinoVisionTransformer) -> dict[str, np.ndarray]:
    return {key: value.double().numpy() for key, value in network.state_dict().items()}


@pytest.mark.parametrize(
    ("width", "heads", "depth", "published"),
    [(384, 6, 12, 22_056_576), (768, 12, 12, 86_580_480), (1024, 16, 24, 304_368_640)],
)
def test_networks_have_as_many_numbers_as_published(width: int, heads: int, depth: int, published: int):
    with torch.device("meta"):
        network = DinoVisionTransformer(width=width, heads=heads, depth=depth)
    assert sum(value.numel() for value in network.parameters()) == published


def test_keys_are_metas():
    block = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"]
    wanted = {"cls_token", "pos_embed", "mask_token", "blocks.0.ls1.gamma", "blocks.0.ls2.gamma"}
    wanted |= {f"{name}.{part}" for name in ("patch_embed.proj", "norm") for part in ("weight", "bias")}
    wanted |= {f"blocks.0.{name}.{part}" for name in block for part in ("weight", "bias")}
    network = DinoVisionTransformer(width=32, heads=4, depth=1)
    assert set(network.state_dict()) == wanted
    assert network.pos_embed.shape == (1, 1370, 32)


@pytest.mark.parametrize("grid", [1, 3, 16, 40])
def test_positions_are_resampled_as_metas_code_does(grid: int):
    network = random_network(**SMALL)
    with torch.no_grad():
        made = network.positions(grid)[0]
    wanted = dino_positions(network.pos_embed[0].detach().double().numpy(), grid)
    np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-4)  # places in float32


def test_positions_of_the_trained_grid_stay():
    network = random_network(**SMALL)
    assert torch.equal(network.positions(37), network.pos_embed)


def test_the_embedding_is_that_of_the_slow_network():
    network = random_network(**SMALL)
    pictures = torch.randn(2, 3, 42, 42, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made, positions = network(pictures), network.positions(3)[0].double().numpy()
    weights = in_numpy(network)
    wanted = [dino_embedding(picture.double().numpy(), weights, heads=4, positions=positions) for picture in pictures]
    np.testing.assert_allclose(made, np.stack(wanted), rtol=0, atol=1e-5)  # float32 against float64


def hugging_face_tensors(meta: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same numbers under the keys of `Dinov2Model`."""
    theirs = {
        "embeddings.cls_token": meta["cls_token"],
        "embeddings.mask_token": meta["mask_token"],
        "embeddings.position_embeddings": meta["pos_embed"],
    }
    for part in ("weight", "bias"):
        theirs[f"embeddings.patch_embeddings.projection.{part}"] = meta[f"patch_embed.proj.{part}"]
        theirs[f"layernorm.{part}"] = meta[f"norm.{part}"]
        for block in range(SMALL["depth"]):
            old, new = f"blocks.{block}", f"encoder.layer.{block}"
            stacked = meta[f"{old}.attn.qkv.{part}"].chunk(3)
            for name, value in zip(("query", "key", "value"), stacked, strict=True):
                theirs[f"{new}.attention.attention.{name}.{part}"] = value
            theirs[f"{new}.attention.output.dense.{part}"] = meta[f"{old}.attn.proj.{part}"]
            for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                theirs[f"{new}.{name}.{part}"] = meta[f"{old}.{name}.{part}"]
    for block in range(SMALL["depth"]):
        theirs[f"encoder.layer.{block}.layer_scale1.lambda1"] = meta[f"blocks.{block}.ls1.gamma"]
        theirs[f"encoder.layer.{block}.layer_scale2.lambda1"] = meta[f"blocks.{block}.ls2.gamma"]
    return theirs


def test_hugging_faces_names_are_the_same_network():
    meta = random_network(**SMALL).state_dict()
    ours = renamed(hugging_face_tensors(meta))
    assert ours.keys() == meta.keys()
    assert all(torch.equal(ours[key], value) for key, value in meta.items())


def test_a_small_network_is_read_through_the_real_path(tmp_path: Path):
    torch.save(random_network(width=384, heads=6, depth=12).state_dict(), tmp_path / "dinov2_vits14_pretrain.pth")
    made = extractor("dinov2-vits14", weights=tmp_path, sha256="any", device="cpu")
    images = torch.randint(0, 256, (2, 3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    together, alone = made.embed(images), made.embed(images[1:])
    assert together.features.shape == (2, 384)
    assert together.logits is None
    torch.testing.assert_close(together.features[1:], alone.features, rtol=1e-4, atol=1e-4)
    assert made.distance_name == f"FD-dinov2-vits14-{made.sha256[:8]}"
    assert "squeeze to 224x224 by pillow" in made.protocol


@pytest.mark.parametrize("name", NAMES)
def test_networks_with_registers_or_of_another_size_are_refused(name: str, tmp_path: Path):
    tensors = random_network(**SMALL).state_dict() | {"register_tokens": torch.zeros(1, 4, 32)}
    torch.save(tensors, tmp_path / f"{name.replace('-', '_')}_pretrain.pth")
    with pytest.raises(WeightsError, match=r"pretrain\.pth: (lacks|holds)"):
        extractor(name, weights=tmp_path, sha256="any", device="cpu")


def test_pictures_are_prepared_as_stein_et_al_do():
    photo = data.coffee()
    squeezed = Image.fromarray(photo).resize((224, 224), Image.Resampling.BICUBIC)
    wanted = (np.asarray(squeezed) / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    made = PREPARATION(torch.from_numpy(photo.transpose(2, 0, 1)[None].copy()))[0].permute(1, 2, 0)
    np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-5)
