"""The heads of both engines on the same embeddings: values and gradients, of every loss that 2019 trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.mxnet.engines import LOSSES, TRIPLETS, loss_graph, torch_head

from mxface.graph import Variable

pytestmark = [pytest.mark.mxnet, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

ROWS, EMB_SIZE, NUM_CLASSES = 24, 64, 500
VALUE_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-5


@pytest.mark.parametrize("loss", LOSSES)
def test_values_and_gradients(loss: str) -> None:
    import mxnet as mx

    sizes = {"num_classes": NUM_CLASSES, "emb_size": EMB_SIZE}
    rng = np.random.default_rng(0)
    embedding = rng.standard_normal((ROWS, EMB_SIZE), np.float32)
    label = rng.integers(0, NUM_CLASSES, ROWS)
    head = torch_head(loss, **sizes)
    if "fc7_weight" in dict(head.named_parameters()):  # targets at every angle: beyond a threshold and before it
        centres = head.fc7_weight.detach().reshape(NUM_CLASSES, -1, EMB_SIZE)[label, 0].numpy()
        embedding += np.linspace(-400, 400, ROWS, dtype=np.float32)[:, None] * centres
    parameters = {name: parameter.detach().numpy().copy() for name, parameter in head.named_parameters()}
    if "fc7_bias" in parameters:
        parameters["fc7_bias"][:] = rng.standard_normal(NUM_CLASSES)
        head.fc7_bias.data.copy_(torch.from_numpy(parameters["fc7_bias"]))

    graph = mx.sym.load_json(loss_graph(Variable("data"), loss, ROWS, **sizes).tojson())
    executor = graph.simple_bind(mx.cpu(), data=embedding.shape, softmax_label=label.shape)
    for name, array in {"data": embedding, "softmax_label": label, **parameters}.items():
        executor.arg_dict[name][:] = array
    outputs = executor.forward(is_train=True)
    executor.backward()

    rows = torch.from_numpy(embedding).requires_grad_()
    output = head(rows) if loss in TRIPLETS else head(rows, torch.from_numpy(label))
    output.loss.backward()
    np.testing.assert_allclose(output.loss.item(), outputs[-1].asscalar(), rtol=VALUE_TOLERANCE)
    if loss not in TRIPLETS:
        best = outputs[1].asnumpy().argmax(axis=1)
        np.testing.assert_array_equal(output.correct.numpy(), best == label)
    gradients = {"data": rows.grad, **{name: parameter.grad for name, parameter in head.named_parameters()}}
    _, fused = head.step(torch.from_numpy(embedding), torch.from_numpy(label), lr=0.0, momentum=0.0, wd=0.0)
    for name, ours in [*gradients.items(), ("data", fused)]:
        theirs = executor.grad_dict[name].asnumpy()
        assert np.abs(theirs).max() > 0
        assert np.abs(ours.numpy() - theirs).max() <= GRADIENT_TOLERANCE * np.abs(theirs).max(), (loss, name)


def test_a_cosine_of_one_is_where_they_part() -> None:
    """MXNet's arccos has no finite derivative there, ours is clamped (docs/DIFFERENCES.md)."""
    import mxnet as mx

    sizes = {"num_classes": 2, "emb_size": 1}  # in one dimension every cosine is ±1
    graph = mx.sym.load_json(loss_graph(Variable("data"), "arcface", 1, **sizes).tojson())
    executor = graph.simple_bind(mx.cpu(), data=(1, 1), softmax_label=(1,))
    for name, value in {"data": 1.0, "softmax_label": 0.0, "fc7_weight": 1.0}.items():
        executor.arg_dict[name][:] = value
    executor.forward(is_train=True)
    executor.backward()
    assert not np.isfinite(executor.grad_dict["data"].asnumpy()).any()
    head = torch_head("arcface", **sizes)
    head.fc7_weight.data.fill_(1.0)
    _, gradient = head.step(torch.ones(1, 1), torch.tensor([0]), lr=0.0, momentum=0.0, wd=0.0)
    assert gradient.isfinite().all()
