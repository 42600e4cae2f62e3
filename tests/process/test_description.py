"""Models with their processing as a .toml, through the public functions and the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinymaix
from tests.ops.make import float32, int8
from tests.oracles import one_op
from tests.process.test_detect import anchors, heads, ssd_network
from tinymaix.cli import main
from tinymaix.graph import Graph, ModelError
from tinymaix.ops.reshape import Reshape
from tinymaix.process import AudioFrontEnd, with_audio, with_image, with_ssd, with_yolo
from tinymaix.write.tflite import write_tflite


def described(folder: Path, graph: Graph, text: str) -> Path:
    write_tflite(graph, folder / "model.tflite")
    path = folder / "device.toml"
    path.write_text(text)
    return path


def image_network() -> Graph:
    x = int8("x", (1, 6, 8, 3), 1 / 255, -128)
    return one_op(Reshape((1, 144)), [x], [int8("y", (1, 144), 1 / 255, -128)])


def features_network() -> Graph:
    return one_op(Reshape((1, 24)), [int8("x", (1, 4, 6), 0.1, 0)], [int8("y", (1, 24), 0.1, 0)])


def test_a_picture(tmp_path: Path) -> None:
    text = 'model = "model.tflite"\n[picture]\nsize = "20x12"\npixels = "rgb565"\nnormalize = "128,64"\n[classes]\n'
    graph = tinymaix.read(described(tmp_path, image_network(), text))
    x = np.random.default_rng(1).integers(0, 256, (1, 12, 20, 2), np.uint8)
    expected = with_image(image_network(), (12, 20), "rgb565", normalize="128,64").run([x])[0]
    assert graph.name == "model"
    assert graph.run([x])[0].tolist() == [expected.argmax()]


def test_sound(tmp_path: Path) -> None:
    text = (
        'model = "model.tflite"\n[sound]\nrate = 8000\nwindow = 64\nhop = 40\nmels = 6\nlow = 100\n[classes]\ntop = 3\n'
    )
    graph = tinymaix.read(described(tmp_path, features_network(), text))
    front = AudioFrontEnd(rate=8000, window=64, hop=40, mels=6, low=100.0)
    x = np.random.default_rng(1).integers(-9999, 9999, (1, front.samples(4))).astype(np.int16)
    best = with_audio(features_network(), front).run([x])[0].max()
    assert graph.run([x])[0][0, 0] == best
    streaming = tinymaix.read(
        described(tmp_path, features_network(), text.replace("[classes]", "stream = true\n[classes]"))
    )
    assert streaming.inputs[0].shape == (1, 40)


def test_boxes(tmp_path: Path) -> None:
    text = 'model = "model.tflite"\n[yolo]\nanchors = [[1, 2], [2, 1.5]]\nthreshold = 0.1\n'
    graph, x = heads((4, 4, 14)), np.random.default_rng(2).integers(-128, 128, (1, 32, 32, 24)).astype(np.int8)
    expected = with_yolo(graph, [(1.0, 2.0), (2.0, 1.5)], threshold=0.1).run([x])[0]
    assert (tinymaix.read(described(tmp_path, graph, text)).run([x])[0] == expected).all()
    np.save(tmp_path / "anchors.npy", anchors())
    text = 'model = "model.tflite"\n[ssd]\nanchors = "anchors.npy"\nvariance = [10, 5]\n'
    x = np.random.default_rng(2).integers(-128, 128, (1, 30, 7)).astype(np.int8)
    expected = with_ssd(ssd_network(), anchors()).run([x])[0]
    assert (tinymaix.read(described(tmp_path, ssd_network(), text)).run([x])[0] == expected).all()


def test_a_model_in_front(tmp_path: Path) -> None:
    x = int8("x", (1, 6), 0.1, 0)
    write_tflite(one_op(Reshape((6,)), [x], [int8("y", (6,), 0.1, 0)]), tmp_path / "first.tflite")
    text = 'model = "model.tflite"\n[front]\nmodel = "first.tflite"\nframes = 4\n'
    graph = tinymaix.read(described(tmp_path, features_network(), text))
    rows = [np.full((1, 6), value, np.int8) for value in range(5)]
    last = graph.run_sequence([row] for row in rows)[-1][0]
    assert last.reshape(4, 6)[:, 0].tolist() == [1, 2, 3, 4]
    overlapping = tinymaix.read(described(tmp_path, features_network(), text + "hop = 2\n"))
    halves = [np.full((1, 2), value, np.int8) for value in range(5)]
    last = overlapping.run_sequence([half] for half in halves)[-1][0]
    assert last.reshape(4, 6)[3].tolist() == [2, 2, 3, 3, 4, 4]


def test_commands_take_descriptions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'model = "model.tflite"\n[picture]\nsize = "20x12"\npixels = "yuyv"\n'
    path = described(tmp_path, image_network(), text)
    assert main(["compile", str(path), "--chip", "cortex-m4", "-o", str(tmp_path / "c")]) == 0
    source = (tmp_path / "c" / "model.c").read_text()
    assert "image_yuyv_rgb_bilinear_int8" in source
    assert main(["inspect", str(path)]) == 0
    assert "IMAGE" in capsys.readouterr().out


def test_quantize_writes_the_network_behind_the_camera(tmp_path: Path) -> None:
    x = float32("x", (1, 6, 8, 3))
    text = 'model = "model.tflite"\n[picture]\nsize = "8x6"\n'
    path = described(tmp_path, one_op(Reshape((1, 144)), [x], [float32("y", (1, 144))]), text)
    pictures = np.random.default_rng(1).integers(0, 256, (4, 6, 8, 3), np.uint8)
    np.save(tmp_path / "pictures.npy", pictures)
    target = tmp_path / "model_q.tflite"
    assert main(["quantize", str(path), "--data", str(tmp_path / "pictures.npy"), "-o", str(target)]) == 0
    assert [node.op.kind for node in tinymaix.read(target).nodes] == ["RESHAPE"]
    (tmp_path / "quantized.toml").write_text(text.replace("model.tflite", "model_q.tflite"))
    found = tinymaix.read(tmp_path / "quantized.toml").run([pictures[:1]])[0]
    assert (found == (pictures[:1].astype(np.int64) - 128).reshape(1, 144)).all()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model = ", "not a description in TOML"),
        ("", "it needs model = the name of a file beside it"),
        ('model = "other.tflite"', "cannot be read"),
        ('model = "model.tflite"\n[camera]\n', "it has 'camera', which is none of model, picture, sound"),
        ('model = "model.tflite"\npicture = 3\n', "'picture' must be a table"),
        ('model = "model.tflite"\n[picture]\n', r"\[picture\] size = None must be the width and height"),
        (
            'model = "model.tflite"\n[picture]\nsize = "20x12"\nzoom = 2\n',
            r"\[picture\] 'zoom' is not known; known are",
        ),
        (
            'model = "model.tflite"\n[picture]\nsize = "20x12"\nnormalize = "a,1"\n',
            r"\[picture\] normalize 'a,1' is not known",
        ),
        ('model = "model.tflite"\n[picture]\nsize = "20x12"\ncrop = [1]\n', "crop is top, left, height and width"),
        ('model = "model.tflite"\n[sound]\npreset = "mfcc"\n', "preset 'mfcc' is none of tinymaix-fbank"),
        ('model = "model.tflite"\n[sound]\nmels = 4.5\n', "mels = 4.5 must be of type int"),
        ('model = "model.tflite"\n[sound]\nlow = "a"\n', "low = 'a' must be a number"),
        ('model = "model.tflite"\n[sound]\nstream = 1\n', "stream = 1 must be true or false"),
        ('model = "model.tflite"\n[yolo]\nanchors = 5\n', "anchors are pairs"),
        ('model = "model.tflite"\n[ssd]\nanchors = "x.npy"\n', "no .npy with numbers"),
        ('model = "model.tflite"\n[classes]\ntop = 1000\n', r"\[classes\] the 1000 largest"),
    ],
)
def test_mistakes_are_said(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        tinymaix.read(described(tmp_path, image_network(), text))
