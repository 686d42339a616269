"""Graphs of operators: composed, named, sized and saved as MXNet does. No tensor is touched here."""

from mxface.graph import flops, sym
from mxface.graph.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mxface.graph.naming import NameManager
from mxface.graph.node import Entry, Node
from mxface.graph.symbol import Group, Symbol, Variable, load_symbol, symbol_from_json, symbol_from_text

__all__ = [
    "Checkpoint",
    "Entry",
    "Group",
    "NameManager",
    "Node",
    "Symbol",
    "Variable",
    "flops",
    "load_checkpoint",
    "load_symbol",
    "save_checkpoint",
    "sym",
    "symbol_from_json",
    "symbol_from_text",
]
