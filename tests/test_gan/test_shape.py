import dataclasses

import pytest
import torch

from gan.zoo import NAMES, Discriminator, Generator, Shape, build_discriminator, build_generator, usual_shape

FIELDS = {
    "stddev_group": (8, {"progan", "style"}),
    "scaling": ("separate", {"progan"}),
    "first_bias": ("pixel", {"progan"}),
    "discriminator_maps": (64, {"dcgan", "resnet", "selfmod", "sagan"}),
    "discriminator_norm": ("none", {"dcgan", "resnet", "selfmod", "sagan"}),
    "modulation_width": (16, {"selfmod"}),
    "attention": (16, {"sagan"}),
    "mapping_layers": (4, {"style"}),
}
OWN = [(name, field) for field, (_, owners) in FIELDS.items() for name in NAMES if name in owners]
FOREIGN = [(name, field) for field, (_, owners) in FIELDS.items() for name in NAMES if name not in owners]


def test_these_are_the_architectures():
    assert NAMES == ("progan", "dcgan", "resnet", "selfmod", "sagan", "style")


@pytest.mark.parametrize(("architecture", "field"), OWN)
def test_an_architectures_own_field_is_taken(architecture: str, field: str):
    value = FIELDS[field][0]
    shape = Shape(**{"architecture": architecture, "resolution": 64, field: value})
    assert getattr(shape, field) == value


@pytest.mark.parametrize(("architecture", "field"), FOREIGN)
def test_another_architectures_field_is_refused_with_both_names(architecture: str, field: str):
    value, owners = FIELDS[field]
    with pytest.raises(
        ValueError, match=rf"^{field} is a setting of .*; {architecture} has none, leave it out$"
    ) as told:
        Shape(**{"architecture": architecture, "resolution": 64, field: value})
    named = str(told.value).removeprefix(f"{field} is a setting of ").split(";")[0]
    assert set(named.split(", ")) == owners


@pytest.mark.parametrize(("architecture", "field"), FOREIGN)
def test_another_architectures_field_may_be_spelled_out_as_it_is(architecture: str, field: str):
    shape = Shape(architecture=architecture, resolution=64)
    assert Shape(**dataclasses.asdict(shape)) == shape
    assert dataclasses.replace(shape, **{field: getattr(shape, field)}) == shape


@pytest.mark.parametrize(
    ("name", "resolution", "sizes"),
    [
        ("progan", 1024, {"latent": 512, "most_maps": 512, "map_budget": 8192}),
        ("style", 1024, {"latent": 512, "most_maps": 512, "map_budget": 8192, "mapping_layers": 8}),
        ("dcgan", 64, {"latent": 100, "most_maps": 1024, "map_budget": 2048}),
        ("dcgan", 8, {"latent": 100, "most_maps": 1024, "map_budget": 256}),
        ("resnet", 32, {"latent": 128, "most_maps": 256, "map_budget": 8192, "discriminator_maps": 128}),
        ("resnet", 8, {"latent": 128, "most_maps": 256, "map_budget": 2048, "discriminator_maps": 128}),
        ("resnet", 128, {"latent": 128, "most_maps": 1024, "map_budget": 4096}),
        ("resnet", 64, {"latent": 128, "most_maps": 1024, "map_budget": 2048}),
        ("selfmod", 32, {"latent": 128, "most_maps": 256, "map_budget": 8192, "discriminator_maps": 128}),
        ("selfmod", 128, {"latent": 128, "most_maps": 1024, "map_budget": 4096, "modulation_width": 32}),
        ("sagan", 128, {"latent": 128, "most_maps": 1024, "map_budget": 4096, "attention": 32}),
        (
            "sagan",
            32,
            {"latent": 128, "most_maps": 256, "map_budget": 8192, "discriminator_maps": 128, "attention": 16},
        ),
    ],
)
def test_usual_sizes_are_the_papers(name: str, resolution: int, sizes: dict[str, int]):
    assert usual_shape(name, resolution) == Shape(architecture=name, resolution=resolution, **sizes)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_builds_its_pair_in_its_usual_shape(name: str):
    generator, discriminator = build_generator(name, 16), build_discriminator(name, 16)
    assert isinstance(generator, Generator)
    assert isinstance(discriminator, Discriminator)
    assert generator.shape == discriminator.shape == usual_shape(name, 16)


