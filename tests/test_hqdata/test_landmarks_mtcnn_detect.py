import numpy as np
import pytest

from hqdata.landmarks.mtcnn_detect import suppress

BOXES = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [2, 2, 6, 6], [5, 0, 15, 10]])
SCORES = np.array([0.9, 0.95, 0.8, 0.7, 0.85])


def suppressed_by_the_book(boxes, scores, max_overlap):
    kept = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(overlap(boxes[index], boxes[other]) <= max_overlap for other in kept):
            kept.append(index)
    return kept


def overlap(one, other):
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (area - width * height)


def test_the_best_box_removes_those_that_overlap_it():
    assert suppress(BOXES, SCORES, 0.5).tolist() == [1, 4, 2, 3]


def test_by_smaller_area_a_box_inside_another_goes_too():
    assert suppress(BOXES, SCORES, 0.7, by_smaller_area=True).tolist() == [1, 4, 2]


def test_no_boxes_give_no_boxes():
    assert suppress(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


@pytest.mark.parametrize("max_overlap", [0.3, 0.5, 0.7])
def test_suppression_agrees_with_the_plain_definition(max_overlap):
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 60, (200, 2))
    boxes, scores = np.hstack([corners, corners + rng.uniform(5, 30, (200, 2))]), rng.uniform(size=200)
    assert suppress(boxes, scores, max_overlap).tolist() == suppressed_by_the_book(boxes, scores, max_overlap)


def test_equal_scores_are_settled_by_position_whatever_the_order_given():
    shuffled = np.random.default_rng(2).permutation(len(BOXES))
    kept = BOXES[suppress(BOXES, np.ones(5), 0.5)]
    np.testing.assert_array_equal(kept, BOXES[shuffled][suppress(BOXES[shuffled], np.ones(5), 0.5)])
