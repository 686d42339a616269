"""elemwise_*, broadcast_*, add_n, scalars, functions of one number: ONNX broadcasts as MXNet does."""

from __future__ import annotations

from mxface.export.registry import Exporter, OnnxNode, alike, exports, register

BINARY = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "power": "Pow",
    "maximum": "Max",
    "minimum": "Min",
}

UNARY = {
    "abs": "Abs",
    "arccos": "Acos",
    "arcsin": "Asin",
    "arctan": "Atan",
    "cos": "Cos",
    "exp": "Exp",
    "log": "Log",
    "negative": "Neg",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "tan": "Tan",
    "tanh": "Tanh",
}


def with_scalar(operator: str, *, scalar_first: bool = False) -> Exporter:
    """The translation of an operator whose second (or first) operand is a number."""

    def with_number(op: OnnxNode) -> list[str]:
        operands = [op.data, op.floats("scalar", op.params["scalar"])]
        return op.emit(operator, operands[::-1] if scalar_first else operands)

    with_number.__name__ = operator
    return with_number


for name, operator in BINARY.items():
    register(f"broadcast_{name}", alike(operator))
    register(f"_{name}" if name in ("power", "maximum", "minimum") else f"elemwise_{name}", alike(operator))

for name, operator in {**BINARY, "plus": "Add", "minus": "Sub"}.items():
    if name not in ("add", "sub"):  # which are plus and minus here
        register(f"_{name}_scalar", with_scalar(operator))

for name, operator in {"rminus": "Sub", "rdiv": "Div", "rpower": "Pow"}.items():
    register(f"_{name}_scalar", with_scalar(operator, scalar_first=True))

for name, operator in UNARY.items():
    register(name, alike(operator))

register("add_n", alike("Sum"))


@exports("square")
def square(op: OnnxNode) -> list[str]:
    return op.emit("Mul", [op.data, op.data])


@exports("rsqrt")
def rsqrt(op: OnnxNode) -> list[str]:
    return op.emit("Reciprocal", [op.step("root", "Sqrt", op.data)])


@exports("clip")
def clip(op: OnnxNode) -> list[str]:
    return op.emit("Clip", [op.data, op.floats("a_min", op.params["a_min"]), op.floats("a_max", op.params["a_max"])])


@exports("smooth_l1")
def smooth_l1(op: OnnxNode) -> list[str]:
    """0.5 (scalar x)^2 where |x| < 1 / scalar^2, |x| - 0.5 / scalar^2 elsewhere."""
    squared = op.params["scalar"] ** 2
    size = op.step("size", "Abs", op.data)
    curved = op.step("curved", "Mul", op.step("square", "Mul", size, size), op.floats("half", 0.5 * squared))
    straight = op.step("straight", "Sub", size, op.floats("offset", 0.5 / squared))
    return op.emit("Where", [op.step("is_small", "Less", size, op.floats("bound", 1 / squared)), curved, straight])
