import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from gan.checkpoint import load_snapshot
from pipelines.cli_gan_import import import_generator


def _zoo_file(folder: Path, *, alpha: float = 0.0) -> Path:
    """Write an 8 px checkpoint of pytorch_GAN_zoo, its settings as a dictionary."""
    shapes = {
        "formatLayer": (64, 8),
        "groupScale0.0": (4, 4, 3, 3),
        "scaleLayers.0.0": (4, 4, 3, 3),
        "scaleLayers.0.1": (4, 4, 3, 3),
        "toRGBLayers.0": (3, 4, 1, 1),
        "toRGBLayers.1": (3, 4, 1, 1),
    }
    tensors = {}
    for name, shape in shapes.items():
        tensors |= {f"{name}.module.weight": torch.ones(shape), f"{name}.module.bias": torch.ones(shape[0])}
    path = folder / "generator.pth"
    torch.save({"config": {"alpha": alpha}, "netG": tensors}, path)
    return path


def test_a_checkpoint_becomes_a_file_of_ours(tmp_path: Path):
    out = tmp_path / "generator.safetensors"
    answer = CliRunner().invoke(import_generator, [str(_zoo_file(tmp_path, alpha=0.25)), "--out", str(out)])
    assert answer.exit_code == 0, answer.output
    assert "8 px, 3 channels, of pytorch_GAN_zoo" in answer.output
    assert "8 px, 75% faded in" in answer.output
    snapshot = load_snapshot(out)
    assert (snapshot.level, snapshot.fade, snapshot.images) == (3, 0.75, 0)
    assert snapshot.generator(torch.zeros(1, 8)).shape == (1, 3, 8, 8)


def test_a_refused_file_leaves_nothing(tmp_path: Path):
    file, out = tmp_path / "network.pkl", tmp_path / "generator.safetensors"
    file.write_bytes(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.")
    answer = CliRunner().invoke(import_generator, [str(file), "--out", str(out)])
    assert answer.exit_code == 1
    assert "asks for os.system, which is refused" in str(answer.exception)
    assert not out.exists()


@pytest.mark.parametrize("name", ["generator.pt", "generator"])
def test_the_name_must_say_what_is_written(tmp_path: Path, name: str):
    answer = CliRunner().invoke(import_generator, [str(_zoo_file(tmp_path)), "--out", str(tmp_path / name)])
    assert answer.exit_code == 2
    assert "must end in .safetensors" in answer.output


def test_a_missing_file_is_wrong_use(tmp_path: Path):
    answer = CliRunner().invoke(import_generator, [str(tmp_path / "none.pkl"), "--out", "a.safetensors"])
    assert answer.exit_code == 2


def test_help_needs_no_torch():
    code = "import sys, pipelines.cli_gan_import; print('torch' in sys.modules, 'dask' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]
