"""BatchNorm merged into the layer before it: inference only, exact but for rounding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from mxface.lower import LOWERINGS
from mxface.lower.batch_norm import batch_norm
from mxface.lower.convolution import convolution
from mxface.lower.fully_connected import fully_connected


def fold_batch_norm(network: fx.GraphModule) -> fx.GraphModule:
    """Merge each BatchNorm into the convolution or fully connected layer that it alone reads, in place.

    A layer that shares its weight is left alone. The merged weights are computed in float64.
    """
    for node in list(network.graph.nodes):
        if node.target is batch_norm and _can_fold(node):
            _fold(network, node)
    remove_unused(network)
    return network


def remove_unused(network: fx.GraphModule) -> None:
    """Drop calls, parameters and buffers that the result does not need."""
    network.graph.eliminate_dead_code()
    used = {node.target for node in network.graph.nodes if node.op == "get_attr"}
    for name, _ in [*network.named_parameters(), *network.named_buffers()]:
        if name not in used:
            delattr(network, name)
    network.recompile()


def _can_fold(node: fx.Node) -> bool:
    layer = node.args[0]
    if not isinstance(layer, fx.Node) or node.kwargs.get("axis", 1) != 1:
        return False
    if layer.target is not convolution and not (layer.target is fully_connected and layer.kwargs.get("flatten", True)):
        return False
    return all(len(read.users) == 1 for read in (layer, *_parameters(layer)))


def _parameters(layer: fx.Node) -> list[fx.Node]:
    """Weight, and bias if there is one."""
    return [argument for argument in layer.args[1:] if isinstance(argument, fx.Node)]


def _fold(network: fx.GraphModule, node: fx.Node) -> None:
    layer = node.args[0]
    assert isinstance(layer, fx.Node)
    gamma, beta, mean, variance = (_value(network, argument) for argument in node.args[1:5])
    settings: Mapping[str, Any] = {**LOWERINGS["BatchNorm"].keywords, **node.kwargs}
    scale = (variance + settings["eps"]).rsqrt()
    if not settings["fix_gamma"]:
        scale *= gamma
    weight, *biases = _parameters(layer)
    bias = _value(network, biases[0]) - mean if biases else -mean
    merged = _value(network, weight)
    merged *= scale.reshape(-1, *[1] * (merged.dim() - 1))
    _set_parameter(network, str(weight.target), merged)
    bias_name = str(biases[0].target) if biases else f"{node.name}_bias"
    _set_parameter(network, bias_name, beta + bias * scale)
    if not biases:
        with network.graph.inserting_before(layer):
            layer.args = (layer.args[0], weight, network.graph.create_node("get_attr", bias_name, name=bias_name))
    node.replace_all_uses_with(layer)


def _value(network: fx.GraphModule, node: fx.node.Argument) -> Tensor:
    assert isinstance(node, fx.Node)
    array: Tensor = getattr(network, str(node.target))
    return array.detach().double()


def _set_parameter(network: fx.GraphModule, name: str, value: Tensor) -> None:
    setattr(network, name, torch.nn.Parameter(value.float(), requires_grad=False))
