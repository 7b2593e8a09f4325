import subprocess
import sys
from pathlib import Path

import pytest

import metrics

ROOM = Path(metrics.__file__).parent


@pytest.mark.parametrize("name", metrics.__all__)
def test_every_public_name_is_there_and_documented(name: str):
    thing = getattr(metrics, name)
    assert thing.__doc__, name


def test_no_module_hides_a_public_name_behind_it():
    modules = {path.stem for path in ROOM.glob("*.py")} | {path.parent.name for path in ROOM.glob("*/__init__.py")}
    assert not modules & (set(metrics.__all__) - {"features", "kernels", "sources"})


def test_a_misspelt_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'fidd'"):
        metrics.fidd  # noqa: B018


def test_importing_the_room_loads_no_library():
    code = "import sys, metrics; print(*({name.split('.')[0] for name in sys.modules} & {'torch', 'numpy', 'scipy'}))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []
