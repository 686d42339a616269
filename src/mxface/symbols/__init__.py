"""The networks of 2019 as graphs. `get_symbol` is the one way in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from typing import Any

from mxface.errors import ConfigError, GraphError
from mxface.graph import Symbol
from mxface.graph.naming import network_names
from mxface.symbols.families import FAMILIES, Family, Network
from mxface.symbols.options import RecognitionOptions, SrcOptions

__all__ = ["FAMILIES", "Family", "Network", "RecognitionOptions", "SrcOptions", "get_symbol", "option_names"]

logger = logging.getLogger(__name__)


def get_symbol(
    name: str, *, family: str = "recognition", image_shape: tuple[int, ...] | None = None, **options: Any
) -> Symbol:
    """The graph of a network: up to its embedding `fc1`, its last heat map, or its boxes.

    `options` are the config keys of 2019 (the family's options), or the keywords that the network's function took; one
    that the network does not read and that is not left at its default gets a warning in the log. `image_shape` (height,
    width, channels) is what the graph must be able to take (None: 2019's); the graph itself holds no image size.

    Raises ConfigError for a network, option or combination that cannot be.
    """
    if family not in FAMILIES:
        raise ConfigError(f"there is no family {family!r} of networks; choose one of {', '.join(FAMILIES)}")
    networks = FAMILIES[family].networks
    if name not in networks:
        raise ConfigError(f"family {family} has no network {name!r}; choose one of {', '.join(networks)}")
    checked = _check_options(name, family, options)
    call = f"{name}({', '.join(f'{key}={value!r}' for key, value in options.items())})"
    try:
        with network_names(after=checked.nodes_before):
            symbol = networks[name].build(checked)
    except GraphError as exc:
        raise ConfigError(f"{call} cannot be built: {exc}") from exc
    batch, channels, height, width = checked.data_shape
    if image_shape is not None:
        height, width, channels = image_shape
    try:
        symbol.infer_shape(data=(batch, channels, height, width))
    except GraphError as exc:
        raise ConfigError(f"{call} cannot take images of {height}x{width}: {exc}") from exc
    return symbol


def option_names(family: str = "recognition") -> tuple[str, ...]:
    """The options that networks of this family may be given."""
    return tuple(field.name for field in fields(FAMILIES[family].options))


def _check_options(name: str, family: str, given: Mapping[str, Any]) -> Any:
    """The family's options, those that the network does not read left at their defaults."""
    network, keywords = FAMILIES[family].networks[name], FAMILIES[family].keywords
    unknown = sorted(given.keys() - {*option_names(family), *keywords})
    if unknown:
        allowed = ", ".join((*option_names(family), *keywords))
        raise ConfigError(f"{name} has no option {', '.join(unknown)}; there are {allowed}")
    twice = sorted(keyword for keyword in given.keys() & keywords.keys() if keywords[keyword] in given)
    if twice:
        raise ConfigError(f"{name} is given {twice[0]} and {keywords[twice[0]]}, which are one option; give it once")
    options = {**network.defaults, **{keywords.get(key, key): value for key, value in given.items()}}
    required = [option.name for option in fields(FAMILIES[family].options) if option.default is MISSING]
    for option in required:
        if option not in options:
            raise ConfigError(f"{name} needs the option {option}")
    checked = FAMILIES[family].options(**options)
    ignored = {
        option.name: network.defaults.get(option.name, option.default)
        for option in fields(checked)
        if option.name not in network.reads
    }
    for option, default in ignored.items():
        if getattr(checked, option) != default:
            logger.warning("%s does not read %s=%r", name, option, getattr(checked, option))
    return replace(checked, **ignored)
