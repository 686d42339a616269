"""The networks of 2019 as graphs. `get_symbol` is the one way in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from mxface.errors import ConfigError, GraphError
from mxface.graph import Symbol
from mxface.graph.naming import network_names
from mxface.symbols.fmobilefacenet import build_fmobilefacenet
from mxface.symbols.fresnet import build_fresnet
from mxface.symbols.options import RecognitionOptions

__all__ = ["FAMILIES", "Family", "Network", "RecognitionOptions", "get_symbol", "option_names"]

logger = logging.getLogger(__name__)

HEAD_OPTIONS = frozenset({"emb_size", "net_output", "net_act", "bn_mom", "head_bn_mom"})


@dataclass(frozen=True)
class Network:
    """How a network is built, and the options it reads."""

    build: Callable[[Any], Symbol]
    reads: frozenset[str]


@dataclass(frozen=True)
class Family:
    """Networks that take the same options."""

    options: type[Any]
    networks: dict[str, Network]


FAMILIES = {
    "recognition": Family(
        RecognitionOptions,
        {
            "fresnet": Network(
                build_fresnet, HEAD_OPTIONS | {"num_layers", "net_input", "net_unit", "net_se", "workspace"}
            ),
            "fmobilefacenet": Network(build_fmobilefacenet, HEAD_OPTIONS | {"net_blocks"}),
        },
    ),
}


def get_symbol(
    name: str, *, family: str = "recognition", image_shape: tuple[int, ...] = (112, 112, 3), **options: Any
) -> Symbol:
    """The graph of a network up to its embedding, which is called `fc1`.

    `options` are the config keys of 2019 (RecognitionOptions); one that the network does not read and that is not left
    at its default gets a warning in the log. `image_shape` (height, width, channels) is what the graph must be able to
    take; the graph itself holds no image size.

    Raises ConfigError for a network, option or combination that cannot be.
    """
    if family not in FAMILIES:
        raise ConfigError(f"there is no family {family!r} of networks; choose one of {', '.join(FAMILIES)}")
    networks = FAMILIES[family].networks
    if name not in networks:
        raise ConfigError(f"family {family} has no network {name!r}; choose one of {', '.join(networks)}")
    unknown = sorted(options.keys() - set(option_names(family)))
    if unknown:
        raise ConfigError(f"{name} has no option {', '.join(unknown)}; there are {', '.join(option_names(family))}")
    checked = FAMILIES[family].options(**options)
    for ignored in _ignored_options(networks[name], checked):
        logger.warning("%s does not read %s=%r", name, ignored, getattr(checked, ignored))
    with network_names():
        symbol = networks[name].build(checked)
    height, width, channels = image_shape
    try:
        symbol.infer_shape(data=(1, channels, height, width))
    except GraphError as exc:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise ConfigError(f"{name}({given}) cannot take images of {height}x{width}: {exc}") from exc
    return symbol


def option_names(family: str = "recognition") -> tuple[str, ...]:
    """The options that networks of this family may be given."""
    return tuple(field.name for field in fields(FAMILIES[family].options))


def _ignored_options(network: Network, options: Any) -> list[str]:
    defaults = type(options)()
    return [
        field.name
        for field in fields(options)
        if field.name not in network.reads and getattr(options, field.name) != getattr(defaults, field.name)
    ]
