"""CLIP's image tower against a slow one written from the publication; the real weights cannot be had here."""

import functools
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from oracles.vision_transformer import clip_embedding
from PIL import Image
from skimage import data

from metrics.features import WeightsError, clip_vit, extractor
from metrics.features.clip_vit import PREPARATION, ClipVisionTransformer, renamed

WIDTH, HEADS, DEPTH = 32, 4, 2
SMALL = functools.partial(ClipVisionTransformer, width=WIDTH, heads=HEADS, depth=DEPTH)


def openai_tensors(side: int = 336, features: int = 768) -> dict[str, torch.Tensor]:
    """A small tower under OpenAI's keys, with a tensor of the text tower beside it."""
    shapes = {
        "class_embedding": (WIDTH,),
        "positional_embedding": ((side // 14) ** 2 + 1, WIDTH),
        "proj": (WIDTH, features),
        "conv1.weight": (WIDTH, 3, 14, 14),
        **layer_norm("ln_pre"),
        **layer_norm("ln_post"),
    }
    for block in range(DEPTH):
        name = f"transformer.resblocks.{block}"
        shapes |= {
            f"{name}.attn.in_proj_weight": (3 * WIDTH, WIDTH),
            f"{name}.attn.in_proj_bias": (3 * WIDTH,),
            **linear(f"{name}.attn.out_proj", WIDTH, WIDTH),
            **layer_norm(f"{name}.ln_1"),
            **layer_norm(f"{name}.ln_2"),
            **linear(f"{name}.mlp.c_fc", WIDTH, 4 * WIDTH),
            **linear(f"{name}.mlp.c_proj", 4 * WIDTH, WIDTH),
        }
    generator = torch.Generator().manual_seed(0)
    tower = {f"visual.{key}": torch.randn(shape, generator=generator) / 4 for key, shape in shapes.items()}
    return tower | {"token_embedding.weight": torch.zeros(2, 2)}


def layer_norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


def linear(name: str, given: int, made: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (made, given), f"{name}.bias": (made,)}


def hugging_face_tensors(openai: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same numbers under the keys of `CLIPVisionModelWithProjection`."""
    visual = {key.removeprefix("visual."): value for key, value in openai.items() if key.startswith("visual.")}
    theirs = {
        "visual_projection.weight": visual["proj"].T.contiguous(),
        "vision_model.embeddings.class_embedding": visual["class_embedding"],
        "vision_model.embeddings.position_embedding.weight": visual["positional_embedding"],
        "vision_model.embeddings.patch_embedding.weight": visual["conv1.weight"],
        "vision_model.embeddings.position_ids": torch.arange(577),
    }
    for part in ("weight", "bias"):
        theirs[f"vision_model.pre_layrnorm.{part}"] = visual[f"ln_pre.{part}"]
        theirs[f"vision_model.post_layernorm.{part}"] = visual[f"ln_post.{part}"]
        for block in range(DEPTH):
            old, new = f"transformer.resblocks.{block}", f"vision_model.encoder.layers.{block}"
            stacked = visual[f"{old}.attn.in_proj_{part}"].chunk(3)
            for letter, value in zip("qkv", stacked, strict=True):
                theirs[f"{new}.self_attn.{letter}_proj.{part}"] = value.clone()
            theirs[f"{new}.self_attn.out_proj.{part}"] = visual[f"{old}.attn.out_proj.{part}"]
            theirs[f"{new}.layer_norm1.{part}"] = visual[f"{old}.ln_1.{part}"]
            theirs[f"{new}.layer_norm2.{part}"] = visual[f"{old}.ln_2.{part}"]
            theirs[f"{new}.mlp.fc1.{part}"] = visual[f"{old}.mlp.c_fc.{part}"]
            theirs[f"{new}.mlp.fc2.{part}"] = visual[f"{old}.mlp.c_proj.{part}"]
    return theirs


def test_the_tower_has_as_many_numbers_as_published():
    with torch.device("meta"):
        tower = ClipVisionTransformer()
    assert sum(value.numel() for value in tower.parameters()) == 304_293_888


def test_keys_and_shapes_are_openais():
    with torch.device("meta"):
        tower = SMALL()
    ours = renamed(openai_tensors())
    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in tower.state_dict().items()
    }


def test_the_embedding_is_that_of_the_slow_tower():
    tensors = openai_tensors(side=42, features=5)
    tower = ClipVisionTransformer(side=42, width=WIDTH, heads=HEADS, depth=DEPTH, features=5).eval()
    tower.load_state_dict(renamed(tensors))
    pictures = torch.randn(2, 3, 42, 42, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made = tower(pictures)
    weights = {key.removeprefix("visual."): value.double().numpy() for key, value in tensors.items()}
    wanted = [clip_embedding(picture.double().numpy(), weights, heads=HEADS) for picture in pictures]
    np.testing.assert_allclose(made, np.stack(wanted), rtol=0, atol=1e-5)  # float32 against float64


def test_hugging_faces_names_are_the_same_network():
    openai = openai_tensors()
    ours, theirs = renamed(openai), renamed(hugging_face_tensors(openai))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(theirs[key], value) for key, value in ours.items())


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_openais_archive_is_read_through_the_real_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clip_vit, "ClipVisionTransformer", SMALL)
    torch.jit.script(OpenAi(openai_tensors())).half().save(str(tmp_path / "ViT-L-14-336px.pt"))
    made = extractor("clip-vit-l14-336", weights=tmp_path, sha256="any", device="cpu")
    images = torch.randint(0, 256, (2, 3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    embedding = made.embed(images)
    assert embedding.features.shape == (2, 768)
    assert embedding.logits is None
    torch.testing.assert_close(embedding.features.norm(dim=1), torch.ones(2))
    assert made.distance_name == f"FD-CLIP-{made.sha256[:8]}"
    assert "crop to 336x336 by pillow" in made.protocol


def test_safetensors_are_read_through_the_real_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clip_vit, "ClipVisionTransformer", SMALL)
    safetensors.torch.save_file(hugging_face_tensors(openai_tensors()), tmp_path / "model.safetensors")
    made = extractor("clip-vit-l14-336", weights=tmp_path / "model.safetensors", sha256="any", device="cpu")
    assert made.embed(np.zeros((1, 3, 8, 8), dtype=np.uint8)).features.shape == (1, 768)


def test_another_network_is_refused(tmp_path: Path):
    torch.save(openai_tensors(), tmp_path / "ViT-L-14-336px.pt")
    with pytest.raises(WeightsError, match=r"ViT-L-14-336px\.pt: lacks \d+ of 296 tensors"):
        extractor("clip-vit-l14-336", weights=tmp_path, sha256="any", device="cpu")


def test_pictures_are_prepared_as_cmmds_code_does():
    photo = data.coffee()
    side = min(photo.shape[:2])
    left, top = (photo.shape[1] - side) // 2, (photo.shape[0] - side) // 2
    square = (
        Image.fromarray(photo).crop((left, top, left + side, top + side)).resize((336, 336), Image.Resampling.BICUBIC)
    )
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    wanted = (np.asarray(square) / 255 - np.array(mean)) / np.array(std)
    made = PREPARATION(torch.from_numpy(photo.transpose(2, 0, 1)[None].copy()))[0].permute(1, 2, 0)
    np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-5)


class OpenAi(torch.nn.Module):
    """A module tree whose `state_dict` has the given keys, as the published archive's has."""

    def __init__(self, tensors: dict[str, torch.Tensor]):
        super().__init__()
        for key, value in tensors.items():
            *path, name = key.split(".")
            place = self
            for part in path:
                if not hasattr(place, part):
                    place.add_module(part, torch.nn.Module())
                place = getattr(place, part)
            place.register_parameter(name, torch.nn.Parameter(value))

    def forward(self) -> int:
        return 0
