"""`lower` and `export_params`: what the module is called, holds, returns, and refuses."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from mxface.errors import GraphError, UnsupportedOperatorError
from mxface.graph import Group, Symbol, Variable, sym
from mxface.lower import LOWERINGS, export_params, lower


def small_network() -> Symbol:
    data = sym.Variable("data")
    conv = sym.Convolution(data, num_filter=4, kernel=(3, 3), no_bias=True, name="conv0")
    norm = sym.BatchNorm(conv, fix_gamma=False, eps=2e-05, name="bn0")
    relu = sym.LeakyReLU(norm, act_type="prelu", name="relu0")
    return sym.FullyConnected(sym.Dropout(relu, p=0.5, name="dropout0"), num_hidden=5, name="fc1")


def draw_params(symbol: Symbol, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    arguments, _, states = symbol.infer_shape(**shapes)
    rng = np.random.default_rng(3)
    drawn = {**arguments, **states}
    return {
        name: rng.uniform(0.5, 1.5, shape).astype(np.float32) for name, shape in drawn.items() if name not in shapes
    }


DATA = (2, 3, 6, 6)


@pytest.fixture
def params() -> dict[str, np.ndarray]:
    return draw_params(small_network(), data=DATA)


def test_state_dict_has_mxnets_names(params: dict[str, np.ndarray]) -> None:
    network = lower(small_network(), params)
    assert set(network.state_dict()) == set(params)
    assert {name for name, _ in network.named_buffers()} == {"bn0_moving_mean", "bn0_moving_var"}
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_code_reads_like_the_network(params: dict[str, np.ndarray]) -> None:
    code = lower(small_network(), params).code
    assert (
        "bn0 = batch_norm(conv0, bn0_gamma, bn0_beta, bn0_moving_mean, bn0_moving_var, "
        "eps = 2e-05, fix_gamma = False, training = training)" in code
    )
    assert "conv0 = convolution(data, conv0_weight, stride = (1, 1), dilate = (1, 1), pad = (0, 0))" in code


def test_code_keeps_a_nodes_name_apart_from_a_functions() -> None:
    symbol = sym.Flatten(sym.Flatten(sym.Variable("data"), name="flatten"), name="batch_norm")
    assert lower(symbol, {})(torch.zeros(DATA)).shape == (2, 108)


def test_training_switches_dropout_and_batch_norm(params: dict[str, np.ndarray]) -> None:
    network = lower(small_network(), params)
    data = torch.randn(DATA)
    network.eval()
    before = network.bn0_moving_mean.clone()
    assert torch.equal(network(data), network(data))
    assert torch.equal(network.bn0_moving_mean, before)
    network.train()
    assert not torch.equal(network(data), network(data))
    assert not torch.equal(network.bn0_moving_mean, before)


def test_bfloat16_gradients_follow_float32s(params: dict[str, np.ndarray]) -> None:
    symbol = small_network().get_internals()["relu0_output"]
    data = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(4))
    gradients = []
    for enabled in (False, True):
        network = lower(symbol, params).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            result = network(data.contiguous(memory_format=torch.channels_last))
        assert result.dtype == (torch.bfloat16 if enabled else torch.float32)
        (result.float() * torch.linspace(-1, 1, result.numel()).view_as(result)).sum().backward()
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
    for name, exact in gradients[0].items():
        assert gradients[1][name].dtype == torch.float32
        assert (gradients[1][name] - exact).norm() < 0.05 * exact.norm(), name


def test_export_gives_back_what_went_in(params: dict[str, np.ndarray]) -> None:
    network = lower(small_network(), params)
    arguments, states = export_params(network.bfloat16().float())
    assert list(states) == ["bn0_moving_mean", "bn0_moving_var"]
    exported = {**arguments, **states}
    assert exported.keys() == params.keys()
    for name, array in exported.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, params[name], rtol=1e-2)
    arguments["fc1_bias"][:] = 7.0  # a copy: the network keeps its own
    assert not (network.fc1_bias == 7.0).any()


def test_a_copy_is_independent(params: dict[str, np.ndarray]) -> None:
    network = lower(small_network(), params).eval()
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.fc1_bias += 1.0
    data = torch.randn(DATA)
    torch.testing.assert_close(other(data), network(data) + 1.0)
    assert "batch_norm(" in other.code


def test_read_only_arrays_are_copied(params: dict[str, np.ndarray]) -> None:
    for array in params.values():
        array.flags.writeable = False
    network = lower(small_network(), params)
    with torch.no_grad():
        network.fc1_bias.zero_()
    assert params["fc1_bias"].any()


def test_a_shared_weight_is_one_parameter() -> None:
    weight, data = Variable("shared_weight"), sym.Variable("data")
    first = sym.Convolution(data, weight=weight, num_filter=3, kernel=(1, 1), no_bias=True, name="a")
    second = sym.Convolution(first, weight=weight, num_filter=3, kernel=(1, 1), no_bias=True, name="b")
    network = lower(second, {"shared_weight": np.full((3, 3, 1, 1), 2.0)})
    assert len(list(network.parameters())) == 1
    assert network(torch.ones(1, 3, 1, 1)).flatten().tolist() == [36.0] * 3
    assert network.code.count("self.shared_weight") == 1


def test_several_heads_are_a_tuple_and_inputs_keep_their_order() -> None:
    a, b = sym.Variable("a"), sym.Variable("b")
    parts = sym.SliceChannel(a - b, num_outputs=2, name="parts")
    network = lower(Group([parts[1], a + b, parts[0]]), {}, inputs=("b", "a"))
    results = network(torch.tensor([[1.0, 2.0]]), torch.tensor([[10.0, 20.0]]))
    assert [result.tolist() for result in results] == [[[18.0]], [[11.0, 22.0]], [[9.0]]]


def test_a_losss_label_is_optional() -> None:
    softmax = sym.SoftmaxOutput(sym.Variable("data"), name="softmax")
    scores = torch.tensor([[1.0, 3.0]])
    torch.testing.assert_close(lower(softmax, {})(scores), torch.softmax(scores, 1))
    scores.requires_grad_()
    lower(softmax, {}, inputs=("data", "softmax_label"))(scores, torch.tensor([1.0])).sum().backward()
    torch.testing.assert_close(scores.grad, torch.softmax(scores.detach(), 1) - torch.tensor([[0.0, 1.0]]))


def test_a_label_that_is_read_elsewhere_is_needed() -> None:
    label = sym.Variable("label")
    softmax = sym.SoftmaxOutput(sym.Variable("data"), label, name="softmax")
    with pytest.raises(GraphError, match="1 parameters are missing: label"):
        lower(Group([softmax, label + 1.0]), {})


def test_missing_parameters_are_listed(params: dict[str, np.ndarray]) -> None:
    del params["fc1_weight"], params["bn0_moving_var"]
    with pytest.raises(GraphError, match=r"2 parameters are missing: bn0_moving_var, fc1_weight"):
        lower(small_network(), params)
    with pytest.raises(GraphError, match=r"bn0_moving_var \(4,\), fc1_weight \(5, 64\)"):
        lower(small_network(), params, input_shapes={"data": DATA})


def test_misshaped_parameters_are_listed(params: dict[str, np.ndarray]) -> None:
    params["fc1_bias"] = np.zeros(6)
    params["bn0_beta"] = np.zeros((4, 1))
    with pytest.raises(
        GraphError, match=r"2 parameters .*: bn0_beta is \(4, 1\), not \(4,\), fc1_bias is \(6,\), not \(5,\)"
    ):
        lower(small_network(), params, input_shapes={"data": DATA})


def test_unknown_operators_are_refused(monkeypatch: pytest.MonkeyPatch, params: dict[str, np.ndarray]) -> None:
    monkeypatch.delitem(LOWERINGS, "LeakyReLU")
    with pytest.raises(UnsupportedOperatorError, match=r"LeakyReLU \(node 'relu0'\).*supported are .*Convolution"):
        lower(small_network(), params)


@pytest.mark.parametrize(
    ("op", "attrs", "words"),
    [
        ("Dropout", {"axes": (1,)}, r"Dropout with axes=\(1,\) .*supported: \(\)"),
        ("Pooling", {"kernel": (2, 2), "pool_type": "lp", "p_value": 2}, "pool_type='lp'.*supported: 'max', 'avg'"),
        ("BatchNorm", {"output_mean_var": True}, "output_mean_var=True cannot be lowered; only False is"),
        ("LeakyReLU", {"act_type": "rrelu"}, "act_type='rrelu'"),
    ],
)
def test_settings_that_would_be_ignored_are_refused(op: str, attrs: dict[str, object], words: str) -> None:
    symbol = getattr(sym, op)(sym.Variable("data"), **attrs, name="odd")[0]
    with pytest.raises(GraphError, match=f"node 'odd': .*{words}"):
        lower(symbol, draw_params(symbol, data=DATA))


def test_an_empty_window_is_refused() -> None:
    symbol = sym.Pooling(sym.Variable("data"), kernel=(1, 1), stride=(2, 2), pooling_convention="full", name="pool0")
    with pytest.raises(GraphError, match="the last window is empty"):
        lower(symbol, {})(torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize("name", ["a.weight", "forward", "training", "graph"])
def test_names_that_torch_cannot_hold_are_refused(name: str) -> None:
    symbol = sym.Variable("data") + Variable(name)
    with pytest.raises(GraphError, match=f"cannot hold a parameter called '{name}'"):
        lower(symbol, {name: np.ones(1)})


def test_an_input_that_does_not_exist_is_refused() -> None:
    with pytest.raises(GraphError, match="no input image"):
        lower(sym.Variable("data") + 1.0, {}, inputs=("image",))


def test_two_variables_of_one_name_are_refused() -> None:
    with pytest.raises(GraphError, match="two variables are called 'w'"):
        lower(sym.Variable("data") + Variable("w") + Variable("w"), {"w": np.ones(1)})
