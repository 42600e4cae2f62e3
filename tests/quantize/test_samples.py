"""Samples: folders, arrays, tables, recordings and iterators as a model's inputs, and what is said of bad ones."""

from __future__ import annotations

import gzip
import itertools
import struct
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinymaix.graph import Array, ModelError, Quantization, Tensor
from tinymaix.quantize.samples import Samples, load_samples


def one(*shape: int, dtype: str = "float32", q: Quantization | None = None) -> list[Tensor]:
    return [Tensor("x", shape, np.dtype(dtype), q)]


def pgm(pixels: Array) -> bytes:
    kind = b"P5" if pixels.shape[2] == 1 else b"P6"
    return b"%s %d %d 255\n" % (kind, pixels.shape[1], pixels.shape[0]) + pixels.tobytes()


@pytest.fixture
def digits() -> Array:
    return np.random.default_rng(0).integers(0, 256, (12, 8, 6, 1), np.uint8)


def folder_of(path: Path, pixels: Array, name: str = "{}.pgm") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pixels):
        (path / name.format(i)).write_bytes(pgm(picture))
    return path


def write_wav(path: Path, sound: Array, channels: int = 1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(sound.astype("<i2").tobytes())


def test_a_folder_of_pictures(tmp_path: Path, digits: Array) -> None:
    found = load_samples(folder_of(tmp_path / "my digits", digits), one(1, 8, 6, 1))
    assert found.names == sorted(f"{i}.pgm" for i in range(12))  # as text, whatever the folder says
    assert found.labels is None  # numbers alone are no classes
    for name, (x,) in zip(found.names, found.inputs, strict=True):
        assert x.dtype == np.float32
        assert np.array_equal(x[0], digits[int(name[:-4])] / np.float32(255))


@pytest.mark.parametrize("shape", [(1, 8, 6), (1, 1, 8, 6), (1, 48), (1, 8, 6, 1)])
def test_a_picture_takes_the_shape_of_the_input(tmp_path: Path, digits: Array, shape: tuple[int, ...]) -> None:
    found = load_samples(folder_of(tmp_path, digits[:1]), one(*shape), normalize="none")
    assert np.array_equal(found.inputs[0][0].reshape(-1), digits[0].reshape(-1))


def test_channels_first_and_blue_first(tmp_path: Path) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (1, 4, 5, 3), np.uint8)
    folder = folder_of(tmp_path, colours, "{}.ppm")
    first = load_samples(folder, one(1, 3, 4, 5), normalize="none").inputs[0][0]
    assert np.array_equal(first[0], colours[0].transpose(2, 0, 1))
    blue = load_samples(folder, one(1, 4, 5, 3), normalize="none", bgr=True).inputs[0][0]
    assert np.array_equal(blue[0], colours[0][..., ::-1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0to1", lambda x: x / 255),
        ("-1to1", lambda x: (x - 128) / 128),
        ("n1to1", lambda x: (x - 128) / 128),
        ("none", lambda x: x),
        ("33.3,78.5", lambda x: (x - 33.3) / 78.5),
    ],
)
def test_normalize(digits: Array, text: str, expected: Callable[[Array], Array]) -> None:
    found = load_samples(digits, one(1, 8, 6, 1), normalize=text)
    np.testing.assert_allclose(found.inputs[3][0][0], expected(digits[3].astype(np.float64)), rtol=1e-6)


def test_normalize_each_channel() -> None:
    x = np.random.default_rng(2).integers(0, 256, (2, 4, 4, 3), np.uint8)
    last = load_samples(x, one(1, 4, 4, 3), normalize="1,2,3,4,5,6").inputs[1][0][0]
    np.testing.assert_allclose(last, (x[1] - [1.0, 2.0, 3.0]) / [4.0, 5.0, 6.0], rtol=1e-6)
    first = load_samples(x, one(1, 3, 4, 4), normalize="1,2,3,4,5,6").inputs[1][0][0]
    np.testing.assert_allclose(first, last.transpose(2, 0, 1), rtol=1e-6)
    with pytest.raises(ModelError, match="names 3 channels"):
        load_samples(x[..., :1], one(1, 4, 4, 1), normalize="1,2,3,4,5,6")


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "0,0", "1,-1", "nan,1", "0to2"])
def test_normalize_unknown(digits: Array, text: str) -> None:
    with pytest.raises(ModelError, match=r"normalize '.*' is not known; there are 0to1"):
        load_samples(digits, one(1, 8, 6, 1), normalize=text)


