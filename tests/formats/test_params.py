from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mxface.errors import FormatError
from mxface.formats.params import BFLOAT16, DTYPES, V1, V2, V3, read_params, write_params

DIMS = "<%dq"
CPU_FLOAT32 = struct.pack("<iii", 1, 0, 0)
TWO_FLOATS = struct.pack("<ff", 1.5, -2.0)


def params_file(*records: bytes, names: tuple[bytes, ...] = (b"arg:w",), count: int | None = None) -> bytes:
    """The bytes of a file of these array records and names."""
    head = struct.pack("<QQQ", 0x112, 0, len(records) if count is None else count)
    tail = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    return head + b"".join(records) + struct.pack("<Q", len(names)) + tail


def v2(
    *shape: int, header: bytes = CPU_FLOAT32, data: bytes = TWO_FLOATS, version: int = V2, storage: int = 0
) -> bytes:
    dims = struct.pack(f"<i{len(shape)}q", len(shape), *shape)
    return struct.pack("<Ii", version, storage) + dims + header + data


def test_literal_bytes(tmp_path: Path) -> None:
    write_params(tmp_path / "a.params", {"arg:w": np.array([[1.5, -2.0]], np.float32)})
    assert (tmp_path / "a.params").read_bytes() == bytes.fromhex(
        "1201000000000000 0000000000000000 0100000000000000"
        "c9fa93f9 00000000 02000000 0100000000000000 0200000000000000 01000000 00000000 00000000 0000c03f 000000c0"
        "0100000000000000 0500000000000000 6172673a77"
    )


@pytest.mark.parametrize(
    "record",
    [
        struct.pack("<IIIiii", 2, 1, 2, 1, 0, 0) + TWO_FLOATS,
        struct.pack("<IIqqiii", V1, 2, 1, 2, 1, 0, 0) + TWO_FLOATS,
        v2(1, 2),
        v2(1, 2, header=struct.pack("<iii", 2, 3, 0)),  # saved from GPU 3
        v2(1, 2, version=V3),
    ],
    ids=["legacy", "V1", "V2", "V2 of a GPU", "V3"],
)
def test_every_version_is_read(tmp_path: Path, record: bytes) -> None:
    (tmp_path / "a.params").write_bytes(params_file(record))
    (array,) = read_params(tmp_path / "a.params").values()
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, [[1.5, -2.0]])


@pytest.mark.parametrize(
    ("record", "shape"),
    [
        (struct.pack("<I", 0), (0,)),
        (struct.pack("<II", V1, 0), (0,)),
        (struct.pack("<Iii", V2, 0, 0), (0,)),
        (struct.pack("<Iii", V3, 0, -1), (0,)),
        (v2(0, 3, version=V3, data=b""), (0, 3)),
        (v2(version=V3, data=TWO_FLOATS[:4]), ()),
    ],
)
def test_arrays_without_dimensions_or_elements(tmp_path: Path, record: bytes, shape: tuple[int, ...]) -> None:
    (tmp_path / "a.params").write_bytes(params_file(record, v2(2), names=(b"arg:w", b"next")))
    arrays = read_params(tmp_path / "a.params")
    assert arrays["arg:w"].shape == shape
    np.testing.assert_array_equal(arrays["next"], [1.5, -2.0])


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.sampled_from(sorted(DTYPES.values())).flatmap(
            lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=5, max_side=3))
        ),
        max_size=4,
    )
)
@settings(deadline=None)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.params"
    write_params(path, arrays)
    read = read_params(path)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert read[name].flags.aligned
        np.testing.assert_array_equal(read[name], array)


def test_order_layout_and_byte_order_of_the_given_arrays_do_not_matter(tmp_path: Path) -> None:
    plain = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_params(tmp_path / "a", {"w": plain})
    write_params(tmp_path / "b", {"w": np.asfortranarray(plain).astype(">f4")})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_aligned_arrays_are_views_and_the_file_does_not_change_with_them(tmp_path: Path) -> None:
    path = tmp_path / "a.params"
    write_params(path, {"odd": np.zeros(3, np.uint8), "w": np.ones(4, np.float32)})
    content = path.read_bytes()
    arrays = read_params(path)
    assert not arrays["odd"].flags.owndata
    assert arrays["w"].flags.owndata  # three odd bytes before it
    for array in arrays.values():
        array[:] = 7
    assert path.read_bytes() == content
    write_params(path, arrays)  # over the very file that is mapped
    np.testing.assert_array_equal(read_params(path)["w"], np.full(4, 7, np.float32))


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    record = v2(3, header=struct.pack("<iii", 1, 0, BFLOAT16), data=bytes.fromhex("803f 20c0 807f"))
    (tmp_path / "a.params").write_bytes(params_file(record))
    array = read_params(tmp_path / "a.params")["arg:w"]
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, [1.0, -2.5, np.inf])


