"""Real models of 2016-2018, three generations of JSON and params: they load, run, and give what real MXNet gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.support import ASSETS

from mxface.formats.checkpoint import list_epochs
from mxface.graph import Checkpoint, load_checkpoint, save_checkpoint
from mxface.lower import export_params, lower
from mxface.runtime import Predictor, build_predictor

TOLERANCE = 1e-4

MODELS = sorted(str(path.relative_to(ASSETS)).removesuffix("-symbol.json") for path in ASSETS.rglob("*-symbol.json"))

every_model = pytest.mark.parametrize("model", MODELS)


class Usage(NamedTuple):
    """How a model is fed, where that differs from photographs of `input_shape` as they are."""

    size: tuple[int, int] | None = None
    normalized: bool = False
    output_pattern: str = ""


MTCNN = Usage(normalized=True)
USAGES = {
    "mtcnn/det1": Usage(size=(61, 83), normalized=True),
    "mtcnn/det2": MTCNN,
    "mtcnn/det3": MTCNN,
    "mtcnn/det4": MTCNN,
    # the file lists six heads; box and landmark outputs are in it, but not among them
    "retinaface-mnet25/mnet.25": Usage(size=(160, 224), output_pattern=r"face_rpn_(bbox_pred|landmark_pred)_"),
}


def load(model: str) -> Checkpoint:
    (epoch,) = list_epochs(ASSETS / model)
    return load_checkpoint(ASSETS / model, epoch)


def wanted_outputs(model: str, checkpoint: Checkpoint) -> list[str] | None:
    pattern = USAGES.get(model, Usage()).output_pattern
    if not pattern:
        return None
    names = [array.removesuffix("_bias") + "_output" for array in checkpoint.arg_params if array.endswith("_bias")]
    return [*checkpoint.symbol.list_outputs()[:3], *(name for name in names if re.match(pattern, name))]


def predictor_of(model: str, engine: str = "torch") -> Predictor:
    checkpoint = load(model)
    return build_predictor(checkpoint, outputs=wanted_outputs(model, checkpoint), engine=engine, device="cpu")


def photographs(model: str, predictor: Predictor) -> NDArray[np.float32]:
    """Three windows of a photograph of faces, as this model takes them."""
    usage = USAGES.get(model, Usage())
    channels, height, width = predictor.input_shape
    height, width = usage.size or (height, width)
    image = cv2.imread(str(ASSETS / "images/t1.jpg"))
    planes = [cv2.resize(image[top : top + 300, 2 * top : 2 * top + 400], (width, height)) for top in range(0, 300, 20)]
    stacked = np.stack(planes).transpose(0, 3, 1, 2).astype(np.float32)
    if usage.normalized:
        stacked = (stacked - 127.5) * 0.0078125
    return stacked.reshape(-1, channels, height, width)[:3]


def test_there_are_models(assets: Path) -> None:
    assert MODELS, f"no model in {assets}"
    assert USAGES.keys() <= set(MODELS)


@every_model
def test_runs_and_equals_the_lowered_network(model: str) -> None:
    """The lowered network, before BatchNorm is folded and weights are packed."""
    predictor = predictor_of(model)
    checkpoint = load(model)
    outputs = wanted_outputs(model, checkpoint)
    symbol = checkpoint.symbol.select_outputs(outputs) if outputs else checkpoint.symbol
    data = photographs(model, predictor)
    network = lower(
        symbol, {**checkpoint.arg_params, **checkpoint.aux_params}, input_shapes={"data": data.shape}
    ).eval()
    with torch.inference_mode():
        results = network(torch.from_numpy(data))
    expected = results if isinstance(results, tuple) else (results,)
    for ours, theirs, name in zip(predictor.predict(data), expected, predictor.output_names, strict=True):
        assert np.isfinite(ours).all() and ours.std() > 1e-3, name
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=TOLERANCE / 5, err_msg=name)


@every_model
def test_onnxruntime_agrees(model: str) -> None:
    pytest.importorskip("onnxruntime")
    compare(model, lambda: predictor_of(model, "onnxruntime"))


@pytest.mark.mxnet
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@every_model
def test_mxnet_agrees(model: str) -> None:
    compare(model, lambda: predictor_of(model, "mxnet"))


@pytest.mark.mxnet
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@every_model
def test_what_we_save_opens_in_mxnet(model: str, tmp_path: Path) -> None:
    """Lowered, exported, saved; then read by MXNet's own `load_checkpoint`."""
    import mxnet as mx

    checkpoint = load(model)
    network = lower(checkpoint.symbol, {**checkpoint.arg_params, **checkpoint.aux_params})
    save_checkpoint(tmp_path / "model", 7, checkpoint.symbol, *export_params(network))
    predictor = build_predictor(checkpoint, device="cpu")
    data = photographs(model, predictor)
    symbol, arguments, states = mx.model.load_checkpoint(str(tmp_path / "model"), 7)
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=data.shape)
    executor.copy_params_from(arguments, states)
    outputs = executor.forward(is_train=False, data=mx.nd.array(data))
    assert symbol.list_outputs() == predictor.output_names
    for ours, theirs, name in zip(predictor.predict(data), outputs, predictor.output_names, strict=True):
        np.testing.assert_allclose(ours, theirs.asnumpy(), rtol=0, atol=TOLERANCE, err_msg=name)


def compare(model: str, other: Callable[[], Predictor]) -> None:
    predictor, reference = predictor_of(model), other()
    data = photographs(model, predictor)
    assert predictor.output_names == reference.output_names
    for ours, theirs, name in zip(
        predictor.predict(data), reference.predict(data), predictor.output_names, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE, err_msg=name)
