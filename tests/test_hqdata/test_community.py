"""Other people's networks load from their own files, whatever the naming, and say truly how far they look."""

import hashlib

import pytest
import small_networks
import torch
from safetensors.torch import save, save_file

from hqdata import restore, upscale
from hqdata.weights.community import build_module
from hqdata.weights.community.adapt import Adapted
from hqdata.weights.community.dncnn import DnCNN
from hqdata.weights.community.fbcnn import FBCNN
from hqdata.weights.community.red import HalvingRedNet
from hqdata.weights.community.rrdb import RRDBNet
from hqdata.weights.community.srresnet import MSRResNet
from hqdata.weights.community.srvgg import SRVGGNetCompact

NAMINGS = sorted(small_networks.RENAMES)


def written(tmp_path, content, suffix=".pth"):
    path = tmp_path / f"theirs{suffix}"
    torch.save(content, path)
    return path


def built(path):
    return build_module(path, path.read_bytes())[0]


@torch.inference_mode()
def output(module, side=16):
    picture = torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(1)) * 2 - 1
    return module(picture)


@pytest.mark.parametrize(("name", "naming"), NAMINGS)
def test_every_naming_gives_the_network_that_was_saved(tmp_path, name, naming):
    network = small_networks.make(name)
    path = written(tmp_path, small_networks.file_content(name, naming, network))
    torch.testing.assert_close(output(built(path)), output(Adapted(network)), atol=0, rtol=0)


@pytest.mark.parametrize("wrapper", ["params_ema", "params", "state_dict", "model", "netG"])
def test_a_wrapper_changes_nothing(tmp_path, wrapper):
    network = small_networks.make("srvgg-x4")
    path = written(tmp_path, {wrapper: network.state_dict(), "epoch": 3})
    torch.testing.assert_close(output(built(path)), output(Adapted(network)), atol=0, rtol=0)


def test_averaged_weights_go_before_plain_ones(tmp_path):
    plain, averaged = small_networks.make("srvgg-x4"), small_networks.make("srvgg-x4", seed=1)
    path = written(tmp_path, {"params": plain.state_dict(), "params_ema": averaged.state_dict()})
    torch.testing.assert_close(output(built(path)), output(Adapted(averaged)), atol=0, rtol=0)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "generator."])
def test_a_prefix_of_every_name_changes_nothing(tmp_path, prefix):
    network = small_networks.make("msrresnet-x4")
    content = small_networks.file_content("msrresnet-x4", "mmsr", network)
    path = written(tmp_path, {prefix + name: value for name, value in content.items()})
    torch.testing.assert_close(output(built(path)), output(Adapted(network)), atol=0, rtol=0)


def test_the_formats_of_old_and_new_pytorch_and_safetensors_agree(tmp_path):
    network = small_networks.make("srvgg-x4")
    new, old, safe = tmp_path / "new.pth", tmp_path / "old.pt", tmp_path / "safe.safetensors"
    torch.save(network.state_dict(), new)
    torch.save(network.state_dict(), old, _use_new_zipfile_serialization=False)
    save_file(network.state_dict(), safe)
    outputs = [output(built(path)) for path in (new, old, safe)]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def test_a_safetensors_file_is_known_by_its_content_under_any_name(tmp_path):
    path = tmp_path / "other.bin"
    path.write_bytes(save(small_networks.make("dncnn-luma").state_dict()))
    assert restore.load(path).reach == 5


def test_half_precision_is_computed_in_single(tmp_path):
    network = small_networks.make("srvgg-x4").half()
    path = written(tmp_path, network.state_dict())
    torch.testing.assert_close(output(built(path)), output(Adapted(network.float())), atol=0, rtol=0)


def with_open_paths(name):
    """Return the network with small positive weights: no path through it is closed, saturated or cancelled."""
    network = small_networks.make(name).double()
    for value in network.parameters():
        torch.nn.init.uniform_(value, 0.0, 0.5 / value[0].numel())
    return network


