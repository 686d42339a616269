"""Layers with their weights laid out beforehand for oneDNN, which is most of the speed on a CPU.

Unlike a traced and frozen module, such a network takes any batch size and image size at no new cost.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from mxface.lower.convolution import convolution
from mxface.lower.fully_connected import fully_connected
from mxface.runtime.fold import remove_unused


def can_pack() -> bool:
    """Does this torch have the oneDNN operators that `torch.compile` uses on CPUs?"""
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def pack_layers(network: fx.GraphModule, dtype: torch.dtype) -> fx.GraphModule:
    """Replace 2-D convolutions (and, in bfloat16, fully connected layers) by packed ones, in place."""
    for node in list(network.graph.nodes):
        if node.target is convolution and getattr(network, str(node.args[1].target)).dim() == 4:
            weight, bias = _weight_and_bias(network, node, dtype)
            _replace(network, node, PackedConvolution(weight, bias, **node.kwargs))
        elif node.target is fully_connected and dtype != torch.float32:
            weight, bias = _weight_and_bias(network, node, dtype)
            _replace(network, node, CastLinear(weight, bias, **node.kwargs))
    remove_unused(network)
    return network


class PackedConvolution(torch.nn.Module):
    """A convolution of (N, C, H, W); the result has the weight's type."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: tuple[int, int],
        pad: tuple[int, int],
        dilate: tuple[int, int],
        num_group: int = 1,
    ) -> None:
        super().__init__()
        self.geometry = (list(pad), list(stride), list(dilate), num_group)
        self.weight, self.bias = weight, bias  # not parameters: a packed tensor can be neither moved nor converted

    def forward(self, data: Tensor) -> Tensor:
        if (
            not self.weight.is_mkldnn
        ):  # packed now that a real input's size is known: without it the layout can be a slow one
            weight = self.weight.contiguous(memory_format=torch.channels_last)
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.geometry, data.shape)
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            data.to(self.weight.dtype), self.weight, self.bias, *self.geometry, "none", [], ""
        )
        return result


class CastLinear(torch.nn.Module):
    """A fully connected layer in the weight's type, whatever comes in."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, flatten: bool = True) -> None:
        super().__init__()
        self.weight, self.bias, self.flatten = weight, bias, flatten

    def forward(self, data: Tensor) -> Tensor:
        data = data.to(self.weight.dtype)
        return F.linear(data.flatten(1) if self.flatten else data, self.weight, self.bias)


def _weight_and_bias(network: fx.GraphModule, node: fx.Node, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    tensors = [
        getattr(network, str(argument.target)).detach().to(dtype)
        for argument in node.args[1:]
        if isinstance(argument, fx.Node)
    ]
    return tensors[0], tensors[1] if len(tensors) > 1 else None


def _replace(network: fx.GraphModule, node: fx.Node, layer: torch.nn.Module) -> None:
    name = f"packed_{node.name}"
    network.add_module(name, layer)
    with network.graph.inserting_before(node):
        call = network.graph.create_node("call_module", name, (node.args[0],), name=node.name)
    node.replace_all_uses_with(call)
