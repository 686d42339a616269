"""Nodes as MXNet makes them: attributes, inputs that were not given, names."""

from __future__ import annotations

import pytest

from mxface.errors import GraphError, UnsupportedOperatorError
from mxface.graph import Group, NameManager, Symbol, Variable, sym


def attrs_of(symbol: Symbol) -> dict[str, dict[str, str]]:
    return {node.name: node.attrs for node in symbol.nodes}


def test_attributes_are_what_was_passed_and_nothing_else() -> None:
    conv = sym.Convolution(
        Variable("data"), num_filter=64, kernel=(3, 3), stride=[1, 1], no_bias=True, workspace=256, name="conv0"
    )
    assert conv.nodes[-1].attrs == {
        "num_filter": "64",
        "kernel": "(3, 3)",
        "stride": "[1, 1]",
        "no_bias": "True",
        "workspace": "256",
    }
    assert sym.slice_axis(Variable("x"), axis=1, begin=0, end=None, name="s").nodes[-1].attrs["end"] == "None"


def test_inputs_that_are_not_given_repeat_the_attributes() -> None:
    conv = sym.Convolution(data=Variable("data"), num_filter=8, kernel=(1, 1), lr_mult=0.1, name="c")
    expected = {"num_filter": "8", "kernel": "(1, 1)", "__lr_mult__": "0.1"}
    assert attrs_of(conv) == {"data": {}, "c_weight": expected, "c_bias": expected, "c": expected}


def test_a_batch_norm_without_attributes() -> None:
    bn = sym.BatchNorm(Variable("data"), name="bn")
    assert attrs_of(bn) == {
        "data": {},
        "bn_gamma": {},
        "bn_beta": {},
        "bn_moving_mean": {"__init__": '["zero", {}]'},
        "bn_moving_var": {"__init__": '["one", {}]'},
        "bn": {},
    }
    assert [entry.version for entry in bn.nodes[-1].inputs] == [0, 0, 0, 1, 1]
    assert bn.list_arguments() == ["data", "bn_gamma", "bn_beta"]
    assert bn.list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]


def test_a_slope_exists_for_prelu_only() -> None:
    prelu = sym.LeakyReLU(Variable("data"), act_type="prelu", name="relu")
    assert prelu.nodes[1].attrs == {"act_type": "prelu", "__init__": '["Constant", {"value": 0.25}]'}
    assert sym.LeakyReLU(Variable("data"), act_type="elu", name="relu").list_arguments() == ["data"]


def test_variables_keep_only_what_they_are_given() -> None:
    weight = Variable("w", shape=(5, 6), lr_mult=1.0, wd_mult=10.0, init='["normal", {"sigma": 0.01}]')
    assert weight.nodes[0].attrs == {
        "__shape__": "(5, 6)",
        "__lr_mult__": "1.0",
        "__wd_mult__": "10.0",
        "__init__": '["normal", {"sigma": 0.01}]',
    }
    fc = sym.FullyConnected(Variable("data"), weight=weight, num_hidden=5, name="fc")
    assert fc.nodes[1] is weight.nodes[0]
    assert fc.nodes[1].attrs["__wd_mult__"] == "10.0"


def test_a_given_slope_is_told_how_to_begin() -> None:
    """As in MXNet, an initialiser is noted on the caller's variable, unless it has one."""
    alpha, other = Variable("alpha"), Variable("other", init='["one", {}]')
    sym.LeakyReLU(Variable("data"), gamma=alpha, act_type="prelu")
    sym.LeakyReLU(Variable("data"), gamma=other, act_type="prelu")
    assert alpha.nodes[0].attrs == {"__init__": '["Constant", {"value": 0.25}]'}
    assert other.nodes[0].attrs == {"__init__": '["one", {}]'}


def test_arithmetic_names_and_operators() -> None:
    with NameManager():
        a, b = Variable("a"), Variable("b")
        made = [a + b, a - b, a * b, a / b, a**b, a + 1, 1 + a, a - 1, 1 - a, a * 2, a / 2, 1 / a, a**2, -a]
    assert [(s.name, s.nodes[-1].op, s.nodes[-1].attrs.get("scalar")) for s in made] == [
        ("_plus0", "elemwise_add", None),
        ("_minus0", "elemwise_sub", None),
        ("_mul0", "elemwise_mul", None),
        ("_div0", "elemwise_div", None),
        ("_power0", "_power", None),
        ("_plusscalar0", "_plus_scalar", "1"),
        ("_plusscalar1", "_plus_scalar", "1"),
        ("_minusscalar0", "_minus_scalar", "1"),
        ("_rminusscalar0", "_rminus_scalar", "1"),
        ("_mulscalar0", "_mul_scalar", "2"),
        ("_divscalar0", "_div_scalar", "2"),
        ("_rdivscalar0", "_rdiv_scalar", "1"),
        ("_powerscalar0", "_power_scalar", "2"),
        ("_mulscalar1", "_mul_scalar", "-1.0"),
    ]


