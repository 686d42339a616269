"""One function for every operator name, as `mx.sym`: `sym.Convolution(x, num_filter=64, kernel=(3, 3), name="conv0")`.

An unnamed node is called after the function in lower case: `sym.flip` makes `flip0`, a node of operator `reverse`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mxface.graph.symbol import Group, Symbol, Variable, apply_operator
from mxface.ops import FUNCTIONS

__all__ = ["Group", "Symbol", "Variable"]


def __getattr__(name: str) -> Callable[..., Symbol]:
    if name not in FUNCTIONS:
        raise AttributeError(f"no operator is called {name}; there are {', '.join(sorted(FUNCTIONS))}")
    return partial(apply_operator, name)


def __dir__() -> list[str]:
    return [*__all__, *FUNCTIONS]
