"""MXNet's SGD with momentum: the buffer carries the learning rate, so a lower rate does not scale past steps down.

    g = clip(rescale_grad * gradient)
    v = momentum * v - lr * (g + wd * w)
    w = w + v

torch's SGD leaves the rate out of the buffer. Its fused kernel, one pass over the memory where list operations make
four, is MXNet's rule all the same with the settings of `SGD._fused_step`.

2019 built its optimiser without the network's symbol, so every parameter had the full decay and the same rate: that is
the default. `named_multipliers` gives the factors that MXNet applies where it knows the symbol.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mxface.errors import ConfigError
from mxface.graph import Symbol

DECAYED_SUFFIXES = ("_weight", "_gamma")


class Multipliers(NamedTuple):
    """Factors of the learning rate and of the weight decay by parameter name; a name left out has 1."""

    lr: Mapping[str, float]
    wd: Mapping[str, float]


NO_MULTIPLIERS = Multipliers({}, {})


def named_multipliers(symbol: Symbol, inputs: Collection[str] = ()) -> Multipliers:
    """MXNet's rule for an optimiser that knows `symbol`, whose `inputs` are no parameters.

    No weight decay on names without _weight or _gamma at their end; then the variables' own lr_mult and wd_mult.
    """
    names = [name for name in symbol.list_arguments() if name not in inputs]
    attributes = {node.name: node.attrs for node in symbol.nodes if node.is_variable}
    lr = {name: float(attributes[name]["__lr_mult__"]) for name in names if "__lr_mult__" in attributes[name]}
    wd = {name: 0.0 for name in names if not name.endswith(DECAYED_SUFFIXES)}
    wd |= {name: float(attributes[name]["__wd_mult__"]) for name in names if "__wd_mult__" in attributes[name]}
    return Multipliers(lr, wd)


class SGD:
    """Moves `parameters`, which are known by their names. `lr` may be set between steps."""

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        lr: float,
        momentum: float = 0.0,
        wd: float = 0.0,
        rescale_grad: float = 1.0,
        clip_gradient: float | None = None,
        multipliers: Multipliers = NO_MULTIPLIERS,
    ) -> None:
        self.lr = lr
        self._momentum = momentum
        self._wd = wd
        self._rescale_grad = rescale_grad
        self._clip_gradient = clip_gradient
        self._parameters = dict(parameters)
        self._buffers = {name: torch.zeros_like(parameter) for name, parameter in self._parameters.items()}
        self._groups: dict[tuple[float, float], list[str]] = defaultdict(list)
        for name in self._parameters:
            self._groups[multipliers.lr.get(name, 1.0), multipliers.wd.get(name, 1.0)].append(name)

    @torch.no_grad()
    def step(self) -> None:
        """One update. A parameter without a gradient (the gamma of a fix_gamma BatchNorm) has a zero one: it decays."""
        for (lr_mult, wd_mult), names in self._groups.items():
            lr, wd = self.lr * lr_mult, self._wd * wd_mult
            weights: list[Tensor] = [self._parameters[name] for name in names]
            buffers = [self._buffers[name] for name in names]
            gradients = self._gradients(weights)
            if self._momentum > 0 and lie_alike(weights, gradients):
                self._fused_step(weights, gradients, buffers, lr, wd)
                continue
            torch._foreach_mul_(buffers, self._momentum)
            torch._foreach_add_(buffers, gradients, alpha=-lr)
            torch._foreach_add_(buffers, weights, alpha=-lr * wd)
            torch._foreach_add_(weights, buffers)

    def _fused_step(
        self, weights: list[Tensor], gradients: list[Tensor], buffers: list[Tensor], lr: float, wd: float
    ) -> None:
        """torch has g' = -g + weight_decay * w, v = momentum * v + (1 - dampening) * g', w = w - its rate * v."""
        torch._fused_sgd_(
            weights,
            gradients,
            buffers,
            weight_decay=-wd,
            momentum=self._momentum,
            lr=-1.0,
            dampening=1 - lr,
            nesterov=False,
            maximize=True,
            is_first_step=False,
        )

    @torch.no_grad()
    def clip(self, largest: float) -> float:
        """The L2 length of the gradient of all parameters together, which is shortened to `largest` (0: any length).

        A length that is not finite leaves the gradient as it is.
        """
        gradients = [parameter.grad for parameter in self._parameters.values() if parameter.grad is not None]
        length = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
        if 0 < largest < length < math.inf:
            torch._foreach_mul_(gradients, largest / length)
        return length

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """The momentum buffers by parameter name (the buffers themselves, not copies)."""
        return dict(self._buffers)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over the buffers of `state_dict`; raises ConfigError when they are of another network."""
        if state.keys() != self._buffers.keys():
            odd = sorted(state.keys() ^ self._buffers.keys())
            raise ConfigError(f"the optimiser's state is of another network: {odd[0]} and {len(odd) - 1} more differ")
        for name, buffer in self._buffers.items():
            if buffer.shape != state[name].shape:
                raise ConfigError(
                    f"the optimiser's state is of another network: {name} is {tuple(state[name].shape)} there, "
                    f"{tuple(buffer.shape)} here"
                )
            buffer.copy_(state[name])

    def _gradients(self, weights: list[Tensor]) -> list[Tensor]:
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        if self._rescale_grad != 1:
            gradients = list(torch._foreach_mul(gradients, self._rescale_grad))
        if self._clip_gradient is not None:
            gradients = list(torch._foreach_clamp_min(gradients, -self._clip_gradient))
            torch._foreach_clamp_max_(gradients, self._clip_gradient)
        return gradients


def lie_alike(weights: list[Tensor], gradients: list[Tensor]) -> bool:
    """Whether each gradient has its weight's order in memory: a fused pass takes both as they lie."""
    return all(weight.stride() == gradient.stride() for weight, gradient in zip(weights, gradients, strict=True))