def test_names_of_classes(tmp_path: Path, digits: Array) -> None:
    folder_of(tmp_path / "a" / "cat", digits[:2])
    folder_of(tmp_path / "a" / "ant", digits[2:5])
    labels = load_samples(tmp_path / "a", one(1, 8, 6, 1)).labels
    assert labels is not None
    assert labels.tolist() == [0, 0, 0, 1, 1]
    for name, expected in (("7_{}.pgm", 7), ("{}-4.pgm", 4)):
        labels = load_samples(folder_of(tmp_path / name[0], digits[:2], name), one(1, 8, 6, 1)).labels
        assert labels is not None
        assert labels.tolist() == [expected, expected]


def test_folders_that_are_numbers(tmp_path: Path, digits: Array) -> None:
    folder_of(tmp_path / "10", digits[:1])
    folder_of(tmp_path / "9", digits[1:2])
    labels = load_samples(tmp_path, one(1, 8, 6, 1)).labels
    assert labels is not None
    assert labels.tolist() == [10, 9]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.jpg,5\n0.jpg,3\n", [3, 5]),
        ("file,label\n0.pgm,yes\n1.pgm,no\n", [1, 0]),
        ("0.bin,12,7\n1.bin,12,2\n", [7, 2]),  # as MLPerf Tiny has them
        ("4\n2\n", [4, 2]),
        ("0.5\n1\n", [0.5, 1.0]),
    ],
)
def test_a_file_of_labels(tmp_path: Path, digits: Array, text: str, expected: list[float]) -> None:
    (tmp_path / "labels.csv").write_text(text)
    found = load_samples(folder_of(tmp_path, digits[:2]), one(1, 8, 6, 1), labels=tmp_path / "labels.csv")
    assert found.labels is not None
    assert found.labels.tolist() == expected


def test_labels_that_lack(tmp_path: Path, digits: Array) -> None:
    folder = folder_of(tmp_path, digits[:2])
    (tmp_path / "l.csv").write_text("0.pgm,3\n")
    with pytest.raises(ModelError, match=r"no label for '1.pgm'"):
        load_samples(folder, one(1, 8, 6, 1), labels=tmp_path / "l.csv")
    (tmp_path / "l.txt").write_text("3\n")
    with pytest.raises(ModelError, match="holds 1 labels for 2 samples"):
        load_samples(folder, one(1, 8, 6, 1), labels=tmp_path / "l.txt")


def test_limit_draws_the_same_samples_in_order(digits: Array) -> None:
    a, b = (load_samples(digits, one(1, 8, 6, 1), limit=5, labels=np.arange(12)) for _ in range(2))
    assert a.names == b.names == sorted(a.names, key=int)
    assert len(a) == 5
    assert a.labels is not None
    assert a.labels.tolist() == [int(name) for name in a.names]
    assert load_samples(digits, one(1, 8, 6, 1), limit=5, seed=1).names != a.names
    with pytest.raises(ModelError, match="limit of 0"):
        load_samples(digits, one(1, 8, 6, 1), limit=0)


def test_a_zip_is_as_its_folder(tmp_path: Path, digits: Array) -> None:
    folder = folder_of(tmp_path / "in", digits)
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir(), reverse=True):
            archive.write(path, f"pictures/{path.name}")
    plain, packed = load_samples(folder, one(1, 8, 6, 1)), load_samples(tmp_path / "all.zip", one(1, 8, 6, 1))
    assert [name.split("/")[-1] for name in packed.names] == plain.names
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(plain.inputs, packed.inputs, strict=True))


def test_arrays(tmp_path: Path, digits: Array) -> None:
    np.savez(tmp_path / "xy.npz", x=digits, y=np.arange(12) % 10)
    found = load_samples(tmp_path / "xy.npz", one(1, 8, 6, 1))
    assert found.labels is not None
    assert found.labels.tolist() == [i % 10 for i in range(12)]
    np.save(tmp_path / "x.npy", digits[..., 0])
    assert len(load_samples(tmp_path / "x.npy", one(1, 8, 6, 1))) == 12
    np.save(tmp_path / "one.npy", digits[0])
    assert len(load_samples(tmp_path / "one.npy", one(1, 8, 6, 1))) == 1
    np.savez(tmp_path / "named.npz", tiger=digits[0], lion=digits[1], note=np.array("text"))
    assert load_samples(tmp_path / "named.npz", one(1, 8, 6, 1)).names == ["tiger", "lion"]
    np.savez(tmp_path / "classes.npz", left=digits[:3], right=digits[3:7])
    found = load_samples(tmp_path / "classes.npz", one(1, 8, 6, 1))
    assert found.labels is not None
    assert found.labels.tolist() == [0] * 3 + [1] * 4