def test_a_symbol_and_something_else_cannot_be_added() -> None:
    with pytest.raises(GraphError, match="with a symbol or a number, not with 'one'"):
        Variable("a") + "one"  # type: ignore[operator]


def test_names_come_from_the_function_called() -> None:
    with NameManager():
        x = Variable("x")
        assert [s.name for s in (sym.flip(x, axis=1), sym.reverse(x, axis=1), sym.ElementWiseSum(x, x))] == [
            "flip0",
            "reverse0",
            "elementwisesum0",
        ]
        assert sym.flip(x, axis=1).nodes[-1].op == "reverse"
        assert sym.broadcast_minus(x, x).nodes[-1].op == "broadcast_sub"


def test_inputs_of_operators_of_any_number() -> None:
    x = Variable("x")
    assert sym.Concat(x, x, x, dim=1, name="c").nodes[-1].attrs == {"dim": "1", "num_args": "3"}
    assert sym.Concat(x, num_args=2, name="c").list_arguments() == ["x", "c_arg1"]


def test_positional_parameters() -> None:
    x = Variable("x")
    assert sym.Reshape(x, (0, -1)).nodes[-1].attrs == {"shape": "(0, -1)"}
    assert sym.sum(x, 1, True).nodes[-1].attrs == {"axis": "1", "keepdims": "True"}
    assert sym.LeakyReLU(x, None, "elu").nodes[-1].attrs == {"act_type": "elu"}
    bias = Variable("b")
    assert sym.FullyConnected(x, None, bias, 4, name="fc").list_arguments() == ["x", "fc_weight", "b"]
    assert sym.FullyConnected(x, weight=None, bias=bias, num_hidden=4, name="fc").list_arguments()[-1] == "b"


def test_many_outputs() -> None:
    parts = sym.SliceChannel(Variable("x"), num_outputs=3, name="s")
    assert parts.list_outputs() == ["s_output0", "s_output1", "s_output2"]
    joined = sym.Concat(*parts, name="c")
    assert [(entry.node.name, entry.index) for entry in joined.nodes[-1].inputs] == [("s", 0), ("s", 1), ("s", 2)]
    with pytest.raises(GraphError, match=r"one output is needed, not the 3 of <Symbol s_output0"):
        sym.Flatten(parts)


def test_a_shared_variable_is_one_node() -> None:
    weight = Variable("w")
    x = sym.FullyConnected(Variable("x"), weight=weight, num_hidden=4, no_bias=True, name="f1")
    y = sym.FullyConnected(x, weight=weight, num_hidden=4, no_bias=True, name="f2")
    assert y.list_arguments() == ["x", "w"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: sym.Flatten(x, x, name="f"), r"Flatten takes 1 arguments \(data\), not 2"),
        (lambda x: sym.Flatten(x, data=x, name="f"), "Flatten is given data twice"),
        (lambda x: sym.Flatten(weight=x, name="f"), "node 'f': Flatten has no input weight here; it has data"),
        (lambda x: sym.Flatten(x, axis=1, name="f"), "node 'f': Flatten has no parameter axis"),
        (lambda x: sym.Dropout(x, p="half", name="d"), "node 'd': Dropout: cannot read p='half'"),
        (lambda x: sym.BatchNorm(x, moving_mean=x + 1, name="b"), "node 'b': moving_mean of BatchNorm is a state"),
        (lambda x: sym.FullyConnected(x, bias=x, no_bias=True, num_hidden=1, name="f"), "no input bias here"),
        (lambda x: sym.FullyConnected(x, 3, num_hidden=1), "FullyConnected: its input weight must be a symbol, not 3"),
        (lambda x: sym.Concat(x, 1, num_args=2, name="c"), "node 'c': Concat has no parameter arg1"),
    ],
)
def test_what_an_operator_does_not_have(make: object, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        make(Variable("x"))  # type: ignore[operator]


def test_an_operator_that_does_not_exist() -> None:
    assert not hasattr(sym, "Sandwich")
    with pytest.raises(AttributeError, match=r"no operator is called Sandwich; there are .*Convolution"):
        sym.Sandwich()
    from mxface.graph.symbol import apply_operator

    with pytest.raises(UnsupportedOperatorError, match=r"operator Sandwich \(node 'lunch'\) is not supported"):
        apply_operator("Sandwich", name="lunch")


def test_all_functions_are_listed() -> None:
    assert {"Convolution", "flip", "_Plus", "Variable", "Group"} <= set(dir(sym))


def test_groups_keep_order_and_flatten() -> None:
    a, b = Variable("a"), Variable("b")
    assert Group([b, Group([a, b])]).list_outputs() == ["b", "a", "b"]
