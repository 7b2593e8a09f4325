"""What the driver of a build costs in CPU time and memory, without pictures: rows instead of pixels.

    python benchmarks/bench_driver.py [--photos 20000] [--count 1000] [--short-photos 4000] [--only SECTION ...]
    python benchmarks/bench_driver.py --photos 5000000 --count 30000 --only build resume

Each section is a process of its own, so that its peak of memory is its own:

    build        listing, index, score phase, tables, selection, plan of the shards; answers come from a process beside
                 it as bytes, as they come from a cluster, and the ledger is real
    resume       a second driver over the ledger that "build" wrote
    bookkeeping  the score phase alone, at several chunk sizes, without a ledger
    dask         the score phase with a real scheduler and two workers that sleep a millisecond a task

"peak" is the most memory that the process held up to the end of a step. A million photos take some five minutes and
1.3 GB of disk for "build".
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SECTIONS = {"build": "whole_build", "resume": "resume", "bookkeeping": "bookkeeping", "dask": "with_dask"}
NEEDS_LEDGER = "resume"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=20_000, help="photos in build and resume")
    parser.add_argument("--count", type=int, default=1_000, help="faces to choose")
    parser.add_argument("--short-photos", type=int, default=4_000, help="photos in bookkeeping and dask")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--scratch", type=Path, help="where the ledger goes; the system's temporary folder by default")
    parser.add_argument("--process", choices=SECTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.process:
        measure(arguments)
    else:
        measure_all(arguments)


def measure_all(arguments: argparse.Namespace) -> None:
    if NEEDS_LEDGER in arguments.only and "build" not in arguments.only:
        raise SystemExit("resume reads what build writes; give --only build resume")
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        for section in SECTIONS:
            if section in arguments.only:
                options = ["--process", section, "--run", scratch, *sys.argv[1:]]
                answer = subprocess.run([sys.executable, __file__, *options], stdout=subprocess.PIPE, check=True)
                show(section, json.loads(answer.stdout.splitlines()[-1]))


def measure(arguments: argparse.Namespace) -> None:
    """Run one section and print its rows as JSON."""
    from driver_sections import sections

    photos = arguments.photos if arguments.process in ("build", NEEDS_LEDGER) else arguments.short_photos
    print(json.dumps(getattr(sections, SECTIONS[arguments.process])(photos, arguments.count, arguments.run)))


def show(section: str, rows: list[dict]) -> None:
    print(f"\n{section:<36}{'items':>9}{'CPU s':>9}{'us/item':>9}{'items/s':>10}{'kept MiB':>10}{'peak MiB':>10}")
    for row in rows:
        rate = f"{row['items'] / row['cpu_s']:,.0f}" if row["items"] else "-"
        print(
            f"{row['step']:<36}{row['items']:>9}{row['cpu_s']:>9.2f}{row['us_an_item']:>9.1f}{rate:>10}"
            f"{row['kept_mib']:>10.1f}{row['peak_mib']:>10.0f}"
        )
        if "note" in row:
            print(f"    {row['note']}")


if __name__ == "__main__":
    main()
