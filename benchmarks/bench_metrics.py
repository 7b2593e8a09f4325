"""Speed of every metric beside whom it replaces: CPU seconds, both sides in turns in one process, on one thread.

    python benchmarks/bench_metrics.py [--quick] [--only NAME ...] [--threads 1] [--json FILE]

Each file of benchmarks/metric_sections/ is a section. A section whose other side is not installed says so and is left
out. `ratio` is theirs over ours, the median over the turns: above 1 we are faster. On CUDA the sections measure by the
clock and put the floor (bytes or operations over the machine's measured speed) into the note.
"""

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).parent
SECTIONS = BENCHMARKS / "metric_sections"
sys.path += [str(BENCHMARKS), str(SECTIONS), str(BENCHMARKS.parent / "tests")]  # for measure.py and the oracles

WIDTHS = {"what": 62, "ours_s": 10, "theirs": 34, "theirs_s": 10, "ratio": 8, "note": 0}
"""Columns of the table; the last one is as wide as it is."""


def main() -> None:
    names = sorted(path.stem for path in SECTIONS.glob("*.py") if path.stem not in {"__init__", "measure"})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=names, choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="small sizes, a few seconds a section; ratios are rough")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # read when torch and numpy are first imported, below

    import torch

    torch.set_num_threads(arguments.threads)
    print(machine())
    print("".join(title.ljust(width) for title, width in WIDTHS.items()))
    rows = [row for name in arguments.only for row in printed(name, quick=arguments.quick)]
    if arguments.json:
        content = {"machine": machine(), "threads": arguments.threads, "quick": arguments.quick, "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


def printed(name: str, *, quick: bool) -> Iterator[dict]:
    """Print and yield each row of a section as it comes, since some take minutes."""
    print(f"-- {name}", flush=True)
    try:
        for row in section(name).rows(quick=quick):
            print(line(asdict(row)), flush=True)
            yield {"section": name, **asdict(row)}
    except ModuleNotFoundError as error:
        print(f"   left out: {error}", flush=True)


def section(name: str) -> ModuleType:
    """Import a section under a name of its own, since it may be called like a package."""
    specification = importlib.util.spec_from_file_location(f"metric_section_{name}", SECTIONS / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


def line(row: dict) -> str:
    texts = {key: f"{value:.4g}" if isinstance(value, float) else str(value or "") for key, value in row.items()}
    if row["ratio"] is not None:
        texts["ratio"] = f"{row['ratio']:.2f}"
    return "".join(texts[key].ljust(width) for key, width in WIDTHS.items()).rstrip()


def machine() -> str:
    import torch

    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    model = next((text.split(":")[1].strip() for text in lines if text.startswith("model name")), "unknown processor")
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{os.cpu_count()} cores of {model}{gpu}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
