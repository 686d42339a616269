"""Symbol: some outputs of a graph. The model representation of the whole package, with MXNet's names and JSON."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from numbers import Number
from typing import Any, overload

from mxface.errors import GraphError
from mxface.formats import symbol_json
from mxface.formats.symbol_json import JsonGraph
from mxface.graph.composition import compose_node, name_arguments
from mxface.graph.json_graph import graph_to_json, nodes_from_json
from mxface.graph.node import VARIABLE, Entry, Node, auxiliary_states, topological_order
from mxface.graph.shape_inference import infer_shapes
from mxface.ops import Shape, find_operator


class Symbol:
    """One or more outputs of a graph, and with them all nodes that they need. Immutable.

    `beyond` are nodes that a file holds and no head of it needs; only select_outputs looks there.
    """

    def __init__(self, heads: Iterable[Entry], beyond: Iterable[Node] = ()) -> None:
        self.heads = tuple(heads)
        self._beyond = tuple(beyond)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, each after its inputs (depth-first post-order, as in the JSON)."""
        return topological_order(self.heads)

    @property
    def name(self) -> str:
        """The name of the node behind a single output."""
        return self._single_head().node.name

    @cached_property
    def _auxiliary(self) -> set[Node]:
        return auxiliary_states(self.nodes)

    def list_arguments(self) -> list[str]:
        """Names of the variables that are not auxiliary states, in graph order."""
        return [node.name for node in self.nodes if node.is_variable and node not in self._auxiliary]

    def list_auxiliary_states(self) -> list[str]:
        """Names of the variables that a training forward writes, in graph order."""
        return [node.name for node in self.nodes if node in self._auxiliary]

    def list_outputs(self) -> list[str]:
        """Names of the outputs, such as `fc1_output`."""
        return [head.node.outputs[head.index] for head in self.heads]

    def get_internals(self) -> Symbol:
        """Every output of every node."""
        return _all_outputs(self.nodes)

    def select_outputs(self, names: Sequence[str]) -> Symbol:
        """The named outputs, from anywhere in the graph or the file it was read from, heads or not.

        Raises GraphError for a name that does not exist.
        """
        internals = _all_outputs([*self.nodes, *self._beyond])
        return Group([internals[name] for name in names])

    @overload
    def __getitem__(self, key: int | str) -> Symbol: ...
    @overload
    def __getitem__(self, key: slice) -> Symbol: ...
    def __getitem__(self, key: int | str | slice) -> Symbol:
        """One output by position or name, or several by a slice."""
        if isinstance(key, slice):
            return Symbol(self.heads[key])
        if isinstance(key, int):
            if not -len(self) <= key < len(self):
                raise IndexError(f"output {key} of a symbol with {len(self)} outputs")
            return Symbol([self.heads[key]])
        return Symbol([self.heads[self._position(key)]])

    def __len__(self) -> int:
        return len(self.heads)

    def __iter__(self) -> Iterator[Symbol]:
        return (Symbol([head]) for head in self.heads)

    def __repr__(self) -> str:
        return f"<Symbol {', '.join(self.list_outputs()[:8])}{', …' if len(self) > 8 else ''}>"

    def infer_shape(self, **shapes: Shape) -> tuple[dict[str, Shape], list[Shape], dict[str, Shape]]:
        """Shapes of arguments (by name), outputs (in order) and auxiliary states (by name).

        `shapes` are those of the data inputs. Raises GraphError naming the node where sizes do not fit.
        """
        inferred = infer_shapes(self.nodes, shapes)
        # infer_shapes leaves nothing unknown except variables that stand alone, which no operator could tell
        known = {node: [_known(shape, node) for shape in outputs] for node, outputs in inferred.items()}
        arguments = {n.name: known[n][0] for n in self.nodes if n.is_variable and n not in self._auxiliary}
        auxiliary = {n.name: known[n][0] for n in self.nodes if n in self._auxiliary}
        return arguments, [known[head.node][head.index] for head in self.heads], auxiliary

    def to_json_graph(self) -> JsonGraph:
        return graph_to_json(self.nodes, self.heads)

    def tojson(self) -> str:
        """The text of a `-symbol.json`."""
        return symbol_json.format_symbol(self.to_json_graph())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a `-symbol.json`."""
        symbol_json.write_symbol(path, self.to_json_graph())

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Symbol:
        """Read a `-symbol.json` of any MXNet since 0.8.

        Raises FormatError for a damaged file, GraphError for a graph that cannot be.
        """
        return load_symbol(path)

    def __reduce__(self) -> tuple[Callable[[str], Symbol], tuple[str]]:
        return symbol_from_text, (self.tojson(),)  # flat: pickling the linked nodes would recurse

    def __add__(self, other: Symbol | float) -> Symbol:
        return _arithmetic("_Plus", self, other)

    def __radd__(self, other: float) -> Symbol:
        return self + other

    def __sub__(self, other: Symbol | float) -> Symbol:
        return _arithmetic("_Minus", self, other)

    def __rsub__(self, other: float) -> Symbol:
        return _arithmetic("_RMinus", self, other)

    def __mul__(self, other: Symbol | float) -> Symbol:
        return _arithmetic("_Mul", self, other)

    def __rmul__(self, other: float) -> Symbol:
        return self * other

    def __truediv__(self, other: Symbol | float) -> Symbol:
        return _arithmetic("_Div", self, other)

    def __rtruediv__(self, other: float) -> Symbol:
        return _arithmetic("_RDiv", self, other)

    def __pow__(self, other: Symbol | float) -> Symbol:
        return _arithmetic("_Power", self, other)

    def __neg__(self) -> Symbol:
        return self * -1.0

    def _single_head(self) -> Entry:
        if len(self.heads) != 1:
            raise GraphError(f"one output is needed, not the {len(self)} of {self!r}; choose one, as in symbol[0]")
        return self.heads[0]

    def _position(self, name: str) -> int:
        names = self.list_outputs()
        if names.count(name) == 1:
            return names.index(name)
        if name in names:
            raise GraphError(f"{names.count(name)} outputs are called {name!r}; choose one by its position")
        similar = difflib.get_close_matches(name, names, n=5) or names[-5:]
        hint = "" if name.endswith("_output") else "; an operator's output is called <node>_output"
        raise GraphError(f"no output is called {name!r}; there are {', '.join(similar)} among {len(names)}{hint}")


def Variable(
    name: str,
    *,
    shape: Sequence[int] | None = None,
    lr_mult: float | None = None,
    wd_mult: float | None = None,
    init: str | None = None,
    attr: Mapping[str, str] | None = None,
) -> Symbol:
    """An input, parameter or state of this name.

    `init` is MXNet's JSON text, such as '["normal", {"sigma": 0.01}]'.
    """
    attrs = dict(attr or {})
    noted = {"__shape__": shape, "__lr_mult__": lr_mult, "__wd_mult__": wd_mult, "__init__": init}
    attrs.update({key: str(value) for key, value in noted.items() if value is not None})
    return Symbol([Entry(Node(VARIABLE, name, attrs))])


def Group(symbols: Iterable[Symbol]) -> Symbol:
    """All outputs of several symbols, in order."""
    return Symbol(head for symbol in symbols for head in symbol.heads)


def apply_operator(function: str, *args: Any, name: str | None = None, **kwargs: Any) -> Symbol:
    """Call an operator by one of its names, as `mx.sym.<function>(…)` does.

    Symbols are inputs; anything else is a parameter, kept as its `str()`. Positional arguments are the inputs in slot
    order, then the parameters. `attr` may hold further attributes. Raises GraphError for what the operator lacks.
    """
    attr: Mapping[str, str] = kwargs.pop("attr", None) or {}
    inputs: dict[str, Entry] = {}
    attrs = dict(attr)
    spec = find_operator(function, name or "")
    for key, value in name_arguments(spec, args, kwargs).items():
        if isinstance(value, Symbol):
            inputs[key] = value._single_head()
        elif key not in spec.slots:
            attrs[key] = str(value)
        elif value is not None:
            raise GraphError(f"{spec.name}: its input {key} must be a symbol, not {value!r}")
    return _all_outputs([compose_node(function, inputs, attrs, name)])


def load_symbol(path: str | os.PathLike[str]) -> Symbol:
    """Read a `-symbol.json` of any MXNet since 0.8.

    Raises FormatError for a damaged file, GraphError for a graph that cannot be.
    """
    try:
        return symbol_from_json(symbol_json.read_symbol(path))
    except GraphError as exc:
        raise type(exc)(f"{os.fspath(path)}: {exc}") from exc


def symbol_from_text(text: str) -> Symbol:
    """The symbol that a JSON text describes."""
    return symbol_from_json(symbol_json.parse_symbol(text))


def symbol_from_json(graph: JsonGraph) -> Symbol:
    """The symbol that a parsed JSON graph describes; inputs that old files leave out are put in."""
    nodes, heads = nodes_from_json(graph)
    needed = set(topological_order(heads))
    return Symbol(heads, beyond=(node for node in nodes if node not in needed))


def _all_outputs(nodes: Iterable[Node]) -> Symbol:
    return Symbol(Entry(node, index) for node in nodes for index in range(len(node.outputs)))


def _arithmetic(function: str, lhs: Symbol, rhs: Symbol | float) -> Symbol:
    if isinstance(rhs, Symbol):
        return apply_operator(function, lhs, rhs)
    if isinstance(rhs, Number):
        return apply_operator(f"{function}Scalar", lhs, scalar=rhs)
    raise GraphError(f"a symbol can be combined with a symbol or a number, not with {rhs!r}")


def _known(shape: Shape | None, node: Node) -> Shape:
    if shape is None or 0 in shape:
        raise GraphError(f"the shape of {node.name!r} is not known; give it to infer_shape")
    return shape
