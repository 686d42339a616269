"""A checkpoint that our training command wrote, opened by real MXNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.training import write_tiny_config, write_tiny_set

from mxface.recognition.train import main
from mxface.runtime import load_predictor, make_embedder

pytestmark = [pytest.mark.mxnet, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SIDE = 56


@pytest.fixture(scope="module")
def prefixes(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A model after eight batches: the embedding alone (True), and with its head (False)."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_tiny_set(folder / "tiny")
    flags = [
        "--network",
        "tiny",
        "--dataset",
        "tiny",
        "--threads",
        "1",
        "--device",
        "cpu",
        "--ckpt",
        "2",
        "--verbose",
        "8",
    ]
    for alone in (True, False):
        config = write_tiny_config(folder / "config.py", data, more=f"\nconfig.ckpt_embedding = {alone}\n")
        assert main([*flags, "--config", str(config), "--models-root", str(folder / str(alone))]) == 0
    return {alone: folder / str(alone) / "tiny-arcface-tiny" / "model" for alone in (True, False)}


@pytest.mark.parametrize("alone", [True, False])
def test_mxnet_gives_our_embeddings(prefixes: dict[bool, Path], alone: bool) -> None:
    import mxnet as mx

    images = np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 3), np.uint8)
    ours = make_embedder(load_predictor(prefixes[alone], 1, outputs=["fc1_output"]))(images)
    symbol, args, aux = mx.model.load_checkpoint(str(prefixes[alone]), 1)
    embedding = symbol.get_internals()["fc1_output"]
    module = mx.mod.Module(embedding, data_names=["data"], label_names=None, context=mx.cpu())
    module.bind([("data", (6, 3, SIDE, SIDE))], for_training=False)
    module.set_params({name: args[name] for name in embedding.list_arguments() if name != "data"}, aux)
    module.forward(mx.io.DataBatch([mx.nd.array(images.transpose(0, 3, 1, 2).astype(np.float32))]), is_train=False)
    theirs = module.get_outputs()[0].asnumpy()
    scale = np.abs(theirs).max()  # eight batches old, its embeddings are in the hundreds
    assert np.abs(ours - theirs).max() < 1e-4 * max(scale, 1.0)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (ours, theirs)]
    assert np.abs(unit[0] - unit[1]).max() < 1e-4


def test_mxnet_trains_on_from_the_whole_graph(prefixes: dict[bool, Path]) -> None:
    """Every argument has a value, so that MXNet can go on with our class centres."""
    import mxnet as mx

    symbol, args, aux = mx.model.load_checkpoint(str(prefixes[False]), 1)
    assert set(symbol.list_arguments()) - set(args) == {"data", "softmax_label"}
    module = mx.mod.Module(symbol, data_names=["data"], label_names=["softmax_label"], context=mx.cpu())
    module.bind([("data", (8, 3, SIDE, SIDE))], [("softmax_label", (8,))])
    module.init_params(arg_params=args, aux_params=aux, allow_missing=False, initializer=None)
    data = np.random.default_rng(0).integers(0, 256, (8, 3, SIDE, SIDE)).astype(np.float32)
    module.forward_backward(mx.io.DataBatch([mx.nd.array(data)], [mx.nd.array(np.arange(8) % 4)]))
    assert np.isfinite(module.get_outputs()[2].asscalar())
