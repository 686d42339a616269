"""Initial values of a network's parameters, by MXNet's rules.

A variable's own `__init__` attribute decides; else the end of its name: weight Xavier, gamma and moving_var 1, bias,
beta and moving_mean 0. 2019's Xavier has magnitude 2: gaussian by fan-out for fresnet and fmobilefacenet, by fan-in for
Inception-ResNet and Xception, else uniform by fan-in. Fans of a (N, M, kh, kw) weight: in = M*kh*kw (M is already
divided by the groups), out = N*kh*kw.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mxface.errors import GraphError
from mxface.graph import Symbol

Array = NDArray[np.float32]
Shape = Sequence[int]
Fill = Callable[[Shape, np.random.Generator], Array]

GAUSSIAN_FACTORS = {"fresnet": "out", "fmobilefacenet": "out", "finception_resnet_v2": "in", "fxception": "in"}


@dataclass(frozen=True)
class Constant:
    """One value everywhere."""

    value: float

    def __call__(self, shape: Shape, _rng: np.random.Generator) -> Array:
        return np.full(shape, self.value, np.float32)


@dataclass(frozen=True)
class Normal:
    """Normal with mean 0."""

    sigma: float = 0.01

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        return np.multiply(rng.standard_normal(shape, np.float32), self.sigma, dtype=np.float32)


@dataclass(frozen=True)
class Uniform:
    """Uniform in [-scale, scale)."""

    scale: float = 0.07

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        return np.multiply(rng.random(shape, np.float32) * 2 - 1, self.scale, dtype=np.float32)


@dataclass(frozen=True)
class Xavier:
    """Scale sqrt(magnitude / fan): the bound of a uniform, the standard deviation of a gaussian."""

    rnd_type: str = "uniform"
    factor_type: str = "avg"
    magnitude: float = 3

    def __post_init__(self) -> None:
        if self.rnd_type not in ("uniform", "gaussian") or self.factor_type not in ("avg", "in", "out"):
            raise GraphError(f"{self}: rnd_type is uniform or gaussian, factor_type avg, in or out")

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        if len(shape) < 2:
            raise GraphError(
                f"Xavier needs two dimensions or more to count inputs and outputs, not shape {tuple(shape)}"
            )
        receptive_field = math.prod(shape[2:])
        fan_in, fan_out = shape[1] * receptive_field, shape[0] * receptive_field
        fan = {"avg": (fan_in + fan_out) / 2, "in": fan_in, "out": fan_out}[self.factor_type]
        scale = math.sqrt(self.magnitude / fan)
        return Uniform(scale)(shape, rng) if self.rnd_type == "uniform" else Normal(scale)(shape, rng)


INITIALIZERS: Mapping[str, Callable[..., Fill]] = {
    "constant": Constant,
    "zero": lambda: Constant(0),
    "zeros": lambda: Constant(0),
    "one": lambda: Constant(1),
    "ones": lambda: Constant(1),
    "normal": Normal,
    "uniform": Uniform,
    "xavier": Xavier,
}
FILL_BY_SUFFIX: Mapping[str, Fill] = {
    "gamma": Constant(1),
    "moving_var": Constant(1),
    "running_var": Constant(1),
    "bias": Constant(0),
    "beta": Constant(0),
    "moving_mean": Constant(0),
    "running_mean": Constant(0),
}


def xavier_of_network(net_name: str) -> Xavier:
    """2019's choice for a network family."""
    if net_name in GAUSSIAN_FACTORS:
        return Xavier("gaussian", GAUSSIAN_FACTORS[net_name], 2)
    return Xavier("uniform", "in", 2)


def init_params(
    symbol: Symbol, shapes: Mapping[str, Shape], net_name: str, rng: np.random.Generator
) -> dict[str, Array]:
    """Values for all names of `shapes`, arguments and auxiliary states of `symbol`, drawn in the order of its nodes.

    GraphError: a variable that no rule covers, or an initialiser of another name.
    """
    xavier = xavier_of_network(net_name)
    variables = [node for node in symbol.nodes if node.is_variable and node.name in shapes]
    return {node.name: _fill_of(node.name, node.attrs, xavier)(shapes[node.name], rng) for node in variables}


def _fill_of(name: str, attrs: Mapping[str, str], xavier: Xavier) -> Fill:
    if "__init__" in attrs:
        return parse_initializer(attrs["__init__"], name)
    if name.endswith("weight"):
        return xavier
    for suffix, fill in FILL_BY_SUFFIX.items():
        if name.endswith(suffix):
            return fill
    raise GraphError(f"variable {name}: no rule to initialise it; give it an initialiser, Variable(…, init=…)")


def parse_initializer(text: str, name: str) -> Fill:
    """The value of an `__init__` attribute: `["normal", {"sigma": 0.01}]` (the name in any case), or a bare name."""
    try:
        kind, parameters = json.loads(text) if text.startswith("[") else (text, {})
        return INITIALIZERS[kind.lower()](**parameters)
    except KeyError as exc:
        known = ", ".join(sorted(INITIALIZERS))
        raise GraphError(f"variable {name}: unknown initialiser {text}; known are {known}") from exc
    except (AttributeError, TypeError, ValueError) as exc:
        raise GraphError(f"variable {name}: initialiser {text} cannot be read: {exc}") from exc
