"""A tiny network of every foreign architecture, and its state dictionary under every naming that files use."""

import re

import torch

from hqdata.weights.community.dncnn import DnCNN
from hqdata.weights.community.fbcnn import FBCNN
from hqdata.weights.community.red import HalvingRedNet
from hqdata.weights.community.rrdb import RRDBNet
from hqdata.weights.community.srresnet import MSRResNet
from hqdata.weights.community.srvgg import SRVGGNetCompact

PLAIN = (True, False)
NORMED = (False, True)

MAKERS = {
    "rrdb-x4": lambda: RRDBNet(6, 3, 2),
    "rrdb-x8": lambda: RRDBNet(6, 3, 1, 3),
    "rrdb-x2-folded": lambda: RRDBNet(6, 3, 1, 2, 2),
    "rrdb-x1-folded": lambda: RRDBNet(6, 3, 1, 2, 4),
    "rrdb-x1": lambda: RRDBNet(6, 3, 2, 0),
    "srvgg-x4": lambda: SRVGGNetCompact(6, 3, 4),
    "srvgg-x2": lambda: SRVGGNetCompact(6, 3, 2),
    "msrresnet-x4": lambda: MSRResNet(6, 2),
    "msrresnet-x3": lambda: MSRResNet(6, 2, (3,)),
    "red12": lambda: HalvingRedNet(6, 6),
    "red10-luma": lambda: HalvingRedNet(6, 5, 1),
    "dncnn-luma": lambda: DnCNN((PLAIN,) * 5, 6, 1),
    "dncnn-colour-normed": lambda: DnCNN((PLAIN, (True, True), (True, True), PLAIN), 6, 3),
    "dncnn-plain-normed": lambda: DnCNN(((False, False), NORMED, NORMED, (False, False)), 6, 1, 1e-5),
    "fbcnn-colour": lambda: FBCNN((4, 5, 6, 7), 1, 3),
    "fbcnn-luma": lambda: FBCNN((4, 5, 6, 7), 1, 1),
}

RENAMES = {
    ("rrdb-x4", "basicsr"): {r"^conv_ups\.0": "conv_up1", r"^conv_ups\.1": "conv_up2"},
    ("rrdb-x4", "esrgan"): {
        r"^body\.(\d+)\.rdb": r"RRDB_trunk.\1.RDB",
        r"^conv_body": "trunk_conv",
        r"^conv_ups\.0": "upconv1",
        r"^conv_ups\.1": "upconv2",
        r"^conv_hr": "HRconv",
    },
    ("rrdb-x4", "oldest"): {
        r"^conv_first": "model.0",
        r"^conv_body": "model.1.sub.2",
        r"^body\.(\d+)\.rdb(\d)\.conv(\d)": r"model.1.sub.\1.RDB\2.conv\3.0",
        r"^conv_ups\.0": "model.3",
        r"^conv_ups\.1": "model.6",
        r"^conv_hr": "model.8",
        r"^conv_last": "model.10",
    },
    ("rrdb-x8", "oldest"): {
        r"^conv_first": "model.0",
        r"^conv_body": "model.1.sub.1",
        r"^body\.(\d+)\.rdb(\d)\.conv(\d)": r"model.1.sub.\1.RDB\2.conv\3.0",
        r"^conv_ups\.0": "model.3",
        r"^conv_ups\.1": "model.6",
        r"^conv_ups\.2": "model.9",
        r"^conv_hr": "model.11",
        r"^conv_last": "model.13",
    },
    ("rrdb-x1", "oldest"): {
        r"^conv_first": "model.0",
        r"^conv_body": "model.1.sub.2",
        r"^body\.(\d+)\.rdb(\d)\.conv(\d)": r"model.1.sub.\1.RDB\2.conv\3.0",
        r"^conv_hr": "model.2",
        r"^conv_last": "model.4",
    },
    ("rrdb-x2-folded", "basicsr"): {r"^conv_ups\.0": "conv_up1", r"^conv_ups\.1": "conv_up2"},
    ("rrdb-x1-folded", "basicsr"): {r"^conv_ups\.0": "conv_up1", r"^conv_ups\.1": "conv_up2"},
    ("srvgg-x4", "only"): {},
    ("srvgg-x2", "only"): {},
    ("msrresnet-x4", "basicsr"): {r"^upconvs\.0": "upconv1", r"^upconvs\.1": "upconv2"},
    ("msrresnet-x4", "mmsr"): {
        r"^body": "recon_trunk",
        r"^upconvs\.0": "upconv1",
        r"^upconvs\.1": "upconv2",
        r"^conv_hr": "HRconv",
    },
    ("msrresnet-x3", "basicsr"): {r"^upconvs\.0": "upconv1"},
    ("red12", "only"): {r"^conv_layers\.(\d+)": r"conv_layers.\1.0", r"^deconv_layers\.([0-4])": r"deconv_layers.\1.0"},
    ("red10-luma", "only"): {
        r"^conv_layers\.(\d+)": r"conv_layers.\1.0",
        r"^deconv_layers\.([0-3])": r"deconv_layers.\1.0",
    },
    ("dncnn-luma", "kair"): {},
    ("dncnn-colour-normed", "kair"): {},
    ("dncnn-plain-normed", "plain"): {r"^model": "dncnn"},
    ("fbcnn-colour", "only"): {},
    ("fbcnn-luma", "only"): {},
}
"""From our names to the files', by network and naming."""


def make(name, seed=0):
    """Return the network with random weights that no path through it switches off."""
    torch.manual_seed(seed)
    network = MAKERS[name]().eval()
    for key, value in network.state_dict().items():
        if key.endswith("running_mean"):
            value.uniform_(-0.2, 0.2)
        elif key.endswith("running_var"):
            value.uniform_(1e-5, 0.5)
    return network


def file_content(name, naming, network):
    """Return the network's state dictionary as a file of this naming has it."""
    content = {}
    for key, value in network.state_dict().items():
        new = key
        for pattern, replacement in RENAMES[name, naming].items():
            new = re.sub(pattern, replacement, new)
        content[new] = value
    return content