@pytest.mark.parametrize("name", sorted(small_networks.MAKERS))
def test_an_output_pixel_depends_on_inputs_up_to_the_reach_and_on_none_beyond(name):
    network = with_open_paths(name)
    side = -(-(2 * network.reach + 24) // network.stride) * network.stride
    picture = torch.rand(1, network.colours, 2 * network.stride, side, dtype=torch.float64, requires_grad=True)
    output = network(picture)
    first, furthest = side // 2 // network.stride * network.stride, 0
    for place in range(first, first + network.stride):
        columns = output[..., place * network.scale : (place + 1) * network.scale]
        (slopes,) = torch.autograd.grad(columns.sum(), picture, retain_graph=True)
        seen = slopes.abs().amax(dim=(0, 1, 2)).nonzero().flatten()
        furthest = max(furthest, place - int(seen.min()), int(seen.max()) - place)
    slack = 0 if network.stride == 1 else network.stride  # folded pixels are seen or not together
    assert network.reach - slack <= furthest <= network.reach


@pytest.mark.parametrize(
    ("maker", "expected"),
    [
        (RRDBNet, 16_697_987),  # ESRGAN and Real-ESRGAN: 16.698 M
        (SRVGGNetCompact, 621_424),  # realesr-animevideov3: 0.621 M
        (MSRResNet, 1_517_571),  # BasicSR: 1.518 M
        (lambda: DnCNN(((True, False),) * 20), 665_921),  # DnCNN-3
        (lambda: HalvingRedNet(64, 15), 1_037_507),  # RED30: 1.04 M
        (FBCNN, 71_921_796),  # FBCNN-color: 71.92 M
    ],
)
def test_the_published_sizes_have_as_many_parameters(maker, expected):
    with torch.device("meta"):
        assert sum(value.numel() for value in maker().parameters()) == expected


@pytest.mark.parametrize("name", ["dncnn-luma", "red10-luma", "fbcnn-luma"])
def test_a_network_of_one_channel_keeps_grey_grey_and_colour_differences(name):
    module = Adapted(small_networks.make(name))
    grey = torch.rand(1, 1, 16, 16).expand(1, 3, 16, 16) * 2 - 1
    picture = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.inference_mode():
        corrections = module(grey) - grey, module(picture) - picture
    for correction in corrections:
        assert correction.abs().max() > 0
        torch.testing.assert_close(correction, correction[:, :1].expand_as(correction), atol=1e-6, rtol=0)


def test_the_network_sees_0_to_1_and_the_caller_minus_1_to_1():
    class Inner(torch.nn.Module):
        scale, stride, reach, colours = 1, 1, 0, 3

        def forward(self, picture):
            return picture * torch.tensor([0.5, 1.0, 0.0]).reshape(1, 3, 1, 1)

    given = torch.full((1, 3, 1, 1), 1.0)
    assert Adapted(Inner())(given).flatten().tolist() == [0.0, 1.0, -1.0]


def test_dncnn_takes_the_predicted_noise_away(tmp_path):
    network = small_networks.make("dncnn-luma")
    torch.nn.init.zeros_(network.model[-1].weight)
    torch.nn.init.constant_(network.model[-1].bias, 0.25)
    path = written(tmp_path, network.state_dict())
    picture = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(built(path)(picture), picture - 0.5)


def test_msrresnet_adds_to_torchs_bilinear_enlargement():
    network = small_networks.make("msrresnet-x4")
    for value in network.conv_last.parameters():
        torch.nn.init.zeros_(value)
    picture = torch.rand(1, 3, 5, 7)
    expected = torch.nn.functional.interpolate(picture, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(network(picture), expected)


def test_fbcnn_reads_one_quality_off_eight_pixels_as_the_paper_off_a_picture():
    """On 8 x 8 pixels the surroundings are the whole picture, so the paper's global mean and ours are one."""
    network = small_networks.make("fbcnn-colour")
    picture = torch.rand(1, 3, 8, 8)
    with torch.inference_mode():
        encoded = network.m_body_encoder(network.m_down3(network.m_down2(network.m_down1(network.m_head(picture)))))
        evidence = network.qf_pred[0](encoded).mean(dim=(2, 3))
        expected = network.qf_pred[3:](evidence)
        torch.testing.assert_close(network.quality(picture), expected[:, :, None])


def test_fbcnn_estimates_each_place_from_its_surroundings():
    network = small_networks.make("fbcnn-colour")
    picture = torch.rand(1, 3, 8, 320)
    picture[..., 160:] *= 0.1
    with torch.inference_mode():
        quality = network.quality(picture)[0, 0]
        alone = network.quality(picture[..., :160])[0, 0]
    torch.testing.assert_close(quality[:8], alone[:8])
    assert (quality[0] - quality[-1]).abs() > 1e-5


def test_a_restorer_is_loaded_as_a_network(tmp_path):
    network = restore.load(written(tmp_path, small_networks.make("dncnn-luma").state_dict()))
    assert (network.name, network.scale, network.stride, network.reach) == ("theirs", 1, 1, 5)
    assert not network.module.training


def test_the_sha256_is_the_files(tmp_path):
    path = written(tmp_path, small_networks.make("srvgg-x4").state_dict())
    assert upscale.load(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_upscaler_is_refused_as_a_restorer(tmp_path):
    path = written(tmp_path, small_networks.make("srvgg-x4").state_dict())
    with pytest.raises(ValueError, match=r"theirs\.pth: holds SRVGG.*, an upscaler.*; a restorer.* is needed here"):
        restore.load(path)


def test_a_restorer_is_refused_as_an_upscaler(tmp_path):
    path = written(tmp_path, small_networks.make("dncnn-luma").state_dict())
    with pytest.raises(ValueError, match=r"theirs\.pth: holds DnCNN.*, a restorer.*; an upscaler.* 4 times is needed"):
        upscale.load(path)


def test_a_network_that_doubles_is_refused_with_its_factor(tmp_path):
    path = written(tmp_path, small_networks.make("srvgg-x2").state_dict())
    with pytest.raises(ValueError, match="which enlarges 2 times; an upscaler, which enlarges 4 times is needed here"):
        upscale.load(path)


@pytest.mark.parametrize("name", ["dncnn-colour-normed", "red12", "rrdb-x1-folded"])
def test_a_foreign_restorer_gives_a_region_as_it_gives_the_whole(tmp_path, name):
    naming = next(naming for network, naming in NAMINGS if network == name)
    path = written(tmp_path, small_networks.file_content(name, naming, small_networks.make(name)))
    network = restore.load(path)
    picture = torch.rand((1, 3, 45, 233), generator=torch.Generator().manual_seed(1)) * 2 - 1
    whole = restore.apply(picture, network)
    assert torch.equal(restore.apply(picture, network, (100, 3, 219, 40)), whole[:, :, 3:40, 100:219])
