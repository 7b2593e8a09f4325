"""The shipped configurations against the published tables (Karras et al. 2018; the authors' configuration files)."""

import math

import pytest
from small_gan import CPU, small_pictures

from gan.config import PRESETS, load_gan_config
from gan.layers import EqualConv2d
from gan.trainer import Trainer
from gan.zoo import build_discriminator, build_generator, usual_shape

SIZES = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
NAMES = sorted(path.stem for path in PRESETS.glob("*.toml"))
TICKS_KIMG = (160, 140, 120, 100, 80, 60, 40, 20, 10)

PAPER = "celebahq-1024"
PUBLISHED = {
    PAPER: ((16, 16, 16, 16, 16, 16, 14, 6, 3), {}, 19_000, 800, 3.26),
    f"{PAPER}-v2-1gpu": ((128, 128, 128, 64, 32, 16, 8, 4, 4), {1024: 0.0015}, 12_000, 600, 1.35),
    f"{PAPER}-v2-2gpu": ((256, 256, 128, 64, 32, 16, 8, 8, 8), {512: 0.0015, 1024: 0.002}, 12_000, 600, 0.82),
    f"{PAPER}-v2-4gpu": (
        (512, 256, 128, 64, 32, 16, 16, 16, 16),
        {256: 0.0015, 512: 0.002, 1024: 0.003},
        12_000,
        600,
        0.48,
    ),
    f"{PAPER}-v2-8gpu": (
        (512, 256, 128, 64, 32, 32, 32, 32, 32),
        {128: 0.0015, 256: 0.002, 512: 0.003, 1024: 0.003},
        12_000,
        600,
        0.28,
    ),
}
"""Minibatches from 4 to 1024 px, learning rates other than 0.001, thousands of images in all and stable or fading at
each level, and millions of iterations in all."""

ZOO = {
    "dcgan-64": ("dcgan", 64, 128, (0.0002, 0.0002), (0.5, 0.999), 1, ("non-saturating", "none")),
    "sngan-32": ("resnet", 32, 64, (0.0002, 0.0002), (0.0, 0.9), 5, ("hinge", "none")),
    "selfmod-128": ("selfmod", 128, 64, (0.0002, 0.0002), (0.0, 0.9), 2, ("hinge", "none")),
    "sagan-128": ("sagan", 128, 256, (0.0001, 0.0004), (0.0, 0.9), 1, ("hinge", "none")),
    "style-1024": ("style", 1024, 4, (0.003, 0.003), (0.0, 0.99), 1, ("non-saturating", "r1")),
}
"""Architecture, resolution, minibatch and rates of generator and discriminator there, Adam's betas, steps of the
discriminator for each of the generator's, loss and penalty."""
STYLE = (
    (128, 128, 64, 32, 16, 8, 4, 4),
    (0.001, 0.001, 0.001, 0.001, 0.0015, 0.002, 0.003, 0.003),
    (140, 120, 100, 80, 60, 40, 30, 20),
)
"""Minibatches, rates and thousands of images between ticks from 8 to 1024 px, in the authors' code for one GPU."""
CUT_DOWN = (
    "networks.resolution=16",
    "networks.most_maps=8",
    "networks.map_budget=32",
    "networks.latent=8",
    "schedule.minibatch=4",
    "schedule.minibatch_at={}",
)


def config_of(name):
    return load_gan_config([name])


