"""Every network that get_symbol knows; those that end in an embedding."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.symbols.smallest import DEPTHS, NETWORKS, build, parameters

from mxface.errors import ConfigError
from mxface.graph import NameManager
from mxface.symbols import FAMILIES, RecognitionOptions, get_symbol, option_names
from mxface.symbols.embedding_heads import embedding_head
from mxface.symbols.fresnet import UNITS_PER_STAGE
from mxface.symbols.options import NET_OUTPUTS, SRC_NET_OUTPUTS

EMBEDDINGS = [(family, name) for family, name in NETWORKS if "emb_size" in option_names(family)]

every_network = pytest.mark.parametrize(("family", "name"), parameters(NETWORKS))
every_embedding = pytest.mark.parametrize(("family", "name"), parameters(EMBEDDINGS))

CHANGES: dict[str, Any] = {
    "emb_size": 64,
    "net_output": "J",
    "net_input": 0,
    "net_unit": 1,
    "net_se": {False: True, True: False},
    "net_act": "tanh",
    "net_multiplier": 0.5,
    "net_blocks": [2, 4, 6, 2],
    "bn_mom": 0.95,
    "head_bn_mom": 0.8,
    "workspace": 512,
    "densenet_dropout": 0.2,
}
"""Another value of every option (by the default, where it is not the same for all networks)."""


def another_value(family: str, name: str, option: str) -> Any:
    if option == "num_layers":
        return DEPTHS[name][1] if name in DEPTHS else 34
    value = CHANGES[option]
    return value[FAMILIES[family].networks[name].defaults.get(option, False)] if isinstance(value, dict) else value


@every_embedding
def test_the_embedding_is_fc1(family: str, name: str) -> None:
    symbol = build(name, family=family, emb_size=64)
    assert symbol.list_outputs() == ["fc1_output"]
    assert symbol.infer_shape(data=(2, 3, 112, 112))[1] == [(2, 64)]


@every_network
def test_built_twice_it_has_the_same_names(family: str, name: str) -> None:
    assert build(name, family=family).tojson() == build(name, family=family).tojson()


@every_embedding
def test_inside_a_name_manager_counters_go_on(family: str, name: str) -> None:
    with NameManager():
        first, second = build(name, family=family), build(name, family=family)
    assert "_minusscalar0_output" in first.get_internals().list_outputs()
    assert "_minusscalar1_output" in second.get_internals().list_outputs()


@every_network
def test_what_a_network_reads_are_options(family: str, name: str) -> None:
    network = FAMILIES[family].networks[name]
    assert network.reads | network.defaults.keys() <= set(option_names(family))
    assert set(FAMILIES[family].keywords.values()) <= set(option_names(family))


@every_embedding
def test_what_a_network_reads_changes_it_and_nothing_else_does(
    family: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert CHANGES.keys() | {"num_layers", "memonger"} == set(option_names(family))
    plain = build(name, family=family).tojson()
    for option in CHANGES.keys() | {"num_layers"}:
        value = another_value(family, name, option)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            changed = build(name, family=family, **{option: value}).tojson()
        if option in FAMILIES[family].networks[name].reads:
            assert changed != plain, option
            assert not caplog.records
        else:
            assert changed == plain, option
            assert f"{name} does not read {option}=" in caplog.text


@every_embedding
def test_a_keyword_is_another_name_of_its_option(family: str, name: str) -> None:
    for keyword, option in FAMILIES[family].keywords.items():
        value = another_value(family, name, option)
        by_keyword = build(name, family=family, **{keyword: value}).tojson()
        assert by_keyword == build(name, family=family, **{option: value}).tojson(), keyword


@pytest.mark.parametrize("net_output", SRC_NET_OUTPUTS)
def test_every_head_of_src(net_output: str) -> None:
    symbol = build("fmobilefacenet", family="src", net_output=net_output, emb_size=32)
    shapes = {"Z": (3, 512, 7, 7), "A": (3, 512), "AX": (3, 512)}
    assert symbol.infer_shape(data=(3, 3, 112, 112))[1] == [shapes.get(net_output, (3, 32))]
    assert ("dropout0_output" in symbol.get_internals().list_outputs()) == (net_output in "EFZ" or "X" in net_output)


@pytest.mark.parametrize("net_output", NET_OUTPUTS)
def test_every_head_on_every_depth_of_map(net_output: str) -> None:
    symbol = build("fmobilefacenet", net_output=net_output, emb_size=32)
    expected = (3, 512, 7, 7) if net_output == "Z" else (3, 32)
    assert symbol.infer_shape(data=(3, 3, 112, 112))[1] == [expected]
    assert symbol.name == ("dropout0" if net_output == "Z" else "fc1")


def test_i_is_another_name_for_fc() -> None:
    assert build("fmobilefacenet", net_output="I").tojson() == build("fmobilefacenet", net_output="FC").tojson()


@pytest.mark.parametrize("num_layers", UNITS_PER_STAGE)
def test_every_depth_of_fresnet(num_layers: int) -> None:
    symbol = get_symbol("fresnet", num_layers=num_layers)
    units = sum(UNITS_PER_STAGE[num_layers])
    convolutions = [node for node in symbol.nodes if node.op == "Convolution"]
    assert len(convolutions) == 1 + 2 * units + 4


def test_other_image_sizes() -> None:
    assert get_symbol("fmobilefacenet", image_shape=(112, 96, 3)).infer_shape(data=(1, 3, 112, 96))[1] == [(1, 512)]
    large = get_symbol("fresnet", num_layers=18, net_input=0, net_output="GDC", image_shape=(224, 224, 3))
    assert large.infer_shape(data=(1, 3, 224, 224))[1] == [(1, 512)]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fresnet", {}, "fresnet has no num_layers=None; choose one of 18, 34"),
        ("vgg", {}, "family recognition has no network 'vgg'; choose one of fresnet, fmobilefacenet"),
        ("fresnet", {"family": "src", "num_layers": 98}, "fresnet has no num_layers=98; choose one of 18, 34, 49, 50"),
        ("fresnet", {"family": "src", "num_layers": 18, "net_output": "K"}, "net_output='K' does not exist"),
        (
            "fresnet",
            {"family": "src", "version_se": 0, "net_se": 1},
            "given version_se and net_se, which are one option",
        ),
        ("fdpn", {"family": "src", "num_layers": 98}, "fdpn has no num_layers=98; choose one of 68, 92, 107, 131"),
        ("fdensenet", {"num_layers": 100}, "fdensenet has no num_layers=100; choose one of 121, 161, 169, 201"),
        ("fmobilenet", {"version_input": 0}, "fmobilenet has no option version_input; there are emb_size"),
        ("fmobilenet", {"net_multiplier": 0.02}, "cannot be built: node 'conv_1_conv2d'.*num_filter='0'"),
        ("fresnet", {"family": "imagenet"}, "there is no family 'imagenet' of networks; choose one of recognition"),
        ("fresnet", {"num_layers": 18, "net_ouptut": "E"}, "fresnet has no option net_ouptut; there are emb_size"),
        ("fresnet", {"num_layers": 18, "net_unit": 7}, "net_unit=7 does not exist; choose one of 1, 2, 3"),
        ("fresnet", {"num_layers": 18, "net_input": 3}, "net_input=3 does not exist; choose one of 0, 1, 2"),
        (
            "fresnet",
            {"num_layers": 18, "net_act": "swish"},
            "net_act='swish' does not exist; choose one of prelu, relu",
        ),
        ("fresnet", {"num_layers": 18, "memonger": True}, "memonger=True never worked in 2019"),
        ("fresnet", {"num_layers": 18, "emb_size": 0}, "emb_size=0 must be above 0"),
        ("fresnet", {"num_layers": 18, "bn_mom": 1.0}, "bn_mom=1.0 must be at least 0 and below 1"),
        ("fmobilefacenet", {"net_blocks": [1, 4, 6]}, r"net_blocks=\[1, 4, 6\] must be four counts"),
        ("fmobilefacenet", {"net_blocks": [1, 4, 6, -1]}, "must be four counts"),
    ],
)
def test_what_cannot_be_is_refused_in_words(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        get_symbol(name, **options)


def test_an_option_that_slipped_through_is_our_mistake() -> None:
    options = RecognitionOptions()
    object.__setattr__(options, "net_output", "K")
    with pytest.raises(AssertionError):
        embedding_head(build("fmobilefacenet"), options)
