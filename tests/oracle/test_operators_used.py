"""The families that docs/OPERATORS.md names with an operator are those whose original graphs hold it."""

from __future__ import annotations

from pathlib import Path

from tests.oracle.network_cases import BUILT

from mxface.support_table import operators_used


def test_every_operator_of_the_originals_is_in_the_table(oracle: Path) -> None:
    originals: dict[str, set[str]] = {}
    for case in BUILT:
        originals.setdefault(case.family, set()).update(case.facts["op_histogram"])
    assert originals
    used = operators_used()
    for family, operators in originals.items():
        assert operators - {"null"} == used[family], family