def middle_of(config, resolution):
    """Return what holds in the middle of a level's stable time."""
    schedule, growths = config.schedule, resolution.bit_length() - 3
    return config.phase(growths * (schedule.stable_images + schedule.fade_images) + schedule.stable_images // 2)


def count_iterations(config):
    """Walk through the schedule, in leaps where nothing changes."""
    images = iterations = 0
    total = config.schedule.total_images
    for point in [*config.schedule.reset_points(config.networks.last_level), total]:
        steps = max(0, math.ceil((min(point, total) - images) / config.phase(images).minibatch))
        images += steps * config.phase(images).minibatch
        iterations += steps
    return iterations


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_all_the_presets_are_there():
    assert set(NAMES) == {*PUBLISHED, *ZOO, "cifar10", "emoji-64", "lsun-256", "mnist-cpu"}


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_a_whole_configuration(name):
    config = config_of(name)
    assert middle_of(config, config.networks.resolution).level == config.networks.last_level
    assert config.course.phases(config.networks.last_level)[-1][1].fade == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_can_be_trained_by_one_process(name):
    config_of(name).check_minibatches(1)


@pytest.mark.parametrize("resolution", SIZES)
@pytest.mark.parametrize("name", PUBLISHED)
def test_minibatches_rates_and_ticks_are_the_published_ones(name, resolution):
    minibatches, rates, *_ = PUBLISHED[name]
    phase = middle_of(config_of(name), resolution)
    place = SIZES.index(resolution)
    assert phase.resolution == resolution
    assert phase.minibatch == minibatches[place]
    assert phase.generator_rate == phase.discriminator_rate == rates.get(resolution, 0.001)
    assert phase.tick_images == TICKS_KIMG[place] * 1000


@pytest.mark.parametrize("name", PUBLISHED)
def test_lengths_and_iterations_are_the_published_ones(name):
    _, _, kimg, each, millions = PUBLISHED[name]
    config = config_of(name)
    schedule = config.schedule
    assert (schedule.total_images, schedule.stable_images, schedule.fade_images) == (
        kimg * 1000,
        each * 1000,
        each * 1000,
    )
    assert round(count_iterations(config) / 1e6, 2) == millions


@pytest.mark.parametrize("gpus", [1, 2, 4, 8])
def test_minibatches_can_be_dealt_to_as_many_gpus_as_the_name_says(gpus):
    config_of(f"{PAPER}-v2-{gpus}gpu").check_minibatches(gpus)


@pytest.mark.parametrize(
    ("name", "group", "rise_images"), [(PAPER, 16, 40_000), (f"{PAPER}-v2-8gpu", 4, 0), ("cifar10", 16, 0)]
)
def test_what_tells_the_paper_from_its_later_code(name, group, rise_images):
    config = config_of(name)
    assert (config.networks.stddev_group, config.schedule.rise_images) == (group, rise_images)


@pytest.mark.parametrize("name", [*PUBLISHED, "lsun-256", "cifar10"])
def test_the_average_keeps_0_999_a_step_at_the_last_level(name):
    config = config_of(name)
    steps = config.training.average_half_life_images / middle_of(config, config.networks.resolution).minibatch
    assert 0.5 ** (1 / steps) == pytest.approx(0.999, abs=1e-6)


@pytest.mark.parametrize("name", [*PUBLISHED, "lsun-256", "cifar10"])
def test_the_game_is_the_published_one(name):
    loss, training = config_of(name).loss, config_of(name).training
    assert (loss.adversarial, loss.penalty, loss.weight, loss.drift) == ("wgan", "gradient", 10.0, 0.001)
    assert loss.target == (750.0 if name == "cifar10" else 1.0)
    assert training.mirror == (name in PUBLISHED)
    assert (training.beta1, training.beta2, training.epsilon, training.critic_steps) == (0.0, 0.99, 1e-8, 1)


def test_the_lsun_training_is_the_published_one():
    schedule = config_of("lsun-256").schedule
    assert (schedule.total_images, schedule.stable_images, schedule.fade_images) == (20_000_000, 800_000, 800_000)
    assert [middle_of(config_of("lsun-256"), size).minibatch for size in SIZES[:7]] == [16] * 6 + [14]


def test_the_cifar_training_is_the_published_one():
    config = config_of("cifar10")
    schedule = config.schedule
    assert (schedule.total_images, schedule.stable_images, schedule.fade_images) == (20_000_000, 400_000, 400_000)
    assert [middle_of(config, size).minibatch for size in SIZES[:4]] == [16] * 4
    generator = build_generator("progan", shape=config.networks)
    discriminator = build_discriminator("progan", shape=config.networks)
    assert (parameters(generator), parameters(discriminator)) == (1_296_908, 1_298_689)


def test_the_paper_changes_sizes_outside_of_its_convolutions():
    discriminator = build_discriminator("progan", shape=config_of("cifar10").networks)
    assert all(type(block.down) is EqualConv2d for block in discriminator.blocks.values())


@pytest.mark.parametrize("name", ZOO)
def test_the_networks_of_other_architectures_are_their_papers(name):
    architecture, resolution, *_ = ZOO[name]
    assert config_of(name).networks == usual_shape(architecture, resolution)


@pytest.mark.parametrize("name", ZOO)
def test_the_games_of_other_architectures_are_their_papers(name):
    _, resolution, minibatch, rates, betas, critic_steps, game = ZOO[name]
    config = config_of(name)
    phase, training = middle_of(config, resolution), config.training
    assert (phase.resolution, phase.minibatch) == (resolution, minibatch)
    assert (phase.generator_rate, phase.discriminator_rate) == rates
    assert (training.beta1, training.beta2, training.critic_steps, training.epsilon) == (*betas, critic_steps, 1e-8)
    assert (config.loss.adversarial, config.loss.penalty, config.loss.drift) == (*game, 0.0)


def test_only_the_discriminator_of_sagan_has_a_pace_of_its_own():
    paces = {name: config_of(name).schedule.discriminator_pace for name in NAMES}
    assert {name: pace for name, pace in paces.items() if pace != 1.0} == {"sagan-128": 4.0}


@pytest.mark.parametrize(("place", "resolution"), list(enumerate(SIZES[1:])))
def test_the_style_training_is_the_published_one(place, resolution):
    minibatches, rates, ticks_kimg = STYLE
    phase = middle_of(config_of("style-1024"), resolution // 2)  # it begins one level later
    assert (phase.resolution, phase.minibatch) == (resolution, minibatches[place])
    assert phase.generator_rate == phase.discriminator_rate == rates[place]
    assert phase.tick_images == ticks_kimg[place] * 1000


def test_the_style_training_begins_at_8_px_and_penalises_as_published():
    config = config_of("style-1024")
    assert config.phase(0).resolution == 8
    assert (config.schedule.total_images, config.loss.weight) == (25_000_000, 10.0)
    assert (config.training.average_half_life_images, config.training.mirror) == (10_000, True)


@pytest.mark.parametrize("name", ZOO)
def test_networks_that_do_not_grow_are_trained_at_their_size_from_the_first_image(name):
    config = config_of(name)
    phases = [phase.level for _, phase in config.course.phases(config.networks.last_level)]
    assert (phases == [config.networks.last_level]) == (name != "style-1024")


@pytest.mark.parametrize(
    ("name", "others"),
    [("dcgan-64", []), ("sngan-32", []), ("selfmod-128", []), ("sagan-128", ["attention=8"]), ("style-1024", [])],
)
def test_a_cut_down_preset_trains(name, others):
    assignments = [*CUT_DOWN, *(f"networks.{other}" for other in others)]
    trainer = Trainer(load_gan_config([name], assignments), small_pictures(), machine=CPU)
    terms = [trainer.step() for _ in range(2)]
    trainer.close()
    assert trainer.images == 2 * 4 * ZOO[name][5]
    assert all(math.isfinite(float(value)) for step in terms for value in step.values())
