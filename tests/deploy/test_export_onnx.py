"""export_onnx.py: what it writes, prints and refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.runtime.networks import random_checkpoint
from tests.support.tiny_model import save_tiny_model

from mxface.deploy import export_onnx
from mxface.export import parity
from mxface.graph import Variable, save_checkpoint, sym
from mxface.runtime import load_predictor
from mxface.runtime.onnxruntime_engine import OnnxruntimePredictor

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path) -> str:
    """PREFIX,EPOCH of a network with an embedding of 16 values."""
    pytest.importorskip("onnxruntime")
    return f"{save_tiny_model(tmp_path / 'model')},1"


def test_the_file_runs_and_its_parity_lies_beside_it(model: str, tmp_path: Path, capsys: Captured) -> None:
    import onnxruntime

    assert export_onnx.main(["--model", model]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "random images (3, 112, 112), batches of (1, 5):"
    assert lines[1].startswith("  fc1_output 5x16: largest difference ")
    path = tmp_path / "model.onnx"
    assert lines[2].startswith(f"written: {path} (0.0 MB), {path}.parity.json")
    facts = json.loads((tmp_path / "model.onnx.parity.json").read_text())
    (figures,) = facts["outputs"]
    assert figures["output"] == "fc1_output"
    assert figures["shape"] == [5, 16]
    assert 0 <= figures["relative"] == facts["worst"] <= facts["tolerance"] == 1e-4
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 112, 112)).astype(np.uint8)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (expected,) = load_predictor(tmp_path / "model", 1, device="cpu").predict(images)
    np.testing.assert_allclose(
        session.run(None, {"data": images.astype(np.float32)})[0], expected, rtol=1e-4, atol=1e-5
    )


def test_outputs_and_image_size_are_chosen(model: str, tmp_path: Path, capsys: Captured) -> None:
    output = tmp_path / "maps.onnx"
    words = ["--model", model, "--output", str(output), "--outputs", "relu0_output", "conv0_output"]
    assert export_onnx.main([*words, "--image-size", "48,20", "--centred"]) == 0
    printed = capsys.readouterr().out
    assert "random images (3, 48, 20)" in printed
    assert "  relu0_output 5x6x11x4: " in printed
    assert "  conv0_output 5x6x11x4: " in printed
    assert output.is_file()


def test_centred_images_are_near_zero() -> None:
    class Spy:
        output_names = ("data",)

        def predict(self, images: np.ndarray) -> list[np.ndarray]:
            assert images.dtype == np.float32
            assert -1 <= images.min() < -0.9
            assert 0.9 < images.max() <= 1
            return [images]

    (figures,) = parity.measure_parity(Spy(), Spy(), (3, 16, 16), centred=True)  # type: ignore[arg-type]
    assert figures.largest == 0


def test_a_file_that_differs_is_not_written(
    model: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = OnnxruntimePredictor._run
    monkeypatch.setattr(OnnxruntimePredictor, "_run", lambda self, data: [a * 1.001 for a in run(self, data)])
    assert export_onnx.main(["--model", model]) == 1
    captured = capsys.readouterr()
    assert "largest difference" in captured.out
    assert "output fc1_output differs by 0.00" in captured.err
    assert "more than 0.0001; nothing is written" in captured.err
    assert not list(tmp_path.glob("*.onnx*"))


@pytest.mark.parametrize(
    "found", [np.ones((1, 3), np.float32), np.full((1, 2), np.nan, np.float32), np.full((1, 2), np.inf, np.float32)]
)
def test_another_shape_and_values_that_are_not_finite_are_infinitely_far_off(found: np.ndarray) -> None:
    figures = parity.compare("a", [np.ones((1, 2), np.float32)], [found])
    assert figures.relative == np.inf


def test_the_difference_is_measured_in_standard_deviations() -> None:
    expected = [np.array([[1.0, 3.0]], np.float32), np.array([[5.0, 7.0]], np.float32)]
    figures = parity.compare("a", expected, [array + np.float32(0.5) for array in expected])
    assert figures.largest == 0.5
    assert figures.relative == pytest.approx(0.5 / np.std([1, 3, 5, 7]))
    constant = [np.full((2, 2), 4.0, np.float32)]
    assert parity.compare("a", constant, [constant[0] + 1]).relative == 0.25


def test_deformable_networks_may_differ_more() -> None:
    data, offset = Variable("data"), Variable("offset")
    deformable = sym._contrib_DeformableConvolution
    assert parity.parity_tolerance(deformable(data, offset, num_filter=2, kernel=(1, 1))) == 1e-3
    assert parity.parity_tolerance(data * 2) == 1e-4


def test_what_cannot_be_exported_ends_with_a_sentence(model: str, tmp_path: Path, capsys: Captured) -> None:
    custom = sym.Custom(sym.Reshape(Variable("data"), shape=(0, 2, -1)), op_type="rpn_fpn_ohem3", name="mining")
    checkpoint = random_checkpoint(sym.Convolution(Variable("data"), num_filter=2, kernel=(3, 3)), (3, 12, 12))
    save_checkpoint(tmp_path / "custom", 0, custom[0], {}, {})
    save_checkpoint(tmp_path / "poor", 0, checkpoint.symbol, {}, {})
    for words, message in (
        (["--model", str(tmp_path / "model")], "name one epoch"),
        (["--model", f"{tmp_path / 'absent'},0"], "absent-0000.params"),
        (["--model", model, "--image-size", "112"], "give height,width, as in 112,112"),
        (["--model", model, "--image-size", "8,8"], "takes no image of (3, 15, 1) channels and 8x8 pixels"),
        (["--model", model, "--outputs", "fc2_output"], "no output is called 'fc2_output'"),
        (["--model", f"{tmp_path / 'custom'},0"], "operator Custom"),
        (["--model", f"{tmp_path / 'poor'},0"], "2 parameters are missing"),
    ):
        assert export_onnx.main(words) == 1
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.onnx*"))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_packages(package: str, model: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert export_onnx.main(["--model", model]) == 1
    assert "pip install 'mxface[onnx]'" in capsys.readouterr().err
