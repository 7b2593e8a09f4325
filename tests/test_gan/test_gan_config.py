"""What no training could begin with is refused when it is read, with the setting's name."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan.config import GanConfig, gan_config_from_dict, load_gan_config
from hqdata.settings import ConfigError


@given(
    resolution=st.sampled_from([4, 16, 256, 1024]),
    minibatch_at=st.dictionaries(st.sampled_from([4, 8, 64]), st.sampled_from([4, 8, 128])),
    base=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    rate=st.floats(1e-6, 0.1),
    seed=st.integers(0, 2**40),
)
def test_loading_a_dumped_config_is_the_identity(
    resolution: int, minibatch_at: dict[int, int], base: tuple[int, int], rate: float, seed: int
):
    config = gan_config_from_dict(
        {
            "networks": {"resolution": resolution, "base": base},
            "schedule": {"minibatch_at": minibatch_at, "rate": rate},
            "training": {"seed": seed},
        }
    )
    assert gan_config_from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_defaults_are_the_papers():
    config = GanConfig()
    assert (config.networks.resolution, config.networks.latent, config.networks.map_budget) == (1024, 512, 8192)
    assert (config.loss.adversarial, config.loss.weight, config.loss.target, config.loss.drift) == (
        "wgan",
        10,
        1,
        0.001,
    )
    assert (config.training.beta1, config.training.beta2, config.training.epsilon) == (0.0, 0.99, 1e-8)
    assert (config.schedule.rate, config.schedule.stable_images, config.schedule.fade_images) == (
        0.001,
        600_000,
        600_000,
    )


def test_files_and_assignments_are_merged_and_the_last_wins(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text("[networks]\nresolution = 64\n[schedule]\nminibatch = 8\n[schedule.rate_at]\n64 = 0.002\n")
    config = load_gan_config([file], ["schedule.minibatch=12", "loss.adversarial=lsgan", "training.beta1=0"])
    assert (config.networks.resolution, config.schedule.minibatch, config.loss.adversarial) == (64, 12, "lsgan")
    assert config.schedule.rate_at == {64: 0.002}
    assert isinstance(config.training.beta1, float)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("network.resolution=8", r"unknown section 'network'; did you mean 'networks'"),
        ("networks.resoluton=8", r"unknown key in \[networks\] 'resoluton'; did you mean 'resolution'"),
        ("loss.gamma=750", r"unknown key in \[loss\] 'gamma'"),
        ("loss.adversarial=wgan-gp", r"loss.adversarial must be one of wgan, lsgan, .*, got 'wgan-gp'"),
        ("loss.penalty=gp", r"loss.penalty must be one of gradient, r1, r1\+r2, none, got 'gp'"),
        ("loss.weight=-1", r"weight, drift, noise and label_weight must not be negative"),
        ("loss.target=0", r"target be positive"),
        ("networks.resolution=100", r"\[networks\]: resolution must be a power of two from 4, got 100"),
        ("networks.resolution=8.0", r"networks.resolution must be of type int, got 8.0"),
        ("networks.labels=true", r"networks.labels must be of type int, got True"),
        ("networks.labels=-2", r"\[networks\]: labels must not be negative"),
        ("networks.architecture=stylegan", r"architecture must be one of progan, .*, got .stylegan."),
        ("networks.scaling=fast", r"scaling must be one of fused, separate, got 'fast'"),
        ("schedule.rate=0", r"learning rates must be positive"),
        ("schedule.first_resolution=2048", r"first_resolution 2048 is above the largest, 1024"),
        ("training.beta2=1", r"beta1 and beta2 must be in 0\.\.1 without 1"),
        ("training.critic_steps=0", r"critic_steps, checkpoint_images and keep_checkpoints must be at least 1"),
        ("training.keep_checkpoints=0", r"must be at least 1"),
        ("training.average_half_life_images=-1", r"average_half_life_images must not be negative"),
        ("training.average_half_life_images=nan", r"average_half_life_images must not be negative or infinite"),
        ("training.epsilon=inf", r"epsilon be positive and finite"),
        ("training.seed=-1", r"seed must be 0\.\.2\*\*63 - 1, got -1"),
        ("training.seed=9223372036854775808", r"seed must be 0\.\.2\*\*63 - 1, got 9223372036854775808"),
        ("loss.weight=nan", r"all finite"),
        ("loss.target=inf", r"target be positive, all finite"),
        ("schedule.minibatch_at={12 = 8}", r"\[schedule\]: minibatch_at: keys are resolutions"),
        ("schedule.tick_at={64 = 0}", r"every minibatch and tick_images, must be at least 1"),
    ],
)
def test_what_no_training_could_begin_with_is_refused(assignment: str, message: str):
    with pytest.raises(ConfigError, match=message):
        load_gan_config(assignments=[assignment])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schedule": {"minibatch": 6}}, r"the minibatch of 6 at 4 px cannot be split into 1 x groups of 4"),
        (
            {"schedule": {"minibatch_at": {256: 14}}},
            r"the minibatch of 14 at 256 px cannot .* change schedule.minibatch_at or networks.stddev_group",
        ),
        ({"networks": {"stddev_group": 16}, "schedule": {"minibatch": 24}}, r"1 x groups of 16"),
    ],
)
def test_a_minibatch_that_the_stddev_groups_do_not_divide_is_refused(values: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        gan_config_from_dict(values)


def test_a_minibatch_below_the_group_is_one_group():
    config = gan_config_from_dict({"networks": {"stddev_group": 16}, "schedule": {"minibatch_at": {256: 14, 1024: 3}}})
    assert config.phase(20_000_000).minibatch == 3


@pytest.mark.parametrize(("processes", "fits"), [(1, True), (2, True), (4, True), (3, False), (8, False)])
def test_processes_get_whole_groups(processes: int, fits: bool):
    config = gan_config_from_dict({"schedule": {"minibatch": 16}})
    if fits:
        config.check_minibatches(processes)
        return
    with pytest.raises(ConfigError, match=rf"minibatch of 16 at 4 px cannot be split into {processes} x groups of 4"):
        config.check_minibatches(processes)


def test_levels_that_the_training_never_reaches_are_not_looked_at():
    values = {"schedule": {"minibatch_at": {1024: 5}, "total_images": 1_000_000}}
    assert gan_config_from_dict(values).phase(999_999).level == 3
