"""The recipe's random choices are the ones that the shipped weights were trained with.

Each digest is of the state that the random generator is left in: any choice added, dropped or moved changes it, and no
version of a codec does.
"""

import hashlib

import numpy as np
import pytest
from training_photos import write_patterns

import hqdata.restore.train as restoring
import hqdata.upscale.train as upscaling
from hqdata.png import encode_png
from hqdata.training.patches import CANDIDATES, PhotoPool
from hqdata.training.schedule import cosine_rate


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return PhotoPool(write_patterns(tmp_path_factory.mktemp("draws") / "photos"))


def state_digest(rng):
    return hashlib.sha256(str(rng.bit_generator.state["state"]["state"]).encode()).hexdigest()[:16]


@pytest.mark.parametrize(("seed", "digest"), [(0, "ac2a5a99c43a3ff7"), (1, "34417550c158d5bc")])
def test_a_step_draws_the_same_patch_as_ever(pool, seed, digest):
    patch = pool.draw(64, np.random.default_rng([seed, 1600]))
    assert hashlib.sha256(str(patch.shape).encode() + patch.tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize(
    ("images", "digest"),
    [(0, "dcf73085cd9c7484"), (16, "9b7e3376f197cce9"), (1600, "e0d168ad6866f789")],
)
def test_the_restorer_draws_the_same_damage_as_ever(pool, images, digest):
    rng = np.random.default_rng([0, images])
    for _ in range(16):
        restoring._draw(pool, 64, rng)
    assert state_digest(rng) == digest


@pytest.mark.parametrize(
    ("images", "damage", "digest"),
    [
        (0, upscaling._draw, "b694928eccb0c180"),
        (8, upscaling._draw, "bc5a59843627c2c5"),
        (3200, upscaling._draw_damaged, "d688fd5411bad879"),
    ],
)
def test_the_upscaler_draws_the_same_damage_as_ever(pool, images, damage, digest):
    rng = np.random.default_rng([0, images])
    assert (rng.random() < upscaling.Settings().restored_share) == (damage is upscaling._draw_damaged)
    for _ in range(8):
        damage(pool, 96, rng)
    assert state_digest(rng) == digest


def test_the_rate_rises_then_falls_to_a_hundredth():
    rates = [cosine_rate(images, 1000, 1.0) for images in range(0, 1001, 10)]
    assert rates[0] < 0.05
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert rates[-1] == pytest.approx(0.01)
    assert rates[1:] == sorted(rates[1:], reverse=True)


def test_photos_that_are_too_small_for_a_patch_are_left_out_by_name(tmp_path, caplog):
    from PIL import Image

    folder = write_patterns(tmp_path / "photos")
    Image.new("RGB", (50, 400)).save(folder / "narrow.png")
    assert set(PhotoPool(folder, least_side=64).photos) == {"0.png", "1.png"}
    assert "narrow.png" in caplog.text


def test_a_folder_without_large_enough_photos_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no \.png with sides of at least 500"):
        PhotoPool(write_patterns(tmp_path / "photos"), least_side=500)


def test_a_detailed_patch_is_the_busiest_of_those_drawn(tmp_path):
    busy = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name, image in (("busy", busy), ("flat", np.full((64, 64, 3), 100, np.uint8))):
        (tmp_path / f"{name}.png").write_bytes(encode_png(image))
    pool, rng = PhotoPool(tmp_path), np.random.default_rng(1)
    is_flat = [len(np.unique(pool.draw_detailed(32, rng))) == 1 for _ in range(1000)]
    assert np.mean(is_flat) == pytest.approx(0.5**CANDIDATES, abs=0.02)  # all candidates came from the flat photo