@pytest.mark.parametrize("name", NAMES)
def test_a_given_shape_is_built_instead(name: str):
    shape = dataclasses.replace(usual_shape(name, 16), latent=6, most_maps=8, map_budget=32, labels=3)
    generator, discriminator = build_generator(name, shape=shape), build_discriminator(name, shape=shape)
    pictures = generator(torch.randn(4, 6), torch.eye(3)[[0, 1, 2, 0]])
    assert pictures.shape == (4, 3, 16, 16)
    assert discriminator(pictures, torch.eye(3)[[0, 1, 2, 0]]).shape == (4,)


@pytest.mark.parametrize("build", [build_generator, build_discriminator])
def test_a_shape_of_another_architecture_is_refused(build):
    with pytest.raises(ValueError, match="the shape is of resnet, not of sagan; set its architecture"):
        build("sagan", shape=usual_shape("resnet", 16))


@pytest.mark.parametrize("build", [build_generator, build_discriminator, usual_shape])
@pytest.mark.parametrize(
    ("name", "hint"), [("dc-gan", "did you mean 'dcgan'"), ("vae", "choose one of progan, dcgan, resnet")]
)
def test_an_unknown_name_is_refused_with_what_there_is(name: str, hint: str, build):
    with pytest.raises(ValueError, match=rf"there is no architecture '{name}'; {hint}"):
        build(name, 16)


def test_a_shape_of_an_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match=r"architecture must be one of progan, .*style, got 'vae'"):
        Shape(architecture="vae")