HUGE = 1 << 62


@pytest.mark.parametrize(
    ("content", "offset", "found"),
    [
        (b"", 0, "0 bytes left"),
        (params_file(v2(2))[:15], 0, "15 bytes left"),
        (b"PK\3\4" + bytes(40), 0, "magic 0x4034b50"),
        (params_file(v2(2), count=HUGE), 16, f"{HUGE} arrays"),
        (params_file(v2(2), count=2), 80, "type 979858017"),
        (params_file(v2(2))[:50], 44, "6 bytes left"),
        (params_file(v2(8)), 56, "29 bytes left"),
        (params_file(v2(HUGE)), 36, "dimensions"),
        (params_file(v2(1 << 40)), 56, "29 bytes left"),
        (params_file(v2(HUGE, HUGE)), 36, "dimensions"),
        (params_file(v2(0, HUGE, HUGE, version=V3, data=b"")), 36, "dimensions"),
        (params_file(v2(-2)), 36, "dimensions"),
        (params_file(struct.pack("<IIIIiii", 3, *[0xFFFFFFFF] * 3, 1, 0, 0)), 28, "dimensions"),
        (params_file(struct.pack("<I", 0xF993FACB)), 24, "4187224779 dimensions"),
        (params_file(struct.pack("<Iii", V2, 0, 33) + bytes(400)), 24, "33 dimensions"),
        (params_file(struct.pack("<Iii", V2, 0, -1) + bytes(400)), 24, "-1 dimensions"),
        (params_file(struct.pack("<Iii", V3, 0, -2) + bytes(400)), 24, "-2 dimensions"),
        (params_file(v2(2, storage=1)), 28, r"storage type 1 \(row sparse\)"),
        (params_file(v2(2, storage=2)), 28, r"storage type 2 \(csr\)"),
        (params_file(v2(2, header=struct.pack("<iii", 1, 0, 9))), 52, "type 9"),
        (params_file(v2(2), names=()), 64, "0 names"),
        (params_file(v2(2), v2(2), names=(b"a", b"a")), 104, "1 names twice"),
        (params_file(v2(2), names=(b"\xff",)), 80, "not UTF-8"),
        (params_file(v2(2))[:-1], 80, "4 bytes left"),
        (params_file(v2(2))[:-5].replace(b"\5" + bytes(7), b"\xff" * 8), 80, "0 bytes left"),
        (params_file(v2(2)) + b"\0", 85, "1 bytes more"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_bad_files(
    tmp_path: Path, refused: Callable[..., FormatError], content: bytes, offset: int, found: str
) -> None:
    path = tmp_path / "bad.params"
    path.write_bytes(content)
    error = refused(read_params, path, found)
    assert error.offset == offset
    assert error.way_out


def test_millions_of_empty_arrays_cost_no_more_than_their_file(tmp_path: Path, bounded_memory: Any) -> None:
    path = tmp_path / "empty.params"
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, 500_000) + bytes(4 * 500_000) + bytes(8))
    with bounded_memory(20 << 20), pytest.raises(FormatError, match="0 names"):
        read_params(path)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros(2, np.complex64), "type complex64"),
        (np.zeros(2, np.uint16), "type uint16"),
        (np.array(["a"]), "type <U1"),
        (np.float32(1), r"shape \(\)"),
        (np.zeros((2, 0), np.float32), r"shape \(2, 0\)"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, array: np.ndarray[Any, Any], found: str) -> None:
    with pytest.raises(FormatError, match=f"arg:w of {found}"):
        write_params(tmp_path / "a.params", {"arg:w": array})
    assert list(tmp_path.iterdir()) == []
