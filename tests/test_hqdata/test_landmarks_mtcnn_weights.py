import shutil
import subprocess
import sys

import pytest

from hqdata.landmarks import mtcnn_weights
from hqdata.landmarks.mtcnn_weights import WEIGHTS_SHA256, load_networks


@pytest.fixture
def copied_weights(tmp_path):
    for name in WEIGHTS_SHA256:
        shutil.copy(mtcnn_weights._installed_folder() / name, tmp_path)
    return tmp_path


def test_networks_come_ready_for_inference(copied_weights):
    networks = load_networks(copied_weights)
    assert [sum(p.numel() for p in network.parameters()) for network in networks] == [6632, 100178, 389040]
    assert not any(network.training for network in networks)
    assert not any(p.requires_grad for network in networks for p in network.parameters())


@pytest.mark.parametrize("name", list(WEIGHTS_SHA256))
def test_a_changed_file_is_refused_before_it_is_unpickled(copied_weights, monkeypatch, name):
    monkeypatch.setattr(mtcnn_weights.joblib, "load", lambda file: pytest.fail("it was unpickled"))
    data = bytearray((copied_weights / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied_weights / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"{name}: expected SHA-256 {WEIGHTS_SHA256[name]}, got"):
        mtcnn_weights._read_arrays(copied_weights / name)


def test_a_missing_file_is_named(copied_weights):
    (copied_weights / "rnet.lz4").unlink()
    with pytest.raises(FileNotFoundError, match=r"rnet\.lz4: no such weights file; reinstall"):
        load_networks(copied_weights)


def test_a_missing_package_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(mtcnn_weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install 'mtcnn>=1,<2'"):
        load_networks()


def test_the_package_that_carries_the_weights_is_not_imported():
    code = (
        "import sys, hqdata.landmarks as l; l.open_provider('mtcnn'); "
        "sys.exit('mtcnn' in sys.modules or 'tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
