"""The three networks of MTCNN, Zhang et al. 2016, as det1, det2 and det3 of the MXNet port have them.

Input `data` (N, 3, H, W), BGR, (x - 127.5) / 128. Outputs: [landmarks,] box regression, face probability. The first
network is fully convolutional and takes any size; the others take 24x24 and 48x48. Max-pooling rounds sizes up.
"""

from __future__ import annotations

from mxface.graph import Group, Symbol, Variable, sym
from mxface.graph.naming import network_names


def pnet() -> Symbol:
    """det1: candidates, one a cell of 12x12 pixels. Outputs (N, 4, h, w) and (N, 2, h, w)."""
    with network_names():
        body = max_pooling(convolution_prelu(Variable("data"), 10, 3, "1"), 2, "pool1")
        body = convolution_prelu(body, 16, 3, "2")
        body = convolution_prelu(body, 32, 3, "3")
        boxes = convolution(body, 4, 1, "conv4_2")
        score = convolution(body, 2, 1, "conv4_1")
        return Group([boxes, sym.SoftmaxActivation(data=score, mode="channel", name="prob1")])


def rnet() -> Symbol:
    """det2: refines candidates. Outputs (N, 4) and (N, 2)."""
    with network_names():
        body = max_pooling(convolution_prelu(Variable("data"), 28, 3, "1"), 3, "pool1")
        body = max_pooling(convolution_prelu(body, 48, 3, "2"), 3, "pool2")
        body = convolution_prelu(body, 64, 2, "3")
        body = prelu(fully_connected(body, 128, "conv4"), "prelu4")
        boxes = fully_connected(body, 4, "conv5_2")
        score = fully_connected(body, 2, "conv5_1")
        return Group([boxes, sym.SoftmaxOutput(data=score, name="prob1")])


def onet() -> Symbol:
    """det3: the final boxes and five points. Outputs (N, 10), (N, 4) and (N, 2)."""
    with network_names():
        body = max_pooling(convolution_prelu(Variable("data"), 32, 3, "1"), 3, "pool1")
        body = max_pooling(convolution_prelu(body, 64, 3, "2"), 3, "pool2")
        body = max_pooling(convolution_prelu(body, 64, 3, "3"), 2, "pool3")
        body = convolution_prelu(body, 128, 2, "4")
        body = prelu(fully_connected(body, 256, "conv5"), "prelu5")
        landmarks = fully_connected(body, 10, "conv6_3")
        boxes = fully_connected(body, 4, "conv6_2")
        score = fully_connected(body, 2, "conv6_1")
        return Group([landmarks, boxes, sym.SoftmaxOutput(data=score, name="prob1")])


def convolution_prelu(data: Symbol, filters: int, kernel: int, number: str) -> Symbol:
    return prelu(convolution(data, filters, kernel, f"conv{number}"), f"prelu{number}")


def convolution(data: Symbol, filters: int, kernel: int, name: str) -> Symbol:
    return sym.Convolution(data=data, num_filter=filters, kernel=(kernel, kernel), name=name)


def prelu(data: Symbol, name: str) -> Symbol:
    return sym.LeakyReLU(data=data, act_type="prelu", name=name)


def max_pooling(data: Symbol, kernel: int, name: str) -> Symbol:
    return sym.Pooling(
        data=data,
        kernel=(kernel, kernel),
        stride=(2, 2),
        pool_type="max",
        pooling_convention="full",
        name=name,
    )


def fully_connected(data: Symbol, hidden: int, name: str) -> Symbol:
    return sym.FullyConnected(data=data, num_hidden=hidden, name=name)
