"""Small finished runs for the tests of the shards: seeded pictures, written by the real writer."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hqdata.png import encode_png, pixel_sha256
from hqdata.shards import ShardLayout, ShardRow, write_index, write_manifest, write_shard
from hqdata.storage import open_folder

LAYOUT = ShardLayout(size=16, num_shards=2, parts=("breadth", "noise"), attributes={"Male": int, "camera": str})


def picture(number, size=16):
    return np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)


def row(number, size=16, **changes):
    image = picture(number, size)
    values = ShardRow(
        id=f"{number:06d}",
        rank=number,
        score=1 - number / 1024,
        parts={"breadth": number / 8, "noise": -1.5},
        source=f"album {number % 3}/{number:06d}.jpg",
        face_index=number % 2,
        landmarks=np.arange(10.0).reshape(5, 2) + number,
        landmark_source="mtcnn",
        quad=np.arange(8.0).reshape(4, 2) - number,
        source_size=(120, 160 + number),
        png=encode_png(image),
        pixel_sha256=pixel_sha256(image),
        attributes={"Male": number % 2, "camera": None if number % 2 else "Ricoh"},
    )
    return replace(values, **changes)


def rows(first, count, size=16):
    return (row(number, size) for number in range(first, first + count))


def write_shards(run, rows_per_shard=3, layout=LAYOUT):
    return [
        write_shard(
            run,
            shard,
            rows(shard * rows_per_shard, rows_per_shard, layout.size),
            num_rows=rows_per_shard,
            layout=layout,
        )
        for shard in range(layout.num_shards)
    ]


def write_run(run, rows_per_shard=3, layout=LAYOUT):
    """Write a whole run with as many files of the others' as `verify_run` wants; return its shards' records."""
    shards = write_shards(run, rows_per_shard, layout)
    index = write_index(run, shards)
    ids = [id for files in shards for id in files.ids]
    with open_folder(run).writing("selected.parquet") as path:
        pq.write_table(pa.table({"rank": range(len(ids)), "id": ids}), path)
    open_folder(run).write_json("work/ledger.json", {})
    write_manifest(run, [index, *(file for files in shards for file in files.files)])
    return shards
