import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from hqdata.settings import ConfigError, load_settings, settings_from_dict


@dataclass(frozen=True, slots=True, kw_only=True)
class Paint:
    coats: int = 1
    colour: Literal["red", "blue"] = "red"
    size: tuple[int, int] = (4, 6)
    notes: tuple[str, ...] = ()
    price_at: dict[int, float] = field(default_factory=dict)
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.coats < 1:
            raise ValueError(f"coats must be at least 1, got {self.coats}")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    paint: Paint = field(default_factory=Paint)


def test_settings_survive_json():
    house = House(paint=Paint(coats=2, size=(1, 2), notes=("a", "b"), price_at={8: 1.5}, limit=3))
    assert settings_from_dict(House, json.loads(json.dumps(dataclasses.asdict(house)))) == house


def test_later_files_and_assignments_win(tmp_path: Path):
    (tmp_path / "a.toml").write_text("[paint]\ncoats = 2\ncolour = 'blue'\n")
    house = load_settings(House, files=[tmp_path / "a.toml"], assignments=["paint.coats=3", "paint.price_at={16=2}"])
    assert (house.paint.coats, house.paint.colour, house.paint.price_at) == (3, "blue", {16: 2.0})


def test_a_shipped_file_is_found_by_name(tmp_path: Path):
    (tmp_path / "cheap.toml").write_text("[paint]\ncoats = 5\n")
    assert load_settings(House, files=["cheap"], shipped=tmp_path).paint.coats == 5


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("paint.coat=2", r"'coat'; did you mean 'coats'\? Known: coats, colour, size, notes, price_at, limit"),
        ("pain.coats=2", "unknown section 'pain'; did you mean 'paint'"),
        ("paint.coats=0", r"\[paint\]: coats must be at least 1, got 0"),
        ("paint.coats=two", "paint.coats must be of type int, got 'two'"),
        ("paint.coats=true", "paint.coats must be of type int, got True"),
        ("paint.colour=green", "must be one of red, blue, got 'green'"),
        ("paint.size=[1]", "must have 2 values"),
        ("paint.size=7", "must be an array"),
        ("paint.notes=[1]", r"paint.notes\[0\] must be of type str"),
        ("paint.price_at=3", "must be a table"),
        ("paint.price_at={x=3}", "keys must be of type int, got 'x'"),
        ("paint.price_at={8='dear'}", "paint.price_at.8 must be of type float"),
        ("paint", "wants section.key=value"),
    ],
)
def test_a_wrong_setting_is_named(assignment: str, message: str):
    with pytest.raises(ConfigError, match=message):
        load_settings(House, assignments=[assignment])


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file or directory\); give a TOML file$"):
        load_settings(House, files=[tmp_path / "none.toml"])
