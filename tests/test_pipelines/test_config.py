"""Settings: merged in order, strict about names and types."""

from pathlib import Path

import pytest

from hqdata.settings import ConfigError
from pipelines.config import BuildConfig, config_from_dict, load_config


def test_dumping_and_loading_is_identity():
    config = load_config(assignments=["align.size=256", "run.workers=3", "landmarks.min_face_px=10"])
    assert config_from_dict(config.to_dict()) == config


def test_later_wins_from_file_to_assignment_to_flag(tmp_path: Path):
    file = tmp_path / "a.toml"
    file.write_text("[select]\ncount = 1\n[align]\nsize = 64\n[run]\nworkers = 7\n")
    config = load_config([file], ["align.size=128", "run.workers=5"], run={"workers": 2, "chunk_photos": None})
    assert (config.select.count, config.align.size, config.run.workers) == (1, 128, 2)
    assert config.run.chunk_photos == BuildConfig().run.chunk_photos


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[algn]\nsize = 4\n", "unknown section 'algn'; did you mean 'align'"),
        ("[align]\nsixe = 4\n", "unknown key in \\[align\\] 'sixe'; did you mean 'size'"),
        ("align = 3\n", "align is a section"),
        ("[align]\nsize = 'big'\n", "align.size must be of type int, got 'big'"),
        ("[align]\nsize = true\n", "align.size must be of type int"),
        ("[align]\nsize = 100\n", "power of two"),
        ("[align]\nmode = 'quick'\n", "must be one of accurate, fast, exact, got 'quick'"),
        ("[select]\ncount = 0\n", "select.count must be at least 1"),
        ("[landmarks]\nmin_face_px = nan\n", "landmarks.min_face_px must be at least"),
        ("[align\n", "not valid TOML"),
    ],
)
def test_a_bad_file_is_refused_with_the_name(tmp_path: Path, text: str, message: str):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config([file])


@pytest.mark.parametrize(("name", "size"), [("demo", 128), ("celebahq", 1024)])
def test_a_shipped_config_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int):
    (tmp_path / name).mkdir()  # a folder of that name is no config
    monkeypatch.chdir(tmp_path)
    assert load_config([Path(name)]).align.size == size


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        load_config([tmp_path / "none.toml"])


@pytest.mark.parametrize("text", ["size=4", "align.size", "align=3", "=x", "align.=3"])
def test_a_malformed_assignment_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        load_config(assignments=[text])
