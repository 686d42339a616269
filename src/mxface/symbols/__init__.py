"""The networks of 2019 as graphs. `get_symbol` is the one way in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from mxface.errors import ConfigError, GraphError
from mxface.graph import Symbol
from mxface.graph.naming import network_names
from mxface.symbols import gender_age
from mxface.symbols.fdensenet import build_fdensenet, build_src_fdensenet
from mxface.symbols.fdpn import build_fdpn
from mxface.symbols.finception_resnet_v2 import build_finception_resnet_v2
from mxface.symbols.fmnasnet import build_fmnasnet
from mxface.symbols.fmobilefacenet import build_fmobilefacenet
from mxface.symbols.fmobilenet import build_fmobilenet
from mxface.symbols.fmobilenetv2 import build_fmobilenetv2
from mxface.symbols.fnasnet import build_fnasnet
from mxface.symbols.fresnet import build_fresnet, build_src_fresnet
from mxface.symbols.fxception import build_fxception
from mxface.symbols.options import SRC_KEYWORDS, RecognitionOptions, SrcOptions
from mxface.symbols.spherenet import build_spherenet

__all__ = ["FAMILIES", "Family", "Network", "RecognitionOptions", "SrcOptions", "get_symbol", "option_names"]

logger = logging.getLogger(__name__)

HEAD_OPTIONS = frozenset({"emb_size", "net_output", "net_act", "head_bn_mom"})
SRC_HEAD_OPTIONS = frozenset({"emb_size", "net_output"})
FRESNET_OPTIONS = frozenset({"num_layers", "net_input", "net_unit", "net_se", "net_act"})


@dataclass(frozen=True)
class Network:
    """How a network is built, and the options it reads."""

    build: Callable[[Any], Symbol]
    reads: frozenset[str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Where they differ from those of the family's options."""


@dataclass(frozen=True)
class Family:
    """Networks that take the same options."""

    options: type[Any]
    networks: dict[str, Network]
    keywords: Mapping[str, str] = field(default_factory=dict)
    """Other names of options: the keywords that 2019's functions took."""


FAMILIES = {
    "recognition": Family(
        RecognitionOptions,
        {
            "fresnet": Network(build_fresnet, HEAD_OPTIONS | FRESNET_OPTIONS | {"bn_mom", "workspace"}),
            "fmobilefacenet": Network(build_fmobilefacenet, HEAD_OPTIONS | {"bn_mom", "net_blocks"}),
            "fmobilenet": Network(build_fmobilenet, HEAD_OPTIONS | {"net_multiplier", "net_input"}),
            "fmnasnet": Network(build_fmnasnet, HEAD_OPTIONS | {"net_multiplier"}),
            "fdensenet": Network(build_fdensenet, HEAD_OPTIONS | {"num_layers", "densenet_dropout"}),
        },
    ),
    "src": Family(
        SrcOptions,
        {
            "fresnet": Network(build_src_fresnet, SRC_HEAD_OPTIONS | FRESNET_OPTIONS, {"net_se": True}),
            "fmobilefacenet": Network(build_fmobilefacenet, SRC_HEAD_OPTIONS | {"bn_mom"}, {"net_output": "GNAP"}),
            "fmobilenet": Network(build_fmobilenet, SRC_HEAD_OPTIONS | {"net_multiplier", "net_input"}),
            "fmobilenetv2": Network(build_fmobilenetv2, frozenset({"emb_size"})),
            "fdensenet": Network(build_src_fdensenet, SRC_HEAD_OPTIONS | {"num_layers", "net_input"}),
            "fdpn": Network(build_fdpn, SRC_HEAD_OPTIONS | {"num_layers", "net_input"}),
            "finception_resnet_v2": Network(build_finception_resnet_v2, SRC_HEAD_OPTIONS | {"net_input"}),
            "fnasnet": Network(build_fnasnet, frozenset({"emb_size"})),
            "fxception": Network(build_fxception, SRC_HEAD_OPTIONS | {"net_input"}),
            "spherenet": Network(build_spherenet, frozenset({"num_layers", "emb_size"})),
        },
        SRC_KEYWORDS,
    ),
    "gender_age": Family(
        SrcOptions,
        {
            "fresnet": Network(
                build_src_fresnet,
                SRC_HEAD_OPTIONS | FRESNET_OPTIONS,
                {"emb_size": gender_age.OUTPUTS, "net_output": "GAP", "net_se": True},
            ),
            "fmobilenet": Network(
                build_fmobilenet,
                SRC_HEAD_OPTIONS | {"net_multiplier", "net_input"},
                {"emb_size": gender_age.OUTPUTS, "net_act": "relu"},
            ),
        },
        {**SRC_KEYWORDS, "multiplier": "net_multiplier"},
    ),
}


def get_symbol(
    name: str, *, family: str = "recognition", image_shape: tuple[int, ...] = (112, 112, 3), **options: Any
) -> Symbol:
    """The graph of a network up to its embedding, which is called `fc1`.

    `options` are the config keys of 2019 (RecognitionOptions), or the keywords that the network's function took; one
    that the network does not read and that is not left at its default gets a warning in the log. `image_shape` (height,
    width, channels) is what the graph must be able to take; the graph itself holds no image size.

    Raises ConfigError for a network, option or combination that cannot be.
    """
    if family not in FAMILIES:
        raise ConfigError(f"there is no family {family!r} of networks; choose one of {', '.join(FAMILIES)}")
    networks = FAMILIES[family].networks
    if name not in networks:
        raise ConfigError(f"family {family} has no network {name!r}; choose one of {', '.join(networks)}")
    checked = _check_options(name, family, options)
    height, width, channels = image_shape
    try:
        with network_names():
            symbol = networks[name].build(checked)
        symbol.infer_shape(data=(1, channels, height, width))
    except GraphError as exc:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise ConfigError(f"{name}({given}) cannot take images of {height}x{width}: {exc}") from exc
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