@pytest.mark.parametrize(
    ("architecture", "least"), [("progan", 4), ("dcgan", 8), ("resnet", 8), ("selfmod", 8), ("sagan", 16), ("style", 4)]
)
def test_pictures_have_a_least_size(architecture: str, least: int):
    assert usual_shape(architecture, least).resolution == least
    message = rf"resolution must be a power of two from {least}, got {least // 2}"
    with pytest.raises(ValueError, match=message):
        Shape(architecture=architecture, resolution=least // 2)
    with pytest.raises(ValueError, match=message):
        usual_shape(architecture, least // 2)


@pytest.mark.parametrize(("name", "least"), [("progan", 4), ("dcgan", 8), ("resnet", 8), ("selfmod", 8), ("style", 4)])
@pytest.mark.parametrize("resolution", [-64, 0, 1, 2, 48, 96])
def test_pictures_that_are_no_power_of_two_have_no_usual_size(name: str, least: int, resolution: int):
    with pytest.raises(ValueError, match=rf"resolution must be a power of two from {least}, got {resolution}"):
        usual_shape(name, resolution)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"latent": 0}, "latent must be at least 1, got 0"),
        ({"most_maps": 0}, "most_maps must be at least 1, got 0"),
        ({"map_budget": 0}, "map_budget must be at least 1, got 0"),
        ({"stddev_group": 0}, "stddev_group must be at least 1, got 0"),
        ({"modulation_width": 0}, "modulation_width must be at least 1, got 0"),
        ({"mapping_layers": 0}, "mapping_layers must be at least 1, got 0"),
        ({"labels": -1}, "labels must not be negative, got -1"),
        ({"discriminator_maps": -1}, "discriminator_maps must not be negative, got -1"),
        ({"base": (4,)}, r"base must be \(height, width\), got \(4,\)"),
        ({"base": (4, 0)}, r"base must be \(height, width\), got \(4, 0\)"),
        ({"scaling": "fast"}, "scaling must be one of fused, separate, got 'fast'"),
        ({"first_bias": "row"}, "first_bias must be one of map, pixel, got 'row'"),
        (
            {"discriminator_norm": "layer"},
            "discriminator_norm must be one of usual, none, batch, spectral, got 'layer'",
        ),
    ],
)
def test_impossible_sizes_are_refused(wrong: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Shape(**wrong)


@pytest.mark.parametrize("architecture", ["resnet", "selfmod", "sagan"])
def test_batch_norm_in_a_discriminator_is_dcgans_alone(architecture: str):
    with pytest.raises(ValueError, match=f"{architecture}'s discriminator_norm must be none or spectral, got 'batch'"):
        Shape(architecture=architecture, discriminator_norm="batch")


@pytest.mark.parametrize(
    ("architecture", "norm"),
    [
        ("progan", "none"),
        ("style", "none"),
        ("dcgan", "batch"),
        ("resnet", "spectral"),
        ("selfmod", "spectral"),
        ("sagan", "spectral"),
    ],
)
def test_discriminators_are_usually_held_in_check_as_in_the_papers(architecture: str, norm: str):
    assert Shape(architecture=architecture).judged_norm == norm


@pytest.mark.parametrize("norm", ["none", "batch", "spectral"])
def test_discriminators_are_held_in_check_as_asked(norm: str):
    assert Shape(architecture="dcgan", discriminator_norm=norm).judged_norm == norm


@pytest.mark.parametrize(
    ("architecture", "group"), [("progan", 4), ("style", 4), ("dcgan", 1), ("resnet", 1), ("selfmod", 1), ("sagan", 1)]
)
def test_only_minibatch_deviations_hold_pictures_together(architecture: str, group: int):
    assert Shape(architecture=architecture).group == group


def test_pictures_are_held_together_in_groups_as_large_as_asked():
    assert Shape(stddev_group=16).group == 16


@pytest.mark.parametrize(
    ("architecture", "grows", "first"),
    [
        ("progan", True, 2),
        ("style", True, 2),
        ("dcgan", False, 6),
        ("resnet", False, 6),
        ("selfmod", False, 6),
        ("sagan", False, 6),
    ],
)
def test_only_growing_networks_have_levels_before_the_last(architecture: str, grows: bool, first: int):
    shape = Shape(architecture=architecture, resolution=64)
    assert (shape.grows, shape.first_level, shape.last_level) == (grows, first, 6)


@pytest.mark.parametrize(("level", "checked"), [(None, 6), (2, 2), (6, 6)])
def test_levels_of_a_growing_network_are_checked(level: int | None, checked: int):
    assert Shape(resolution=64).checked_level(level) == checked


@pytest.mark.parametrize(
    ("architecture", "level", "message"),
    [
        ("progan", 1, r"level must be 2\.\.6 for progan of 64 px, got 1"),
        ("style", 7, r"level must be 2\.\.6 for style of 64 px, got 7"),
        ("dcgan", 5, "level must be 6 for dcgan of 64 px, got 5"),
    ],
)
def test_a_level_that_is_not_there_is_refused(architecture: str, level: int, message: str):
    with pytest.raises(ValueError, match=message):
        Shape(architecture=architecture, resolution=64).checked_level(level)


@pytest.mark.parametrize(
    ("level", "maps", "judged"), [(2, 64, 40), (3, 64, 40), (4, 32, 32), (5, 16, 16), (8, 2, 2), (10, 1, 1)]
)
def test_maps_halve_with_every_level_within_their_bounds(level: int, maps: int, judged: int):
    shape = Shape(architecture="resnet", most_maps=64, map_budget=256, discriminator_maps=40)
    assert (shape.maps(level), shape.maps_judged(level)) == (maps, judged)


def test_without_its_own_bound_the_discriminator_has_the_generators():
    shape = Shape(architecture="resnet", most_maps=64, map_budget=256)
    assert [shape.maps_judged(level) for level in (2, 3, 4)] == [64, 64, 32]


@pytest.mark.parametrize(("level", "size"), [(2, (4, 6)), (3, (8, 12)), (10, (1024, 1536))])
def test_sizes_are_multiples_of_the_base(level: int, size: tuple[int, int]):
    assert Shape(base=(4, 6)).size(level) == size


def test_noise_is_for_every_convolution_of_a_growing_discriminator():
    shape = Shape(architecture="style", resolution=16, most_maps=8, map_budget=32)
    assert shape.noise_widths(4) == [4, 4, 8, 8, 9]
    assert shape.noise_widths(2) == [9]


@pytest.mark.parametrize("architecture", ["dcgan", "resnet", "selfmod", "sagan"])
def test_networks_that_do_not_grow_get_no_noise(architecture: str):
    assert Shape(architecture=architecture, resolution=64).noise_widths(6) == []


def test_shapes_are_values():
    shape = Shape(architecture="dcgan")
    assert shape == Shape(architecture="dcgan")
    assert len({shape, Shape(architecture="dcgan"), Shape()}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        shape.labels = 3
