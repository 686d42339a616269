"""Counters of automatic names."""

from __future__ import annotations

import threading

from mxface.graph import NameManager, Variable, sym
from mxface.graph.naming import network_names


def names(count: int) -> list[str]:
    return [sym.Flatten(Variable("x")).name for _ in range(count)]


def test_counters_start_at_zero_in_each_manager() -> None:
    with NameManager():
        assert names(2) == ["flatten0", "flatten1"]
        with NameManager():
            assert names(1) == ["flatten0"]
        assert names(1) == ["flatten2"]


def test_a_manager_can_be_entered_again() -> None:
    manager = NameManager()
    with manager:
        assert names(1) == ["flatten0"]
        with manager:
            assert names(1) == ["flatten1"]
    with manager:
        assert names(1) == ["flatten2"]


def test_named_nodes_do_not_count_and_fallen_ones_do() -> None:
    with NameManager():
        sym.Flatten(Variable("x"), name="flatten7")
        sym.Flatten(Variable("x"))  # falls out of every graph
        assert names(1) == ["flatten1"]


def test_outside_of_any_manager_the_process_counts() -> None:
    first, second = names(2)
    assert int(second.removeprefix("flatten")) == int(first.removeprefix("flatten")) + 1


def test_a_network_built_twice_has_the_same_names() -> None:
    for _ in range(2):
        with network_names():
            assert names(1) == ["flatten0"]


def test_a_network_inside_a_manager_continues_its_counters() -> None:
    with NameManager():
        assert names(1) == ["flatten0"]
        with network_names():
            assert names(1) == ["flatten1"]


def test_a_network_built_on_another_does_not_repeat_its_names() -> None:
    with NameManager():
        body = sym.Flatten(sym.Flatten(Variable("x")))
    with network_names(after=body.nodes):
        assert sym.Flatten(body).name == "flatten2"
        assert (body + 1).name == "_plusscalar0"


def test_threads_do_not_share_a_manager() -> None:
    seen: list[str] = []
    with NameManager():
        names(1)

        def work() -> None:
            with NameManager():
                seen.extend(names(1))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert names(1) == ["flatten1"]
    assert seen == ["flatten0"]
