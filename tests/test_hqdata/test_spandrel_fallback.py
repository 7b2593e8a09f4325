"""Where spandrel is installed, what it knows is loaded with a measured reach; without it nothing changes."""

from types import SimpleNamespace

import pytest
import torch

from hqdata import restore, upscale
from hqdata.weights.community import spandrel_fallback
from hqdata.weights.community.spandrel_fallback import measured_reach


class Unsupported(Exception):
    """As spandrel's own."""


class Smoothing(torch.nn.Module):
    """Two 5 x 5 means: a reach of 4."""

    def forward(self, picture):
        for _ in range(2):
            picture = torch.nn.functional.avg_pool2d(picture, 5, 1, 2)
        return picture


class Everywhere(torch.nn.Module):
    """Looks at the whole picture, as attention does."""

    def forward(self, picture):
        return picture - picture.mean(dim=(2, 3), keepdim=True)


def spandrel_with(model, *, channels=3, multiple=1, scale=1, minimum=0, square=False):
    """Return a module that knows one model, whatever the tensors."""

    def load(tensors):
        if model is None:
            raise Unsupported
        return SimpleNamespace(
            architecture=SimpleNamespace(name="Smooth"),
            scale=scale,
            input_channels=channels,
            output_channels=channels,
            size_requirements=SimpleNamespace(multiple_of=multiple, minimum=minimum, square=square),
            model=model,
        )

    loader = SimpleNamespace(load_from_state_dict=load)
    return SimpleNamespace(ModelLoader=lambda device: loader, UnsupportedModelError=Unsupported)


@pytest.fixture
def file(tmp_path):
    torch.save({"unknown": torch.zeros(3)}, tmp_path / "theirs.pth")
    return tmp_path / "theirs.pth"


def install(monkeypatch, module):
    monkeypatch.setattr(spandrel_fallback.importlib, "import_module", lambda name: module)


@pytest.mark.parametrize(("multiple", "expected"), [(1, 5), (4, 8)])
def test_a_network_that_spandrel_knows_is_loaded_with_its_stride_and_reach(monkeypatch, file, multiple, expected):
    install(monkeypatch, spandrel_with(Smoothing(), multiple=multiple))
    network = restore.load(file)
    assert (network.scale, network.stride, network.reach) == (1, multiple, expected)
    picture = torch.rand((1, 3, 20, 240), generator=torch.Generator().manual_seed(0))
    whole = restore.apply(picture, network)
    torch.testing.assert_close(whole[..., 8:-8, 8:-8], Smoothing()(picture)[..., 8:-8, 8:-8], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("minimum", "square", "side"), [(0, False, (5, 40)), (30, False, (32, 40)), (0, True, (40, 40))]
)
def test_a_network_gets_pictures_as_large_and_as_square_as_it_needs(monkeypatch, file, minimum, square, side):
    sizes = []

    class Counting(Smoothing):
        def forward(self, picture):
            sizes.append(tuple(picture.shape[2:]))
            return super().forward(picture)

    install(monkeypatch, spandrel_with(Counting(), multiple=4, minimum=minimum, square=square))
    network = restore.load(file)
    sizes.clear()
    assert restore.apply(torch.zeros((1, 3, 5, 40)), network).shape == (1, 3, 5, 40)
    assert sizes == [(max(8, side[0]), side[1])]


def test_a_network_that_looks_everywhere_is_refused(monkeypatch, file):
    install(monkeypatch, spandrel_with(Everywhere()))
    with pytest.raises(ValueError, match=r"theirs\.pth: Smooth x1 .* too far to be computed tile by tile"):
        restore.load(file)


def test_a_network_of_other_channels_is_refused(monkeypatch, file):
    install(monkeypatch, spandrel_with(Smoothing(), channels=4))
    with pytest.raises(ValueError, match=r"theirs\.pth: Smooth x1 \(by spandrel\) has 4 channels"):
        restore.load(file)


def test_a_network_that_enlarges_luma_alone_is_refused(monkeypatch, file):
    install(monkeypatch, spandrel_with(Smoothing(), channels=1, scale=4))
    with pytest.raises(ValueError, match=r"theirs\.pth: Smooth x4 \(by spandrel\) enlarges luma alone"):
        upscale.load(file)


def test_an_error_of_spandrels_own_is_told_with_the_file(monkeypatch, file):
    def stumble(tensors):
        raise KeyError("conv_first.weight")

    loader = SimpleNamespace(load_from_state_dict=stumble)
    module = SimpleNamespace(ModelLoader=lambda device: loader, UnsupportedModelError=Unsupported)
    install(monkeypatch, module)
    with pytest.raises(ValueError, match=r"theirs\.pth: spandrel cannot build it \(KeyError: 'conv_first\.weight'\)"):
        restore.load(file)


def test_what_spandrel_does_not_know_is_refused_with_what_was_seen(monkeypatch, file):
    install(monkeypatch, spandrel_with(None))
    with pytest.raises(ValueError, match=r"no known architecture .* its tensors: unknown \(3,\)"):
        restore.load(file)


@pytest.mark.parametrize("error", [ImportError, RuntimeError("operator torchvision::nms does not exist")])
def test_without_a_spandrel_that_imports_only_our_own_are_known(monkeypatch, file, error):
    def refuse(name):
        raise error

    monkeypatch.setattr(spandrel_fallback.importlib, "import_module", refuse)
    with pytest.raises(ValueError, match="no known architecture"):
        restore.load(file)


@pytest.mark.parametrize("stride", [1, 2, 8])
def test_the_measured_reach_is_at_least_the_true_one_and_at_most_two_steps_more(stride):
    reach = measured_reach(Smoothing(), scale=1, stride=stride, colours=3)
    assert 4 <= reach <= 4 + 2 * stride
    assert reach % stride == 0


def test_a_network_that_ignores_its_input_reaches_nothing():
    class Constant(torch.nn.Module):
        def forward(self, picture):
            return torch.zeros_like(picture)

    assert measured_reach(Constant(), scale=1, stride=1, colours=3) == 0
