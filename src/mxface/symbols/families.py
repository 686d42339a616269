"""The networks by family: who builds each, which options it reads, and what 2019 called these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mxface.graph import Symbol
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
from mxface.symbols.heatmap import HeatmapOptions, build_heatmap
from mxface.symbols.options import SRC_KEYWORDS, RecognitionOptions, SrcOptions
from mxface.symbols.retinaface import RETINAFACE_KEYWORDS, RetinaFaceOptions, build_retinaface
from mxface.symbols.spherenet import build_spherenet

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


def all_options(options: type[Any]) -> frozenset[str]:
    return frozenset(option.name for option in fields(options))


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
    "alignment": Family(
        HeatmapOptions,
        {"heatmap": Network(build_heatmap, all_options(HeatmapOptions))},
    ),
    "retinaface": Family(
        RetinaFaceOptions,
        {
            "mnet": Network(
                build_retinaface,
                all_options(RetinaFaceOptions),
                {"network": "mnet", "head_filter_num": 64, "landmark_lr_mult": 2.5, "max_feat_channel": 8888},
            ),
            "resnet": Network(build_retinaface, all_options(RetinaFaceOptions)),
        },
        RETINAFACE_KEYWORDS,
    ),
}
