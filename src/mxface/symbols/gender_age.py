"""The loss graph of 2019's gender-age/train.py: one softmax for gender, one for each question "older than k?"."""

from __future__ import annotations

from mxface.errors import ConfigError
from mxface.graph import Group, Symbol, Variable, sym
from mxface.graph.naming import network_names

MAX_AGE = 100
OUTPUTS = 2 + 2 * MAX_AGE
"""Of the network: gender, and for k = 0 … 99 no and yes to "older than k?"."""

UNKNOWN_GENDER = 9999


def gender_age_loss(scores: Symbol, *, batch_size: int) -> Symbol:
    """From the network's (N, 202) to [gender_softmax, age_softmax_0 … 99, scores], each softmax (N, 2).

    The label is (N, 101): gender (9999 where it is unknown), then 1 for each k below the age. `batch_size` is that of
    one device; it stands in the graph. All softmaxes count alike.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size} must be above 0")
    with network_names(after=scores.nodes):
        label = Variable("softmax_label")
        parts = []
        for column in range(1 + MAX_AGE):
            target = sym.Reshape(columns(label, column, 1), shape=(batch_size,))
            pair = columns(scores, 2 * column, 2)
            parts.append(age_softmax(pair, target, column - 1) if column else gender_softmax(pair, target))
        return Group([*parts, sym.BlockGrad(scores)])


def columns(data: Symbol, first: int, count: int) -> Symbol:
    return sym.slice_axis(data, axis=1, begin=first, end=first + count)


def gender_softmax(pair: Symbol, target: Symbol) -> Symbol:
    return sym.SoftmaxOutput(
        data=pair,
        label=target,
        name="gender_softmax",
        normalization="valid",
        use_ignore=True,
        ignore_label=UNKNOWN_GENDER,
    )


def age_softmax(pair: Symbol, target: Symbol, question: int) -> Symbol:
    return sym.SoftmaxOutput(
        data=pair, label=target, name=f"age_softmax_{question}", normalization="valid", grad_scale=1
    )