def test_several_inputs(tmp_path: Path) -> None:
    inputs = [*one(1, 3), *one(1, 2)]
    np.savez(tmp_path / "x.npz", in0=np.ones((4, 3), np.float32), in1=np.zeros((4, 2), np.float32))
    found = load_samples(tmp_path / "x.npz", inputs)
    assert [a.shape for a in found.inputs[3]] == [(1, 3), (1, 2)]
    np.savez(tmp_path / "bad.npz", in0=np.ones((4, 3), np.float32), in1=np.zeros((3, 2), np.float32))
    with pytest.raises(ModelError, match="4 and 3 samples"):
        load_samples(tmp_path / "bad.npz", inputs)
    np.savez(tmp_path / "x1.npz", x=np.ones((4, 3), np.float32))
    with pytest.raises(ModelError, match=r"takes 2 inputs; name the arrays in0 \('x'\), in1"):
        load_samples(tmp_path / "x1.npz", inputs)


def test_an_iterator_that_never_ends() -> None:
    endless = (np.full((1, 3), i, np.float32) for i in itertools.count())
    found = load_samples(endless, one(1, 3), limit=4)
    assert [x[0, 0] for (x,) in found.inputs] == [0, 1, 2, 3]
    assert load_samples(found, one(1, 3)) is found
    with pytest.raises(ModelError, match="gave no samples"):
        load_samples(iter(()), one(1, 3))


def test_raw_integers_and_reals_of_an_integer_input() -> None:
    inputs = one(1, 3, dtype="int8", q=Quantization.of(0.5, 10))
    raw = np.array([[-128, 0, 127]], np.int8)
    assert np.array_equal(load_samples(raw, inputs, normalize="none").inputs[0][0], raw)
    reals = np.array([[-100.0, 0.0, 1.3]], np.float32)
    assert load_samples(reals, inputs).inputs[0][0].tolist() == [[-128, 10, 13]]


def test_indices_are_taken_as_they_are(tmp_path: Path) -> None:
    """An embedding's input, from an iterator and from a table, whatever is said of normalization."""
    words = np.array([[3, 0, 250]], np.int64)
    (tmp_path / "w.csv").write_text("3,0,250\n")
    for data in ([words], tmp_path / "w.csv"):
        (found,) = load_samples(data, one(1, 3, dtype="int32"), normalize="-1to1").inputs
        assert found[0].dtype == np.int32
        assert found[0].tolist() == [[3, 0, 250]]
    for bad in (words + 0.5, words * np.nan, words * 2.0**40):
        with pytest.raises(ModelError, match="holds values that are no int32, which the input 'x' takes"):
            load_samples([bad], one(1, 3, dtype="int32"))


def test_idx(tmp_path: Path, digits: Array) -> None:
    head = struct.pack(">BBBB3I", 0, 0, 8, 3, 12, 8, 6)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(head + digits.tobytes()))
    assert load_samples(path, one(1, 8, 6, 1)).labels is None
    labels = struct.pack(">BBBBI", 0, 0, 8, 1, 12) + bytes(range(12))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    found = load_samples(path, one(1, 8, 6, 1), normalize="none")
    assert found.labels is not None
    assert found.labels.tolist() == list(range(12))
    assert np.array_equal(found.inputs[11][0][0], digits[11])
    path.write_bytes(gzip.compress(head + digits.tobytes()[:-1]))
    with pytest.raises(ModelError, match=r"says that it holds \[12, 8, 6\] values"):
        load_samples(path, one(1, 8, 6, 1))


def test_recordings(tmp_path: Path) -> None:
    sound = np.arange(-100, 100, dtype=np.int16) * 300
    write_wav(tmp_path / "long.wav", sound)
    write_wav(tmp_path / "short.wav", sound[:50])
    found = load_samples(tmp_path, one(1, 80), normalize="none")
    assert found.names == ["long.wav@0", "long.wav@80", "short.wav"]
    assert np.array_equal(found.inputs[1][0][0], sound[80:160])
    assert np.array_equal(found.inputs[2][0][0], np.pad(sound[:50], (0, 30)))
    scaled = load_samples(tmp_path / "short.wav", one(1, 50)).inputs[0][0][0]
    np.testing.assert_allclose(scaled, sound[:50] / 32768, rtol=1e-6)
    with pytest.raises(ModelError, match="features and not sound"):
        load_samples(tmp_path, one(1, 49, 10, 1))
    write_wav(tmp_path / "stereo.wav", sound, channels=2)
    with pytest.raises(ModelError, match="2 channels; give mono"):
        load_samples(tmp_path / "stereo.wav", one(1, 50))


