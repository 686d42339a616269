"""Operator parameters: from the attribute strings of a symbol JSON to typed values.

MXNet keeps every attribute as the Python `str()` of what the caller passed, and over ten years callers passed `(3, 3)`,
`(3,3)`, `[2, 3]`, `(1L, 1L)`, `True`, `1`, `None`. Each `parse_*` below takes one such text and returns the value, or
raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mxface.errors import GraphError

REQUIRED = object()
"""The default of a parameter that has none."""

MAX_COUNT = 1 << 16
TRUE_WORDS = frozenset({"True", "true", "1"})
FALSE_WORDS = frozenset({"False", "false", "0"})


class Param(NamedTuple):
    """One parameter: how its text is read, and its value when it is not given."""

    parse: Callable[[str], Any]
    default: Any = REQUIRED


def parse_int(text: str) -> int:
    """`64`, or Python 2's `64L`."""
    return int(text.strip().removesuffix("L"))


def parse_size(text: str) -> int:
    """An integer above 0."""
    return _at_least(1, parse_int(text))


def parse_count(text: str) -> int:
    """How many inputs or outputs a node has: above 0, and bounded, since as many names are made."""
    count = parse_size(text)
    if count > MAX_COUNT:
        raise ValueError(f"{count} is more than {MAX_COUNT}")
    return count


def parse_float(text: str) -> float:
    return float(text)


def parse_bool(text: str) -> bool:
    word = text.strip()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise ValueError(f"{text!r} is neither True nor False")


def parse_text(text: str) -> str:
    return text


def parse_ints(text: str) -> tuple[int, ...]:
    """`(3, 3)`, `(3,3)`, `[2, 3]`, `(2,)`, `()`, or a bare `3` for `(3,)`."""
    return tuple(parse_int(word) for word in _words(text))


def parse_sizes(text: str) -> tuple[int, ...]:
    """As `parse_ints`, each above 0."""
    return tuple(_at_least(1, value) for value in parse_ints(text))


def parse_lengths(text: str) -> tuple[int, ...]:
    """As `parse_ints`, none below 0."""
    return tuple(_at_least(0, value) for value in parse_ints(text))


def parse_optional_ints(text: str) -> tuple[int | None, ...]:
    """As `parse_ints`, but an element may be `None`."""
    return tuple(None if word == "None" else parse_int(word) for word in _words(text))


def optional(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser that also reads `None`."""

    def parse_or_none(text: str) -> Any:
        return None if text.strip() == "None" else parse(text)

    return parse_or_none


def choice(*allowed: str) -> Callable[[str], str]:
    """A parser that admits only these words."""

    def parse_choice(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"{text!r} is not one of {', '.join(allowed)}")
        return text

    return parse_choice


def is_hidden(key: str) -> bool:
    """Is this attribute a note to the optimiser or initialiser (`__lr_mult__`), not a parameter of the operator?"""
    return key.startswith("__") and key.endswith("__")


def parse_attributes(operator: str, params: Mapping[str, Param], attrs: Mapping[str, str]) -> dict[str, Any]:
    """Every parameter in declared order, defaults filled in; hidden attributes are left out.

    Raises GraphError for a parameter that is missing, unknown or unreadable.
    """
    unknown = [key for key in attrs if key not in params and not is_hidden(key)]
    if unknown:
        raise GraphError(f"{operator} has no parameter {', '.join(unknown)}; it has {', '.join(params) or 'none'}")
    values = {}
    for key, param in params.items():
        if key in attrs:
            try:
                values[key] = param.parse(attrs[key])
            except ValueError as exc:
                raise GraphError(f"{operator}: cannot read {key}={attrs[key]!r}: {exc}") from exc
        elif param.default is REQUIRED:
            raise GraphError(f"{operator} needs the parameter {key}")
        else:
            values[key] = param.default
    return values


def _at_least(lowest: int, value: int) -> int:
    if value < lowest:
        raise ValueError(f"{value} is below {lowest}")
    return value


def _words(text: str) -> list[str]:
    body = text.strip()
    if body[:1] in ("(", "["):
        closing = ")" if body[0] == "(" else "]"
        if not body.endswith(closing):
            raise ValueError(f"{text!r} opens a bracket that it does not close")
        body = body[1:-1]
    words = [word.strip() for word in body.split(",")]
    if words[-1] == "":  # the comma of "(2,)", or nothing between the brackets
        words.pop()
    return words
