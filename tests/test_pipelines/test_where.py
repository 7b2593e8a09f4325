"""Conditions on the scores: which rows they choose, what a missing value answers, and what is refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hqdata.settings import ConfigError
from hqdata.storage import open_folder
from pipelines.where import allowed_rows, parse_condition

TABLE = pa.table(
    {
        "score": [1.0, 2.5, None, 4.0],
        "Male": pa.array([1, -1, 1, None], pa.int64()),
        "5_o_Clock_Shadow": pa.array([1, 1, -1, -1], pa.int64()),
        "source": ["a/1.jpg", "a/2.jpg", "b/it's.jpg", None],
        "padded": [True, False, None, True],
        "quad": pa.array([[1.0], [2.0], None, [3.0]]),
    }
)


def chosen(text: str) -> list[int]:
    return np.flatnonzero(parse_condition(text).mask(TABLE)).tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("score > 1", [1, 3]),
        ("score >= 1.0", [0, 1, 3]),
        ("2 < score <= 4", [1, 3]),
        ("score != 2.5", [0, 3]),
        ("Male == 1", [0, 2]),
        ("Male == -1", [1]),
        ("Male in (1, 7)", [0, 2]),
        ("Male not in [1, 7.5]", [1]),
        ("Male in (1)", [0, 2]),
        ("Male in ()", []),
        ("`5_o_Clock_Shadow` == Male", [0]),
        ("source == 'a/1.jpg'", [0]),
        ('source == "b/it\'s.jpg"', [2]),
        ("source < 'a/2'", [0]),
        ("source in ('a/1.jpg', 'a/2.jpg')", [0, 1]),
        ("'a/' in source", [0, 1]),
        ("'a/' not in source", [2]),
        ("'`score`' in source", []),
        ("padded", [0, 3]),
        ("padded == False", [1]),
        ("score is None", [2]),
        ("quad is not None", [0, 1, 3]),
        ("score > 1 and not padded", [1]),
        ("score > 3 or Male == 1", [0, 2, 3]),
        ("(score > 3 or Male == 1) and padded", [0, 3]),
    ],
)
def test_a_condition_holds_for_these_rows(text: str, rows: list[int]):
    assert chosen(text) == rows


@pytest.mark.parametrize("comparison", ["score > 1", "score <= 1", "score == 2", "score != 2", "score in (2,)"])
def test_a_comparison_with_a_missing_value_is_false_and_not_turns_it_around(comparison: str):
    assert 2 not in chosen(comparison)
    assert 2 in chosen(f"not ({comparison})")


@given(st.sampled_from([0.5, 1.0, 2.5, 9.0]), st.sampled_from([0.5, 1.0, 2.5, 9.0]))
def test_and_or_not_are_those_of_sets(low: float, high: float):
    a, b = f"score > {low}", f"score > {high}"
    everything = set(range(4))
    assert set(chosen(f"{a} and {b}")) == set(chosen(a)) & set(chosen(b))
    assert set(chosen(f"{a} or {b}")) == set(chosen(a)) | set(chosen(b))
    assert set(chosen(f"not {a}")) == everything - set(chosen(a))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "score >",
        "score = 3",
        "score + 1 > 3",
        "1 < 2",
        "3",
        "score.real > 2",
        "score[0] > 2",
        "__import__('os').system('true') == 0",
        "score > max(1, 2)",
        "(lambda: score)() > 1",
        "score > f'{1}'",
        "[x for x in source] == 1",
        "score & padded",
        "score > None",
        "score is 3",
        "score in Male",
        "score in (Male, 3)",
        "Male == 99999999999999999999",
        "(score := 3) > 2",
        "score > 1; padded",
        "score > 1 if padded else score",
        "not " * 5000 + "padded",
    ],
)
def test_anything_else_is_refused_with_an_example(text: str):
    with pytest.raises(ConfigError, match="write it like: score > 20"):
        parse_condition(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("scor > 3", "no column 'scor' in the scores; did you mean 'score'"),
        ("`5_o_clock` == 1", "did you mean '5_o_Clock_Shadow'"),
        ("score > 'high'", "cannot compare score, a number and 'high', a text"),
        ("source == 3", "cannot compare source, a text and 3, a number"),
        ("padded == 1", "cannot compare padded, a truth value and 1, a number"),
        ("Male in (1, 'x')", "cannot compare Male, a number and 'x', a text"),
        ("'x' in score", "cannot compare 'x', a text and score, a number"),
        ("quad == quad", "cannot compare quad, a list"),
        ("score and padded", "score alone is neither true nor false"),
    ],
)
def test_a_condition_that_does_not_fit_the_table_is_refused_before_there_are_rows(text: str, sentence: str):
    with pytest.raises(ConfigError) as error:
        parse_condition(text).require_fits(TABLE.schema)
    assert sentence in str(error.value)


def test_a_file_answers_as_its_table_does(tmp_path: Path):
    pq.write_table(TABLE, tmp_path / "scores.parquet", row_group_size=2)
    allowed = allowed_rows("score > 1 and `5_o_Clock_Shadow` == 1", open_folder(tmp_path), "scores.parquet")
    assert allowed.tolist() == [False, True, False, False]


def test_an_empty_file_allows_nothing(tmp_path: Path):
    pq.write_table(TABLE.slice(0, 0), tmp_path / "scores.parquet")
    assert allowed_rows("score > 1", open_folder(tmp_path), "scores.parquet").tolist() == []
