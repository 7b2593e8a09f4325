"""ncnn's model files are read to the last byte, or refused with the layer that is wrong."""

import struct

import numpy as np
import pytest

from hqdata.weights.community.ncnn import HALF, SINGLE, read_layers, read_values

PARAM = """7767517
4 4
Input                    data     0 1 data
Convolution              first    1 1 data a 0=2 1=1 4=0 5=1 6=6
PReLU                    slopes   1 1 a b 0=2
Convolution              last     1 1 b output 0=1 1=1 4=0 5=0 6=2
"""
KERNEL = np.arange(6, dtype=np.float16) / 4
BIAS = np.array([0.5, -0.5], dtype=np.float32)
SLOPES = np.array([0.1, 0.2], dtype=np.float32)
LAST = np.array([3.0, 4.0], dtype=np.float32)


def binary(tag=HALF, kernel=KERNEL):
    first = struct.pack("<I", tag) + kernel.tobytes() + bytes(-len(kernel.tobytes()) % 4) + BIAS.tobytes()
    return first + SLOPES.tobytes() + struct.pack("<I", SINGLE) + LAST.tobytes()


def test_values_come_in_the_order_and_shapes_of_the_layers():
    values = read_values(read_layers(PARAM), binary())
    expected = [KERNEL.reshape(2, 3, 1, 1), BIAS, SLOPES, LAST.reshape(1, 2, 1, 1)]
    assert [value.dtype for value in values] == [value.dtype for value in expected]
    assert all(np.array_equal(value, wanted) for value, wanted in zip(values, expected, strict=True))


def test_an_odd_number_of_halves_is_padded_to_four_bytes():
    param = PARAM.replace("0=2 1=1 4=0 5=1 6=6", "0=1 1=1 4=0 5=1 6=3").replace("a b 0=2", "a b 0=1")
    data = struct.pack("<I", HALF) + KERNEL[:3].tobytes() + b"\x99\x99" + BIAS[:1].tobytes()
    values = read_values(read_layers(param), data + SLOPES[:1].tobytes() + struct.pack("<I", SINGLE) + LAST.tobytes())
    assert values[1].tolist() == [0.5]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (binary()[:-1], "the values end within layer last; the file is cut"),
        (binary()[:6], "the values end within layer first; the file is cut"),
        (binary() + b"\0", "1 of 45 bytes are left over after the last layer"),
        (binary(tag=0x12345678), "layer first has tag 0x12345678; float16 and float32 are known"),
        (b"", "the values end within layer first"),
    ],
)
def test_values_of_another_length_or_kind_are_refused_with_the_layer(data, cause):
    with pytest.raises(ValueError, match=cause):
        read_values(read_layers(PARAM), data)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "not ncnn's .param"),
        ("1234\n4 4\n", "its first line is '1234'"),
        ("7767517\n", "a line of ncnn's .param cannot be read"),
        ("7767517\nmany 4\n", "cannot be read"),
        ("7767517\n2 2\nInput data 0 1 data\n", "names 2 layers but lists 1"),
        ("7767517\n1 1\nInput data x 1 data\n", "cannot be read"),
        ("7767517\n1 1\nInput data 0 1 data 0=1=\n7\n", "cannot be read|lists 2"),
    ],
)
def test_a_list_of_layers_that_cannot_be_read_is_refused(text, cause):
    with pytest.raises(ValueError, match=cause):
        read_layers(text)


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("PReLU   ", "Softmax ", "layer slopes is a Softmax, which is not known here"),
        ("0=2 1=1 4=0 5=1 6=6", "0=2 1=1 4=0 5=1", "layer first lacks parameter 6"),
        ("6=6", "6=7", "layer first"),
        ("6=6", "6=-4", "layer first"),
        ("6=6", "6=many", "layer first"),
        ("a b 0=2", "a b 0=-1", "layer slopes"),
    ],
)
def test_a_layer_that_makes_no_sense_is_refused_by_name(old, new, cause):
    with pytest.raises(ValueError, match=cause):
        read_values(read_layers(PARAM.replace(old, new)), binary())