def test_tables(tmp_path: Path) -> None:
    rows = [f"{i},{2 * i},{-i},{'walk' if i < 5 else 'run'}" for i in range(12)]
    (tmp_path / "imu.csv").write_text("ax,ay,az,label\n" + "\n".join(rows))
    found = load_samples(tmp_path / "imu.csv", one(1, 3, 3))
    assert found.names == ["imu.csv:1", "imu.csv:6", "imu.csv:9"]  # a window ends where the label changes
    assert found.labels is not None
    assert found.labels.tolist() == [1, 0, 0]
    assert found.inputs[1][0][0].tolist() == [[5, 10, -5], [6, 12, -6], [7, 14, -7]]
    (tmp_path / "flat.csv").write_text("1,2,3,4,5,6,0\n6,5,4,3,2,1,1\n")
    found = load_samples(tmp_path / "flat.csv", one(1, 2, 3))
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no rows"),
        ("a,b,c\n", "holds no rows"),
        ("1,2,3\n1,2\n", "row 2 has 2 columns, the first has 3"),
        ("1,2,3,4,5\n", "has 5 columns, but a sample"),
        ("1,2,x\n1,2,3\n", "must be a number"),
        ("1,2,nan\n1,2,3\n", "no numbers"),
        ("1,2,3\n", "no 2 rows in a row"),
    ],
)
def test_absurd_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ModelError, match=message):
        load_samples(tmp_path / "t.csv", one(1, 2, 3))


def test_what_is_said_of_bad_data(tmp_path: Path, digits: Array) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match=r"holds no samples: 0 files, but no \.bmp"):
        load_samples(empty, one(1, 8, 6, 1))
    with pytest.raises(ModelError, match="does not exist"):
        load_samples(tmp_path / "nothing", one(1, 8, 6, 1))
    folder = folder_of(tmp_path / "grey", digits)
    with pytest.raises(ModelError, match="all 12 pictures are grey but the model takes 3 channels"):
        load_samples(folder, one(1, 8, 6, 3))
    with pytest.raises(ModelError, match="is 6x8 but the model takes 9x9"):
        load_samples(folder, one(1, 9, 9, 1))
    colour = folder_of(tmp_path / "colour", np.repeat(digits, 3, 3) + np.array([1, 2, 3], np.uint8), "{}.ppm")
    with pytest.raises(ModelError, match="has 3 colour channels but the model takes 1 channel"):
        load_samples(colour, one(1, 8, 6, 1))
    with pytest.raises(ModelError, match=r"shape \[12, 8, 6, 1\], but a sample of the model has shape \[1, 7, 7\]"):
        load_samples(digits, one(1, 7, 7))
    for bad in (np.nan, np.inf):
        with pytest.raises(ModelError, match=r"sample '0' holds values that are no numbers"):
            load_samples(np.full((2, 3), bad, np.float32), one(1, 3))
    with pytest.raises(ModelError, match="holds int8 from 1 to 1, which are no pixels"):
        load_samples(np.ones((2, 3), np.int8), one(1, 3))
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + b"\xff" * 50)
    with pytest.raises(ModelError, match=r"is not a .npy or .npz of plain numbers"):
        load_samples(tmp_path / "x.npy", one(1, 3))
    np.save(tmp_path / "o.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ModelError, match=r"is not a .npy or .npz of plain numbers"):
        load_samples(tmp_path / "o.npy", one(1, 3))


def test_one_grey_picture_among_others(tmp_path: Path, digits: Array) -> None:
    folder_of(tmp_path, np.repeat(digits[:1], 3, 3), "colour.ppm")
    folder_of(tmp_path, digits[1:2], "grey.pgm")
    found = load_samples(tmp_path, one(1, 8, 6, 3), normalize="none")
    assert np.array_equal(found.inputs[1][0][0], np.repeat(digits[1], 3, 2))


def test_resize(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(0, 256, 4).astype(np.uint8)[None, :, None], (32, 64, 1))
    found = load_samples(folder_of(tmp_path, ramp[None]), one(1, 8, 16, 1), normalize="none", resize=True)
    x = found.inputs[0][0][0, ..., 0]
    assert x.shape == (8, 16)
    np.testing.assert_allclose(x[:, 2:-2], np.broadcast_to(np.arange(16)[2:-2] * 16 + 6, (8, 12)), atol=1)


def test_samples_know_their_number() -> None:
    assert len(Samples([[np.zeros(1)], [np.zeros(1)]])) == 2
