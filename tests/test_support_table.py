"""docs/OPERATORS.md says what the registries say."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support import REPOSITORY

from mxface import support_table
from mxface.lower import LOWERINGS
from mxface.ops import OPS
from mxface.symbols import FAMILIES

DOCUMENT = REPOSITORY / "docs" / "OPERATORS.md"


@pytest.fixture(scope="module")
def table() -> str:
    return support_table.table()


def test_the_document_is_up_to_date(table: str) -> None:
    assert DOCUMENT.read_text() == table, "write it again: python -m mxface.support_table --output docs/OPERATORS.md"


def test_every_operator_has_a_row_and_every_family_operators(table: str) -> None:
    rows = [[cell.strip() for cell in line.split(" | ")] for line in table.splitlines() if line.startswith("| `")]
    assert [row[0].strip("| `") for row in rows] == sorted(OPS, key=lambda name: name.strip("_").lower())
    assert {len(row) for row in rows} == {6}
    families = {family for row in rows for family in row[5].strip("| ").split(", ") if family}
    assert families == {*FAMILIES, "mtcnn", "losses"}


def test_restrictions_are_those_of_the_lowering() -> None:
    assert support_table.settings_text(OPS["Pooling"], LOWERINGS["Pooling"]) == (
        "pool_type: `max` or `avg`; pooling_convention: `valid` or `full`; p_value: `None`"
    )
    assert support_table.settings_text(OPS["Convolution"], LOWERINGS["Convolution"]) == ""


def test_the_command_writes_it(
    tmp_path: Path, table: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support_table, "table", lambda: table)
    assert support_table.main(["--output", str(tmp_path / "OPERATORS.md")]) == 0
    assert (tmp_path / "OPERATORS.md").read_text() == table
    assert capsys.readouterr().out == f"{tmp_path / 'OPERATORS.md'}: {len(OPS)} operators\n"
