"""Which torch function computes which operator.

A lowering takes an operator's inputs in the order of its slots, and its parameters by keyword. A parameter that it does
not take must be a hint (it cannot change a value) or stand at its default; else the node is refused: none is ignored.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mxface.errors import GraphError, UnsupportedOperatorError
from mxface.ops import OpSpec

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Lowering:
    """One operator's torch form."""

    function: Callable[..., Any]
    keywords: Mapping[str, Any]
    """Parameters that the function takes by keyword, with their defaults (`inspect.Parameter.empty` for none)."""
    positional: tuple[str, ...] = ()
    """Parameters that follow the inputs: `operator.sub` cannot take a keyword."""
    hints: frozenset[str] = frozenset()
    """Parameters without influence on the values: sizes that the weights carry, memory and speed settings."""
    only: Mapping[str, Collection[Any]]
    """Values that are supported, of parameters that have others in MXNet."""
    optional: frozenset[str] = frozenset()
    """Input slots that inference can do without: the labels of losses."""

    @property
    def needs_training(self) -> bool:
        """Does the function take `training`, the module's mode?"""
        return "training" in self.keywords

    def arguments(self, spec: OpSpec, params: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """What follows the inputs, and the keywords that differ from the function's defaults.

        Raises GraphError for a setting that this lowering would have to ignore.
        """
        keywords = {}
        for name, value in params.items():
            if name in self.only and value not in self.only[name]:
                allowed = ", ".join(map(repr, self.only[name]))
                raise GraphError(f"{spec.name} with {name}={value!r} cannot be lowered; supported: {allowed}")
            if name in self.keywords:
                if value != self.keywords[name]:
                    keywords[name] = value
            elif name not in self.positional and name not in self.hints | self.only.keys():
                default = spec.params[name].default
                if value != default:
                    raise GraphError(f"{spec.name} with {name}={value!r} cannot be lowered; only {default!r} is")
        return [params[name] for name in self.positional], keywords


LOWERINGS: dict[str, Lowering] = {}
"""Canonical operator name -> its torch form."""


def register(
    name: str,
    function: Callable[..., Any],
    *,
    positional: tuple[str, ...] = (),
    hints: Collection[str] = (),
    only: Mapping[str, Collection[Any]] | None = None,
    optional: Collection[str] = (),
) -> None:
    """Let `function` compute operator `name`; a second function for one name is refused."""
    if name in LOWERINGS:
        raise GraphError(f"operator {name} has two lowerings: {LOWERINGS[name].function} and {function}")
    LOWERINGS[name] = Lowering(
        function=function,
        keywords=_keywords_of(function),
        positional=positional,
        hints=frozenset(hints),
        only=only or {},
        optional=frozenset(optional),
    )


def lowers(
    name: str,
    *,
    hints: Collection[str] = (),
    only: Mapping[str, Collection[Any]] | None = None,
    optional: Collection[str] = (),
) -> Callable[[Function], Function]:
    """`register` as a decorator."""

    def decorate(function: Function) -> Function:
        register(name, function, hints=hints, only=only, optional=optional)
        return function

    return decorate


def find_lowering(operator: str, node: str) -> Lowering:
    """The torch form of a canonical operator name; `node` is named in the error where there is none."""
    try:
        return LOWERINGS[operator]
    except KeyError:
        supported = ", ".join(sorted(LOWERINGS))
        raise UnsupportedOperatorError(
            f"operator {operator} (node {node!r}) cannot be lowered; supported are {supported}"
        ) from None


def _keywords_of(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # torch's own functions have no signature; those used here take no keyword
        return {}
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
