"""The options of the embedding networks: the keys of 2019's global config that shape a graph.

The networks of src/symbols and gender-age took keywords instead (`version_se`); SRC_KEYWORDS says which option each is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mxface.errors import ConfigError, SettingError
from mxface.graph import Node
from mxface.ops.activation import ACTIVATION_TYPES

NET_OUTPUTS = ("E", "F", "FC", "G", "GAP", "GDC", "GNAP", "H", "I", "J", "Z")
SRC_NET_OUTPUTS = (*NET_OUTPUTS, "A", "AX", "B", "BX", "C", "CX", "D", "DX")
LONGEST_EMBEDDING = 2**16  # what is longer is a typing error

SRC_KEYWORDS = {
    "num_classes": "emb_size",
    "version_act": "net_act",
    "version_input": "net_input",
    "version_multiplier": "net_multiplier",
    "version_output": "net_output",
    "version_se": "net_se",
    "version_unit": "net_unit",
}


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """What get_symbol asks of the options of any family."""

    @property
    def data_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W) that a graph must be able to take unless the caller says otherwise."""
        return 1, 3, 112, 112

    @property
    def nodes_before(self) -> Sequence[Node]:
        """What is built upon: automatic names go on from there."""
        return ()


@dataclass(frozen=True, kw_only=True)
class RecognitionOptions(NetworkOptions):
    """Checked on construction; a network reads some of them. ConfigError names the option and what it can be."""

    net_outputs: ClassVar[tuple[str, ...]] = NET_OUTPUTS

    emb_size: int = 512
    num_layers: int | None = None
    net_output: str = "E"
    """The embedding head, see embedding_heads.py."""
    net_input: int = 1
    """The stem: 1 keeps full resolution, 0 halves it at once, 2 (fresnet) learns the pixel normalisation."""
    net_unit: int = 3
    net_se: bool = False
    net_act: str = "prelu"
    net_multiplier: float = 1.0
    net_blocks: tuple[int, ...] = (1, 4, 6, 2)
    bn_mom: float = 0.9
    head_bn_mom: float = 0.9
    """Of the head's BatchNorms. 2019 read bn_mom for them once, on import: a later change of the config did not reach
    them, an edit of its base values did."""
    workspace: int = 256
    densenet_dropout: float = 0.0
    memonger: bool = False

    @property
    def head(self) -> str:
        """The head's letters in the table of embedding_heads.py."""
        return self.net_output

    @property
    def head_act(self) -> str:
        return self.net_act

    def __post_init__(self) -> None:
        object.__setattr__(self, "net_blocks", tuple(self.net_blocks))
        require_member("net_output", self.net_output, self.net_outputs)
        require_member("net_input", self.net_input, (0, 1, 2))
        require_member("net_act", self.net_act, ("prelu", *ACTIVATION_TYPES))
        if self.net_unit == 4:
            raise SettingError("net_unit", "=4 was never written in 2019; choose 1, 2 or 3")
        require_member("net_unit", self.net_unit, (1, 2, 3))
        if self.memonger:
            raise ConfigError("memonger=True never worked in 2019 and does nothing here; set it to False")
        require_positive(self, "emb_size", "net_multiplier", "workspace")
        if self.emb_size > LONGEST_EMBEDDING:
            raise SettingError("emb_size", f"={self.emb_size} must be at most {LONGEST_EMBEDDING}")
        for name in ("bn_mom", "head_bn_mom", "densenet_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingError(name, f"={getattr(self, name)} must be at least 0 and below 1")
        if len(self.net_blocks) != 4 or min(self.net_blocks) < 0:
            raise ConfigError(f"net_blocks={list(self.net_blocks)} must be four counts, such as [1, 4, 6, 2]")


@dataclass(frozen=True, kw_only=True)
class SrcOptions(RecognitionOptions):
    """The same, for src/symbols and gender-age: more heads, and PReLU in them whatever `net_act` is."""

    net_outputs: ClassVar[tuple[str, ...]] = SRC_NET_OUTPUTS

    @property
    def head(self) -> str:
        """FC had no branch of its own there and fell through to B."""
        return "B" if self.net_output == "FC" else self.net_output

    @property
    def head_act(self) -> str:
        return "prelu"


def require_member(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise SettingError(name, f"={value!r} does not exist; choose one of {', '.join(map(str, allowed))}")


def require_positive(options: object, *names: str) -> None:
    for name in names:
        if not 0 < getattr(options, name) < math.inf:
            raise SettingError(name, f"={getattr(options, name)} must be above 0")
