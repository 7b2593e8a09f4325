"""The JPEG remover: what its numbers promise, and that it earns its place."""

import numpy as np
import pytest
import torch
from skimage import data

import hqdata.restore.train as train_module
from hqdata import restore
from hqdata.pixels import to_image, to_tensor
from hqdata.restore.checkpoint import Average, load_state, save_state
from hqdata.restore.degrade import jpeg
from hqdata.restore.model import SymmetricAutoencoder
from hqdata.restore.train import Settings, cosine_rate, train


@pytest.fixture(scope="module")
def network():
    return restore.load()


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(data.chelsea()[60:188, 120:280])


def psnr(image, reference):
    return 10 * np.log10(255**2 / np.mean((image.astype(np.float64) - reference) ** 2))


def test_an_untrained_network_is_the_identity():
    image = torch.rand((1, 3, 10, 14))
    assert torch.equal(SymmetricAutoencoder()(image), image)


@pytest.mark.parametrize("pairs", [1, 4])
@pytest.mark.parametrize("pixel", [(80, 80), (81, 81), (80, 81)])
def test_the_reach_is_exact(pairs, pixel):
    module = SymmetricAutoencoder(channels=2, pairs=pairs)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0.3)
    image = torch.full((1, 3, 160, 160), 0.1, requires_grad=True)
    module(image)[0, 0, pixel[0], pixel[1]].backward()
    assert image.grad is not None
    rows, columns = image.grad[0].abs().amax(0).nonzero().unbind(1)
    away = max(int((rows - pixel[0]).abs().max()), int((columns - pixel[1]).abs().max()))
    assert away <= module.reach
    assert away >= module.reach - 1


def test_the_loaded_network_says_what_it_is(network):
    assert network.name == "dejpeg-small"
    assert (network.scale, network.stride, network.reach) == (1, 2, 41)
    assert len(network.sha256) == 64
    assert not network.module.training


@pytest.mark.parametrize("quality", [10, 20, 40, 60])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_a_compressed_photo_comes_closer_to_the_original(network, photo, quality, subsampling):
    damaged = jpeg(photo, quality, subsampling)
    fixed = to_image(restore.apply(to_tensor(damaged), network))
    assert psnr(fixed, photo) > psnr(damaged, photo) + 0.1


def test_a_compressed_face_comes_closer_to_the_original(network):
    face = np.ascontiguousarray(data.astronaut()[60:220, 150:310])
    damaged = jpeg(face, 30)
    fixed = to_image(restore.apply(to_tensor(damaged), network))
    assert psnr(fixed, face) > psnr(damaged, face) + 0.2


def test_a_box_equals_that_part_of_the_whole_bit_for_bit(network, photo):
    image = to_tensor(photo)
    whole = restore.apply(image, network, anchor=(30, 16))
    assert torch.equal(restore.apply(image, network, (31, 16, 90, 77), anchor=(30, 16)), whole[:, :, 16:77, 31:90])


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (7, 33)])
def test_any_size_keeps_its_size(network, size):
    image = torch.zeros((1, 3, *size))
    assert restore.apply(image, network).shape == image.shape


def test_a_run_stopped_half_way_ends_with_the_same_weights(tmp_path, monkeypatch):
    write_noise_photo(tmp_path / "photos")
    settings = Settings(images=16, batch=4, patch=16)
    uninterrupted = train(tmp_path / "photos", tmp_path / "once", settings).state_dict()
    monkeypatch.setattr("hqdata.restore.train.SAVE_IMAGES", 8)
    with monkeypatch.context() as stopping:
        stopping.setattr("hqdata.restore.train._step", stopping_at(12))
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "photos", tmp_path / "twice", settings)
    resumed = train(tmp_path / "photos", tmp_path / "twice", settings).state_dict()
    assert all(torch.equal(value, resumed[key]) for key, value in uninterrupted.items())


def test_training_refuses_other_settings_in_a_begun_folder(tmp_path):
    write_noise_photo(tmp_path / "photos")
    train(tmp_path / "photos", tmp_path / "run", Settings(images=4, batch=4, patch=16))
    with pytest.raises(ValueError, match="was begun with"):
        train(tmp_path / "photos", tmp_path / "run", Settings(images=8, batch=4, patch=16))


def test_training_without_photos_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no \.png"):
        train(tmp_path, tmp_path / "run", Settings(images=4))


def test_a_saved_state_restores_networks_and_optimizers(tmp_path):
    module, optimizer, average = stepped(seed=1)
    save_state(
        tmp_path,
        progress={"images": 5},
        networks={"net": module.state_dict(), "average": average.values},
        optimizers={"adam": optimizer},
    )
    other, other_optimizer, other_average = stepped(seed=2)
    progress = load_state(
        tmp_path, networks={"net": other, "average": other_average}, optimizers={"adam": other_optimizer}
    )
    assert progress is not None
    assert progress["images"] == 5
    one_step(module, optimizer)
    one_step(other, other_optimizer)
    assert torch.equal(other.weight, module.weight)
    assert torch.equal(other_average.values["weight"], average.values["weight"])


def test_a_new_folder_has_no_state(tmp_path):
    assert load_state(tmp_path, networks={}, optimizers={}) is None


def test_the_rate_rises_then_falls_to_a_hundredth():
    rates = [cosine_rate(images, 1000, 1.0) for images in range(0, 1001, 10)]
    assert rates[0] < 0.05
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert rates[-1] == pytest.approx(0.01)
    assert rates[1:] == sorted(rates[1:], reverse=True)


def stopping_at(images_shown):
    step = train_module._step

    def stop_or_step(network, optimizer, pool, settings, images):
        if images == images_shown:
            raise KeyboardInterrupt
        return step(network, optimizer, pool, settings, images)

    return stop_or_step


def write_noise_photo(folder):
    from PIL import Image

    folder.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "noise.png")


def stepped(seed):
    torch.manual_seed(seed)
    module = torch.nn.Linear(3, 3)
    average = Average(module)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    one_step(module, optimizer)
    average.update(module, images=1, batch=1)
    return module, optimizer, average


def one_step(module, optimizer):
    optimizer.zero_grad()
    module(torch.ones(2, 3)).square().sum().backward()
    optimizer.step()
