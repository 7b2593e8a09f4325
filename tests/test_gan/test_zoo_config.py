"""Settings go with their architecture, and a plan with its networks; what does not is refused by the setting's name."""

import json
import re
from typing import Any

import numpy as np
import pytest
from small_gan import CPU, small_pictures
from small_zoo import GAMES, STILL, zoo_config

from gan.config import PRESETS, gan_config_from_dict, load_gan_config
from gan.devices import DEVICES
from gan.pictures import ArrayPictures
from gan.plan import plan, plan_lines
from gan.processes import Processes
from gan.trainer import Trainer, check_pictures
from gan.zoo import usual_shape
from hqdata.settings import ConfigError
from pipelines.train_generator import TrainSettings

H200 = DEVICES["h200"]
NO_PENALTY = {"penalty": "none"}
CUT_DOWN = ("networks.most_maps=8", "networks.map_budget=64", "networks.latent=8", "schedule.minibatch_at={}")
SIZES = {
    "dcgan-64": (64, ["64"]),
    "sngan-32": (32, ["32"]),
    "style-1024": (32, ["8", "16", "32"]),
    "mnist-cpu": (32, ["4", "8", "16", "32"]),
}
"""By preset: what its pictures are cut down to, and the levels that its training then goes through."""


@pytest.mark.parametrize("name", GAMES)
def test_loading_a_dumped_config_is_the_identity(name: str):
    config = zoo_config(name)
    assert gan_config_from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("architecture", "setting", "value", "owners"),
    [
        ("dcgan", "attention", 8, "sagan"),
        ("dcgan", "stddev_group", 8, "progan, style"),
        ("dcgan", "mapping_layers", 4, "style"),
        ("resnet", "attention", 8, "sagan"),
        ("resnet", "modulation_width", 64, "selfmod"),
        ("resnet", "scaling", "separate", "progan"),
        ("selfmod", "stddev_group", 8, "progan, style"),
        ("selfmod", "first_bias", "pixel", "progan"),
        ("sagan", "modulation_width", 64, "selfmod"),
        ("style", "discriminator_norm", "spectral", "dcgan, resnet, selfmod, sagan"),
        ("style", "discriminator_maps", 16, "dcgan, resnet, selfmod, sagan"),
        ("style", "scaling", "separate", "progan"),
        ("progan", "discriminator_maps", 16, "dcgan, resnet, selfmod, sagan"),
        ("progan", "mapping_layers", 4, "style"),
    ],
)
def test_a_setting_of_another_architecture_is_refused_by_name(architecture: str, setting: str, value: Any, owners: str):
    message = rf"\[networks\]: {setting} is a setting of {owners}; {architecture} has none, leave it out"
    with pytest.raises(ConfigError, match=message):
        zoo_config(architecture, networks={setting: value})


@pytest.mark.parametrize("penalty", ["gradient", "r1", "r1+r2"])
def test_a_penalty_on_mixed_pictures_is_refused_with_both_ways_out(penalty: str):
    message = rf"loss.penalty '{re.escape(penalty)}' .* or networks.discriminator_norm to \"none\""
    with pytest.raises(ConfigError, match=message):
        zoo_config("dcgan", loss={"penalty": penalty})


@pytest.mark.parametrize(
    "sections",
    [
        {"loss": {"penalty": "r1", "weight": 0.0}},
        {"loss": {"penalty": "r1"}, "networks": {"discriminator_norm": "none"}},
        {"loss": {"penalty": "gradient"}, "networks": {"discriminator_norm": "spectral"}},
    ],
)
def test_a_penalty_on_single_pictures_is_taken(sections: dict):
    assert zoo_config("dcgan", **sections).networks.architecture == "dcgan"


@pytest.mark.parametrize("name", ["resnet", "selfmod", "sagan"])
def test_residual_discriminators_have_no_batch_normalisation(name: str):
    with pytest.raises(ConfigError, match=rf"{name}'s discriminator_norm must be none or spectral, got 'batch'"):
        zoo_config(name, networks={"discriminator_norm": "batch"})


@pytest.mark.parametrize("name", STILL)
def test_noise_is_refused_where_features_get_none(name: str):
    with pytest.raises(ConfigError, match=rf"loss.noise is for progan and style, got 0.2 with {name}; set it to 0"):
        zoo_config(name, loss={**NO_PENALTY, "noise": 0.2})


def test_a_style_discriminator_gets_noise():
    game = {"adversarial": "lsgan", "penalty": "none", "noise": 40.0}
    trainer = Trainer(zoo_config("style", loss=game), small_pictures(), machine=CPU)
    trainer.smoothed_loss = 0.8
    noise = trainer._whole_part(trainer.phase, "critic-0").noise
    trainer.close()
    assert noise is not None
    assert noise.shape == (4, 3, 9)
    assert 1.0 < float(noise.std()) < 6.0


