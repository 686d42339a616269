"""The deploy commands: what they print and write, and what they say when they cannot."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.runtime.networks import random_checkpoint
from tests.support.mtcnn_files import save_constant_mtcnn
from tests.support.scene import HEIGHT, WIDTH, Scene
from tests.support.tiny_model import tiny_symbol

from mxface.deploy import benchmark, face_embedding, face_model, model_slim, test
from mxface.graph import load_checkpoint, save_checkpoint, sym

Captured = pytest.CaptureFixture[str]


def flags(scene: Scene, *more: object, image: Path | None = None) -> list[str]:
    common = ["--mtcnn-path", scene.mtcnn, "--gpu", -1, "--image", image or scene.first]
    return [str(word) for word in (*common, *more)]


def test_two_photographs_are_described_and_compared(scene: Scene, tmp_path: Path, capsys: Captured) -> None:
    output, drawn = tmp_path / "e.npy", tmp_path / "drawn"
    models = ["--model", scene.model, "--ga-model", scene.ga_model, "--det", 1]
    more = [scene.second, "--image", scene.first, *models, "--output", output, "--draw", drawn]
    assert test.main(flags(scene, *more)) == 0
    lines = capsys.readouterr().out.splitlines()
    # gender and age are the first two lines, as in 2019
    assert lines[0] in "01"
    assert 0 <= int(lines[1]) <= 100
    assert lines[2] == f"first.png: face of score 0.9997 in x 0.0 to {WIDTH - 1}.0, y 0.0 to {HEIGHT - 1}.0"
    assert lines[3].startswith("  left eye 22,36, right eye 48,36, nose 35,54, ")
    assert re.fullmatch(r"  embedding of 16 values, norm \d+\.\d{3}: (-?0\.\d{4} ){8}…", lines[4])
    assert len(lines) == 3 * 5 + 2
    features = np.load(output)
    assert features.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)
    distance = np.square(features[0] - features[1]).sum()
    match = re.fullmatch(r"  with the first: squared distance (\S+), similarity (\S+): (.*)", lines[10])
    assert match is not None
    assert float(match[1]) == pytest.approx(distance, abs=1e-4)
    assert float(match[2]) == pytest.approx(1 - distance / 2, abs=1e-4)
    assert match[3] == ("the same person" if distance < 1.24 else "different people")
    assert lines[16] == "  with the first: squared distance 0.0000, similarity 1.0000: the same person"
    marked = cv2.imread(str(drawn / "first.png"))
    assert marked.shape == (HEIGHT, WIDTH, 3)
    assert ((marked != scene.image()).any(axis=2)).sum() > 2 * (HEIGHT + WIDTH) - 10


def test_the_threshold_decides_and_flip_counts(scene: Scene, tmp_path: Path, capsys: Captured) -> None:
    features = []
    for flip, threshold, verdict in ((0, 0, "different people"), (1, 4.1, "the same person")):
        more = [scene.second, "--model", scene.model, "--det", 1, "--flip", flip, "--threshold", threshold]
        assert test.main(flags(scene, *more, "--output", tmp_path / "e.npy")) == 0
        assert capsys.readouterr().out.rstrip().endswith(verdict)
        features.append(np.load(tmp_path / "e.npy"))
    assert np.abs(features[0] - features[1]).max() > 1e-3


def test_without_models_it_says_where_the_face_is(scene: Scene, capsys: Captured) -> None:
    assert test.main(flags(scene, "--det", 1)) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_sample_of_2019_is_the_default_where_it_is(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(tmp_path / "test.py")])
    words = ["--mtcnn-path", str(scene.mtcnn), "--gpu", "-1", "--det", "1"]
    assert test.main(words) == 1
    assert "no Tom_Hanks_54745.png here or beside the command; name a photograph" in capsys.readouterr().err
    shutil.copy(scene.first, tmp_path / "Tom_Hanks_54745.png")
    assert test.main(words) == 0
    assert capsys.readouterr().out.startswith("Tom_Hanks_54745.png: face")


@pytest.mark.parametrize("main", [test.main, face_model.main, face_embedding.main, benchmark.main])
def test_a_photograph_without_a_face_is_named(
    main: Callable[[list[str]], int], scene: Scene, tmp_path: Path, capsys: Captured
) -> None:
    blind = save_constant_mtcnn(tmp_path / "mtcnn", everywhere=False, never=True)
    output = [] if main is benchmark.main else ["--output", tmp_path / "out.npy"]
    model = [] if main is face_model.main else ["--model", scene.model]
    assert main(flags(scene, "--mtcnn-path", blind, *model, *output)) == 1
    assert f"{scene.first}: no face found; if it is" in capsys.readouterr().err
    assert not (tmp_path / "out.npy").is_file()


def test_other_reasons_to_stop_are_sentences(scene: Scene, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    for words, message in (
        (flags(scene, image=tmp_path / "absent.jpg"), "absent.jpg: No such file"),
        (flags(scene, image=tmp_path / "text.jpg"), "text.jpg: not an image"),
        (flags(scene, "--model", tmp_path / "absent,0"), "absent-0000.params"),
        (flags(scene, "--output", tmp_path / "e.npy"), "--output takes embeddings: give --model"),
        (flags(scene, "--image-size", "96,96"), "give 112,112 or 112,96"),
        (flags(scene, "--mtcnn-path", tmp_path), "get them with `python src/align/get_mtcnn.py`"),
    ):
        assert test.main(words) == 1
        assert message in capsys.readouterr().err


def test_face_model_writes_aligned_faces(scene: Scene, tmp_path: Path, capsys: Captured) -> None:
    assert face_model.main(flags(scene, scene.second, "--det", 1, "--output", tmp_path)) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "first.png"), str(tmp_path / "second.png")]
    assert cv2.imread(str(tmp_path / "second.png")).shape == (112, 112, 3)


def test_face_embedding_writes_embeddings(scene: Scene, tmp_path: Path, capsys: Captured) -> None:
    output = tmp_path / "e.npy"
    assert face_embedding.main(flags(scene, scene.second, "--model", scene.model, "--output", output)) == 0
    assert capsys.readouterr().out == f"{output}: 2 embeddings of 16 values\n"
    assert np.load(output).shape == (2, 16)


def test_benchmark_prints_one_number(scene: Scene, capsys: Captured) -> None:
    assert benchmark.main(flags(scene, "--model", scene.model, "--count", 2)) == 0
    assert 0 < float(capsys.readouterr().out) < 10
    assert benchmark.main(flags(scene, "--model", scene.model, "--count", 0)) == 1
    assert "--count 0" in capsys.readouterr().err


def test_model_slim_cuts_at_the_embedding(tmp_path: Path, capsys: Captured) -> None:
    fc7 = sym.FullyConnected(data=tiny_symbol(), num_hidden=10, name="fc7")
    symbol = sym.SoftmaxOutput(data=fc7, name="softmax")
    shapes, _, aux_shapes = symbol.infer_shape(data=(1, 3, 112, 112))
    args = {name: np.ones(shape, np.float32) for name, shape in shapes.items() if name not in ("data", "softmax_label")}
    aux = {name: np.ones(shape, np.float32) for name, shape in aux_shapes.items()}
    save_checkpoint(tmp_path / "model", 60, symbol, args, aux)
    assert model_slim.main(["--model", f"{tmp_path / 'model'},60"]) == 0
    assert capsys.readouterr().out.startswith(f"loading {tmp_path / 'model'} 60\n")
    slim = load_checkpoint(tmp_path / "models", 0)
    assert slim.symbol.list_outputs() == ["fc1_output"]
    assert args.keys() - slim.arg_params.keys() == {"fc7_weight", "fc7_bias"}
    assert slim.aux_params.keys() == aux.keys()
    assert model_slim.main(["--model", str(tmp_path / "model")]) == 1
    assert "name one epoch" in capsys.readouterr().err


def test_model_slim_cuts_where_it_is_told(tmp_path: Path, capsys: Captured) -> None:
    fc7 = sym.FullyConnected(data=tiny_symbol(), num_hidden=10, name="fc7")
    checkpoint = random_checkpoint(sym.SoftmaxOutput(data=fc7, name="softmax"), (3, 112, 112))
    extra = {**checkpoint.arg_params, "centres": np.ones(3, np.float32)}
    save_checkpoint(tmp_path / "model", 1, checkpoint.symbol, extra, checkpoint.aux_params)
    model = f"{tmp_path / 'model'},1"
    assert model_slim.main(["--model", model, "--outputs", "relu0_output", "conv0_output"]) == 0
    slim = load_checkpoint(tmp_path / "models", 0)
    assert slim.symbol.list_outputs() == ["relu0_output", "conv0_output"]
    # what no graph reads stays, as in 2019
    assert slim.arg_params.keys() == {"conv0_weight", "bn0_gamma", "bn0_beta", "relu0_gamma", "centres"}
    assert slim.aux_params.keys() == {"bn0_moving_mean", "bn0_moving_var"}
    assert model_slim.main(["--model", model, "--outputs", "relu1_output"]) == 1
    assert "no output is called 'relu1_output'; there are relu0_output" in capsys.readouterr().err
