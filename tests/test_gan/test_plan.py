"""A plan adds up: to the schedule, to the published sizes, and to the floors known of an H200."""

import dataclasses
import re

import pytest

from gan.config import GanConfig, gan_config_from_dict
from gan.devices import DEVICES, Device, find_device
from gan.plan import LevelPlan, Plan, plan, plan_lines
from hqdata.settings import ConfigError

H200 = DEVICES["h200"]
SMALL = {"resolution": 16, "latent": 8, "most_maps": 8, "map_budget": 32}


@pytest.fixture(scope="module")
def whole() -> Plan:
    """The authors' schedule to 1024 px at a minibatch of 16, with networks as in table 2."""
    return plan(gan_config_from_dict({"networks": {"scaling": "separate"}}), H200)


@pytest.fixture(scope="module")
def full(whole: Plan) -> tuple[LevelPlan, ...]:
    return whole.levels


def test_levels_follow_the_schedule(full: tuple[LevelPlan, ...]):
    assert [level.resolution for level in full] == [4, 8, 16, 32, 64, 128, 256, 512, 1024]
    assert [level.begins_images for level in full] == [0, *range(600_000, 9_600_000, 1_200_000)]
    assert [level.images for level in full] == [600_000, *[1_200_000] * 7, 3_000_000]
    assert [level.fade_images for level in full] == [0, *[600_000] * 8]


def test_networks_have_the_published_sizes(full: tuple[LevelPlan, ...]):
    assert (full[0].generator_parameters, full[0].discriminator_parameters) == (6_556_163, 6_561_793)
    assert (full[-1].generator_parameters, full[-1].discriminator_parameters) == (23_079_115, 23_087_249)


@pytest.mark.parametrize(
    ("place", "gflop"),
    [(0, 0.084), (1, 0.688), (3, 12.77), (5, 41.77), (8, 85.35)],
    ids=["4", "8", "32", "128", "1024"],
)
def test_a_forward_pass_takes_the_known_arithmetic(full: tuple[LevelPlan, ...], place: int, gflop: float):
    assert full[place].forward_flops / 1e9 == pytest.approx(gflop, rel=0.002)


@pytest.mark.parametrize(
    ("place", "seconds"),
    [(4, 0.621), (5, 0.952), (6, 1.28), (7, 1.61), (8, 1.94)],
    ids=["64", "128", "256", "512", "1024"],
)
def test_the_arithmetic_of_an_h200_takes_the_known_time(full: tuple[LevelPlan, ...], place: int, seconds: float):
    assert full[place].compute_s == pytest.approx(seconds, rel=0.01)


@pytest.mark.parametrize(
    ("place", "seconds"),
    [(3, 0.034), (5, 0.168), (6, 0.346), (7, 0.704), (8, 1.43)],
    ids=["32", "128", "256", "512", "1024"],
)
def test_the_convolutions_traffic_on_an_h200_takes_the_known_time(
    full: tuple[LevelPlan, ...], place: int, seconds: float
):
    assert full[place].convolution_traffic_s == pytest.approx(seconds, rel=0.01)


def test_the_whole_schedule_takes_the_known_hours(whole: Plan):
    assert whole.hours(lambda level: level.compute_s) == pytest.approx(3.24, rel=0.01)
    assert whole.hours(lambda level: level.convolution_traffic_s) == pytest.approx(1.64, rel=0.01)
    assert whole.hours(lambda level: level.traffic_s) == pytest.approx(5.83, rel=0.025)


@pytest.mark.slow
def test_fused_scaling_saves_a_third_of_the_hours():
    made = plan(gan_config_from_dict({"networks": {"scaling": "fused"}}), H200)
    assert made.hours(lambda level: level.compute_s) == pytest.approx(2.11, rel=0.01)


def test_processes_share_the_work():
    config = _small(schedule={"minibatch": 16})
    one, two = plan(config, H200).levels[-1], plan(config, H200, processes=2).levels[-1]
    assert two.compute_s == pytest.approx(one.compute_s / 2)
    assert two.flops == one.flops
    assert two.memory_bytes < one.memory_bytes


def test_two_critic_steps_show_twice_the_pictures_for_one_step_of_the_generator():
    once, twice = (plan(_small(training={"critic_steps": steps}), H200).levels[-1] for steps in (1, 2))
    assert 0.5 * once.flops < twice.flops < once.flops


def test_a_minibatch_that_cannot_be_dealt_is_refused():
    with pytest.raises(ConfigError, match="cannot be split"):
        plan(_small(), H200, processes=3)


def test_a_training_that_ends_early_has_fewer_levels():
    made = plan(_small(schedule={"stable_images": 100, "fade_images": 50, "total_images": 120}), H200)
    assert [(level.resolution, level.begins_images, level.images, level.fade_images) for level in made.levels] == [
        (4, 0, 100, 0),
        (8, 100, 20, 20),
    ]


@pytest.mark.parametrize("fade", [0, 50])
@pytest.mark.parametrize("total", [90, 300, 1000])
def test_every_image_belongs_to_one_level(total: int, fade: int):
    made = plan(_small(schedule={"stable_images": 100, "fade_images": fade, "total_images": total}), H200)
    assert sum(level.images for level in made.levels) == total
    ends = [level.begins_images + level.images for level in made.levels]
    assert ends[:-1] == [level.begins_images for level in made.levels[1:]]


def test_the_floor_is_the_slower_of_what_cannot_be_avoided():
    level = plan(_small(), H200).levels[0]
    slow = dataclasses.replace(
        level, compute_s=1.0, convolution_traffic_s=2.0, traffic_s=5.0, launch_s=7.0, update_s=0.5
    )
    assert (slow.floor_s, slow.eager_s) == (2.5, 7.5)


def test_half_as_many_bytes_a_number_are_half_the_traffic():
    config = _small()
    half, whole = (
        plan(config, dataclasses.replace(H200, precision=precision)).levels[-1] for precision in ("bfloat16", "float32")
    )
    assert whole.traffic_s == pytest.approx(2 * half.traffic_s)
    assert whole.update_s == half.update_s


def test_the_table_says_device_levels_totals_and_what_does_not_fit():
    tiny = Device(name="toy", flops_per_s=1e9, bytes_per_s=1e9, memory_bytes=1e5, precision="float32")
    lines = plan_lines(_small(), tiny)
    assert lines[0] == "toy: 0.001 TFLOP/s in float32, 0.001 TB/s, 9.313e-05 GiB; processes: 1"
    assert lines[1].split()[:5] == ["level", "from", "shown", "fading", "batch"]
    assert [line.split()[0] for line in lines[3:7]] == ["4", "8", "16", "all"]
    assert re.fullmatch(r"16 px: a step needs more memory than there is and will be split", lines[-1])
    assert len({len(line) for line in lines[1:7]}) == 1


def test_an_unknown_device_names_the_nearest():
    with pytest.raises(ConfigError, match=r"no device 'H-200'; did you mean 'h\d00'\? All: h200, .*this-machine"):
        find_device("H-200")


def test_this_machine_is_measured():
    device = find_device("this-machine", "float32")
    assert device.flops_per_s > 1e8
    assert device.bytes_per_s > 1e7
    assert 0 < device.launch_s < 0.1
    assert device.memory_bytes > 1e8


def _small(**sections: dict) -> GanConfig:
    return gan_config_from_dict({"networks": SMALL, **sections})