@pytest.mark.parametrize(
    ("name", "resolution", "message"),
    [
        ("dcgan", 4, "resolution must be a power of two from 8, got 4"),
        ("resnet", 4, "resolution must be a power of two from 8, got 4"),
        ("sagan", 8, "resolution must be a power of two from 16, got 8"),
        ("style", 2, "resolution must be a power of two from 4, got 2"),
    ],
)
def test_networks_have_a_least_resolution(name: str, resolution: int, message: str):
    with pytest.raises(ConfigError, match=message):
        zoo_config(name, networks={"resolution": resolution})


@pytest.mark.parametrize("attention", [4, 12, 16, 32])
def test_maps_that_a_network_does_not_have_cannot_attend(attention: int):
    with pytest.raises(ConfigError, match=rf"attention must be a power of two in 8\.\.8 at 16 px, got {attention}"):
        zoo_config("sagan", networks={"attention": attention})


@pytest.mark.parametrize("first", [4, 8, 64, 2048])
@pytest.mark.parametrize("name", STILL)
def test_a_network_that_does_not_grow_begins_and_stays_at_its_size(name: str, first: int):
    config = zoo_config(name, schedule={"first_resolution": first, "stable_images": 8, "fade_images": 8})
    phases = [config.phase(images) for images in (0, 7, 12, 16, 103, 10_000)]
    assert {(phase.level, phase.fade, phase.resets) for phase in phases} == {(4, 1.0, 1)}


@pytest.mark.parametrize("name", STILL)
def test_only_the_size_at_which_it_is_trained_is_asked_of_the_pictures(name: str):
    class LargestAlone(ArrayPictures):
        def batch(self, indices: np.ndarray, level: int) -> Any:
            assert level == 4
            return super().batch(indices, level)

    check_pictures(zoo_config(name), LargestAlone(np.full((8, 3, 16, 16), 200, np.uint8)))


@pytest.mark.parametrize("name", STILL)
def test_a_minibatch_that_processes_cannot_share_names_the_setting_to_change(name: str):
    config = zoo_config(name, schedule={"minibatch": 5})
    with pytest.raises(
        ConfigError, match=r"of 5 at 16 px cannot be split evenly among 2 .*; change schedule.minibatch$"
    ):
        Trainer(config, small_pictures(), machine=CPU, processes=Processes(rank=0, world=2))


def test_sizes_of_the_pictures_that_an_architecture_does_not_have_are_wrong_use():
    settings = TrainSettings(networks=usual_shape("sagan", 128), loss=zoo_config("sagan").loss)
    with pytest.raises(ConfigError, match=r"as the pictures want them: attention must be .* at 16 px, got 32"):
        settings.fitted_to(small_pictures(), ["resolution"])


@pytest.mark.parametrize("name", SIZES)
def test_a_plan_has_a_line_for_each_level_that_is_trained(name: str):
    side, levels = SIZES[name]
    lines = plan_lines(load_gan_config([name], [*CUT_DOWN, f"networks.resolution={side}"]), H200)
    assert [line.split()[0] for line in lines[3:-2]] == [*levels, "all"]
    assert len({len(line) for line in lines[1:-2]}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in PRESETS.glob("*.toml")))
def test_every_preset_can_be_planned(name: str):
    config = load_gan_config([name])
    made = plan(config, H200)
    assert sum(level.images for level in made.levels) == config.schedule.total_images
    assert made.levels[-1].resolution == config.networks.resolution
    assert made.crowded == ()


@pytest.mark.parametrize("name", STILL)
def test_a_plan_of_one_level_shows_all_images_at_it(name: str):
    (level,) = plan(zoo_config(name), H200).levels
    assert (level.resolution, level.begins_images, level.images, level.fade_images) == (16, 0, 104, 0)
    assert min(level.flops, level.forward_flops, level.memory_bytes, level.floor_s) > 0


def test_a_plan_counts_what_drawing_a_picture_takes_and_not_what_training_adds():
    """A style-based generator draws second latents while it trains, whose mapping is not part of a picture."""
    deep = {"most_maps": 1, "map_budget": 1, "latent": 512}
    (*_, level) = plan(zoo_config("style", networks=deep), H200).levels
    assert level.forward_flops / (8 * 2 * 512 * 512) == pytest.approx(1.0, abs=0.1)


def test_smallest_maps_of_one_pixel_can_be_planned():
    config = zoo_config("dcgan", networks={"base": (1, 1), "resolution": 64})
    assert plan(config, H200).levels[0].resolution == 64
