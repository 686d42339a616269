"""Predictors: values, any batch, any kind of array, shapes, refusals, and the engines against one another."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from tests.runtime.networks import batch_mean_network, embedding_network, random_checkpoint, shared_network

from mxface.errors import ConfigError, DataError, DependencyError, GraphError
from mxface.graph import Checkpoint, save_checkpoint, sym
from mxface.lower import lower
from mxface.runtime import build_predictor, choose_device, load_predictor, make_embedder, torch_engine

SIDE = 12
RNG = np.random.default_rng(9)
IMAGES = RNG.integers(0, 256, (7, 3, SIDE, SIDE)).astype(np.uint8)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return random_checkpoint(embedding_network(), (3, SIDE, SIDE))


def plain_outputs(checkpoint: Checkpoint, images: np.ndarray) -> list[np.ndarray]:
    """The lowered network, neither folded nor packed."""
    network = lower(checkpoint.symbol, {**checkpoint.arg_params, **checkpoint.aux_params}).eval()
    with torch.no_grad():
        results = network(torch.from_numpy(images.astype(np.float32)))
    return [result.numpy() for result in (results if isinstance(results, tuple) else (results,))]


def test_values_and_names(checkpoint: Checkpoint) -> None:
    predictor = build_predictor(checkpoint, device="cpu")
    assert predictor.output_names == ["fc1_output"]
    (embedding,) = predictor.predict(IMAGES)
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, plain_outputs(checkpoint, IMAGES)[0], rtol=1e-5, atol=1e-5)


def test_without_onednns_operators(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_engine, "can_pack", lambda: False)
    predictor = build_predictor(checkpoint, device="cpu")
    np.testing.assert_allclose(predictor.predict(IMAGES)[0], plain_outputs(checkpoint, IMAGES)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("packed", [True, False])
def test_bf16_is_near(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    if not packed:
        monkeypatch.setattr(torch_engine, "can_pack", lambda: False)
    expected = plain_outputs(checkpoint, IMAGES)[0]
    embedding = build_predictor(checkpoint, device="cpu", dtype="bf16").predict(IMAGES)[0]
    assert embedding.dtype == np.float32
    relative = np.abs(embedding - expected).max() / expected.std()
    assert 1e-4 < relative < 5e-2


def test_every_view_of_the_same_images_gives_the_same(checkpoint: Checkpoint) -> None:
    predictor = build_predictor(checkpoint, device="cpu")
    expected = predictor.predict(IMAGES)[0]
    channels_last = np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1))
    read_only = IMAGES.copy()
    read_only.flags.writeable = False
    bgr = np.ascontiguousarray(channels_last[..., ::-1])
    views = [
        IMAGES.astype(np.float32),
        channels_last.transpose(0, 3, 1, 2),
        read_only,
        bgr[..., ::-1].transpose(0, 3, 1, 2),
    ]
    for view in views:
        np.testing.assert_array_equal(view, IMAGES)
        np.testing.assert_allclose(predictor.predict(view)[0], expected, rtol=1e-6, atol=1e-6)


def test_large_batches_go_in_chunks(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = build_predictor(checkpoint, device="cpu")
    expected = predictor.predict(IMAGES)[0]
    monkeypatch.setattr(torch_engine, "CHUNK_VALUES", 3 * IMAGES[0].size)
    sizes = []
    predictor._network.register_forward_pre_hook(lambda _, data: sizes.append(len(data[0])))
    np.testing.assert_allclose(predictor.predict(IMAGES)[0], expected, rtol=1e-5, atol=1e-5)
    assert sizes == [3, 3, 1]


def test_a_mean_over_the_batch_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = random_checkpoint(batch_mean_network(), (3, SIDE, SIDE))
    monkeypatch.setattr(torch_engine, "CHUNK_VALUES", 1)
    predictor = build_predictor(checkpoint, device="cpu")
    np.testing.assert_allclose(predictor.predict(IMAGES)[0], plain_outputs(checkpoint, IMAGES)[0], rtol=1e-5)


def test_other_image_sizes_where_the_network_takes_them() -> None:
    checkpoint = random_checkpoint(shared_network(), (3, SIDE, SIDE))
    predictor = build_predictor(checkpoint, device="cpu")
    for shape in ((1, 3, 20, 31), (2, 3, 9, 9), (1, 3, 20, 31)):
        images = RNG.integers(0, 256, shape).astype(np.uint8)
        for ours, expected in zip(predictor.predict(images), plain_outputs(checkpoint, images), strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_input_shape_is_found(checkpoint: Checkpoint) -> None:
    assert build_predictor(checkpoint, device="cpu").input_shape == (3, SIDE, SIDE)
    fully_convolutional = random_checkpoint(shared_network(), (3, SIDE, SIDE))
    assert build_predictor(fully_convolutional, device="cpu").input_shape == (3, 112, 112)


def test_outputs_are_chosen_by_name(checkpoint: Checkpoint) -> None:
    predictor = build_predictor(checkpoint, outputs=["plain_relu_output", "fc1_output"], device="cpu")
    assert predictor.output_names == ["plain_relu_output", "fc1_output"]
    relu, embedding = predictor.predict(IMAGES)
    assert relu.shape == (7, 8, 6, 6)
    np.testing.assert_allclose(embedding, plain_outputs(checkpoint, IMAGES)[0], rtol=1e-5, atol=1e-5)
    with pytest.raises(GraphError, match="no output is called 'fc2_output'"):
        build_predictor(checkpoint, outputs=["fc2_output"], device="cpu")


def test_files_are_loaded(checkpoint: Checkpoint, tmp_path: object) -> None:
    prefix = f"{tmp_path}/model"
    save_checkpoint(prefix, 3, checkpoint.symbol, checkpoint.arg_params, checkpoint.aux_params)
    expected = build_predictor(checkpoint, device="cpu").predict(IMAGES)[0]
    np.testing.assert_array_equal(load_predictor(prefix, 3, device="cpu").predict(IMAGES)[0], expected)


def test_embedder_takes_photographs(checkpoint: Checkpoint) -> None:
    predictor = build_predictor(checkpoint, outputs=["plain_relu_output", "fc1_output"], device="cpu")
    embed = make_embedder(predictor)
    photographs = np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(embed(photographs), predictor.predict(IMAGES)[1], rtol=1e-6, atol=1e-6)
    with pytest.raises(GraphError, match="gives plain_relu_output, fc1_output, not fc7_output"):
        make_embedder(predictor, output="fc7_output")


@pytest.mark.parametrize(
    "images",
    [IMAGES[0], IMAGES.astype(np.float64), IMAGES[:0]],
    ids=["no batch", "float64", "no images"],
)
def test_other_arrays_are_refused(checkpoint: Checkpoint, images: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"images must be \(N, C, H, W\), uint8 or float32, N > 0"):
        build_predictor(checkpoint, device="cpu").predict(images)


@pytest.mark.parametrize("shape", [(1, 3, 20, 20), (1, 4, SIDE, SIDE)], ids=["size", "channels"])
def test_images_that_do_not_fit_are_refused_by_node(checkpoint: Checkpoint, shape: tuple[int, ...]) -> None:
    with pytest.raises(GraphError, match=r"'(plain_conv|pre_fc1)'"):
        build_predictor(checkpoint, device="cpu").predict(np.zeros(shape, np.uint8))


def test_parameters_that_fit_nothing(checkpoint: Checkpoint) -> None:
    odd = Checkpoint(
        checkpoint.symbol, {**checkpoint.arg_params, "plain_conv_weight": np.zeros((8, 5, 3, 3))}, checkpoint.aux_params
    )
    with pytest.raises(GraphError, match=r"takes no image of .* and 112x112, 24x24"):
        _ = build_predictor(odd, device="cpu").input_shape


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"engine": "caffe"}, "no engine 'caffe'; choose one of torch, mxnet, onnxruntime"),
        ({"dtype": "int8"}, "no dtype 'int8'; choose one of float32, bf16"),
        ({"engine": "onnxruntime", "dtype": "bf16"}, "computes in float32 only"),
        ({"engine": "mxnet", "dtype": "bf16"}, "computes in float32 only"),
    ],
)
def test_choices_that_do_not_exist(checkpoint: Checkpoint, choice: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_predictor(checkpoint, device="cpu", **choice)


@pytest.mark.parametrize(
    ("engine", "module"), [("mxnet", "mxnet"), ("onnxruntime", "onnxruntime"), ("onnxruntime", "onnx")]
)
def test_engines_that_are_not_installed(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, engine: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DependencyError, match="pip install"):
        build_predictor(checkpoint, engine=engine, device="cpu")


def test_onnxruntime_agrees(checkpoint: Checkpoint) -> None:
    pytest.importorskip("onnxruntime")
    predictor = build_predictor(checkpoint, engine="onnxruntime", device="cpu")
    np.testing.assert_allclose(predictor.predict(IMAGES)[0], plain_outputs(checkpoint, IMAGES)[0], rtol=1e-4, atol=1e-5)


def test_onnxruntime_on_a_gpu_that_it_does_not_know(checkpoint: Checkpoint) -> None:
    runtime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in runtime.get_available_providers():
        pytest.skip("this ONNX Runtime knows GPUs")
    with pytest.raises(ConfigError, match="cannot compute on cuda:0"):
        build_predictor(checkpoint, engine="onnxruntime", device="cuda:0")


@pytest.mark.mxnet
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mxnet_on_a_gpu_that_is_not_there(checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match="cannot compute on cuda:7"):
        build_predictor(checkpoint, engine="mxnet", device="cuda:7")


@pytest.mark.mxnet
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mxnet_agrees(checkpoint: Checkpoint) -> None:
    predictor = build_predictor(checkpoint, engine="mxnet", device="cpu")
    for images in (IMAGES, IMAGES[:2]):
        np.testing.assert_allclose(
            predictor.predict(images)[0], plain_outputs(checkpoint, images)[0], rtol=1e-4, atol=1e-5
        )


@pytest.mark.mxnet
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mxnet_runs_a_loss_without_its_label() -> None:
    softmax = sym.SoftmaxOutput(sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc"), name="softmax")
    checkpoint = random_checkpoint(softmax, (3, SIDE, SIDE))
    ours, theirs = (
        build_predictor(checkpoint, engine=engine, device="cpu").predict(IMAGES)[0] for engine in ("torch", "mxnet")
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_choose_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(None) == choose_device(-1) == "cpu"
    with pytest.raises(ConfigError, match="no GPU 0: none is visible; give -1"):
        choose_device(0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [choose_device(gpu) for gpu in (None, -1, 0, 1)] == ["cuda:0", "cpu", "cuda:0", "cuda:1"]
    for gpu in (2, -2):
        with pytest.raises(ConfigError, match=f"no GPU {gpu}: 0 to 1 are visible"):
            choose_device(gpu)
    # another engine's GPUs are not torch's to count
    assert [choose_device(gpu, engine="mxnet") for gpu in (None, -1, 0, 7)] == ["cpu", "cpu", "cuda:0", "cuda:7"]


@pytest.mark.gpu
def test_on_a_gpu(checkpoint: Checkpoint) -> None:
    expected = plain_outputs(checkpoint, IMAGES)[0]
    embedding = build_predictor(checkpoint, device="cuda:0").predict(IMAGES)[0]
    np.testing.assert_allclose(embedding, expected, rtol=1e-2, atol=1e-2)
