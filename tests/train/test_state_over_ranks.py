"""Training states of several ranks: written together, read by any number, and an error of one known to all."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.ranks import run_ranks
from tests.train.test_ranks import BATCH_SIZE, SPHERENET, build_learner, make_batch
from tests.train.test_ranks import NUM_CLASSES as SPHERENET_CLASSES
from torch import Tensor

from mxface.errors import ConfigError, FormatError, SaveError
from mxface.losses.class_shard import class_range
from mxface.losses.head_config import accept
from mxface.ranks import Ranks
from mxface.train import state_files
from mxface.train.checkpoint import SaveRule
from mxface.train.progress import Progress
from mxface.train.resume import RunState
from mxface.train.state import StateFolder
from mxface.train.state_metadata import read_metadata, stored_tensors

# of 5 classes 4 ranks own 2, 2, 1 and none
NUM_CLASSES, DIM = 5, 3
HEAD_TABLES = ("fc7_weight", "fc7_weight_momentum")  # of a margin softmax
SHARDED = {"head/fc7_weight": NUM_CLASSES, "head/fc7_bias": NUM_CLASSES}


def whole_tables(seed: int) -> dict[str, Tensor]:
    """What one rank alone holds."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "backbone/conv": torch.randn(4, 2, 3, 3, generator=generator).to(memory_format=torch.channels_last),
        "backbone/beta": torch.randn(7, generator=generator),
        "head/fc7_weight": torch.randn(NUM_CLASSES, DIM, generator=generator),
        "head/fc7_bias": torch.randn(NUM_CLASSES, generator=generator),
        "Progress/step": torch.tensor(seed),
    }


def own_tables(seed: int, ranks: Ranks) -> dict[str, Tensor]:
    """What this rank holds: its rows of the sharded tables."""
    own = class_range(NUM_CLASSES, ranks)
    tables = whole_tables(seed)
    return {name: table[own.start : own.stop].clone() if name in SHARDED else table for name, table in tables.items()}


def save_and_load(ranks: Ranks, folder: str) -> dict[str, Any]:
    """Everything that several ranks do with a folder, in one start of processes; asserts what each rank can see."""
    found: dict[str, Any] = {}
    loaded, expected = own_tables(0, ranks), own_tables(1, ranks)
    StateFolder(Path(folder) / "one", ranks).load_newest(loaded, sharded=SHARDED)
    found["of one rank"] = [name for name in loaded if not torch.equal(loaded[name], expected[name])]

    together = StateFolder(Path(folder) / f"{ranks.count}", ranks)
    together.save(own_tables(2, ranks), step=20, sharded=SHARDED)
    with pytest.MonkeyPatch.context() as patch:
        if ranks.rank == ranks.count - 1:
            patch.setattr(state_files, "_split", fail)
        with pytest.raises(SaveError) as caught:
            together.save(own_tables(3, ranks), step=30, sharded=SHARDED)
    found["one rank's disk is full"] = str(caught.value)
    with pytest.raises(AssertionError, match="head/fc7_weight is not sharded"):
        together.save(own_tables(3, ranks), step=30, sharded={"head/fc7_bias": NUM_CLASSES})
    with pytest.raises(ConfigError) as refused:
        together.load_newest({**own_tables(0, ranks), "head/more": torch.zeros(1)}, sharded=SHARDED)
    found["another network"] = str(refused.value)

    newest = together.save(own_tables(4, ranks), step=40, sharded=SHARDED)
    if ranks.is_main:  # and all ranks fall back alike
        damage(newest, own_tables(4, ranks)["head/fc7_weight"])
    ranks.barrier()
    loaded, expected = own_tables(0, ranks), own_tables(2, ranks)
    found["fell back to"] = together.load_newest(loaded, sharded=SHARDED)
    found["of the one before"] = [name for name in loaded if not torch.equal(loaded[name], expected[name])]
    return found


def fail(tensor: Tensor) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def damage(state: Path, table: Tensor) -> None:
    """Flip a bit of a number of this table where it lies in the state's files."""
    for path in state.glob("*.distcp"):
        data = bytearray(path.read_bytes())
        at = data.find(table.numpy().tobytes())
        if at >= 0:
            data[at + 5] ^= 1
            path.write_bytes(data)
            return
    raise AssertionError("the table is not there")


def go_on(ranks: Ranks, folder: Path) -> tuple[str | None, dict[str, Tensor]]:
    """Resume where there is a state, train two batches, save; what was said, and this rank's tensors."""
    learner, progress = build_learner(SPHERENET, ranks), Progress()
    state = RunState(
        StateFolder(folder, ranks),
        learner,
        progress,
        SaveRule(ckpt=3),
        {"seed": 0},
        setting={"global_batch": BATCH_SIZE, "ranks": ranks.count},
        sharded={f"head/{name}": SPHERENET_CLASSES for name in HEAD_TABLES},
    )
    resumed = state.resume()
    for _ in range(2):
        batch = make_batch(SPHERENET, progress.step, ranks)
        learner.train_batch(batch, step=progress.step + 1, lr=0.1, check=accept)
        progress.advance(BATCH_SIZE)
    learner.average_statistics()
    state.save()
    return resumed and resumed.account, learner.tensors()


def on_a_rank(ranks: Ranks, folder: str) -> dict[str, Any]:
    """All that is to be seen of one spawn, on one rank."""
    found = save_and_load(ranks, folder)
    found["said"] = go_on(ranks, Path(folder) / "chain")[0]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything is saved."""
    return tmp_path_factory.mktemp("states")


@pytest.fixture(scope="module")
def of_two_and_four(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """Tables of one rank are read by 2 and by 4, and a run of one rank goes on on 2 and then on 4."""
    StateFolder(folder / "one").save(whole_tables(1), step=10)
    assert go_on(Ranks.single(), folder / "chain")[0] is None
    return {count: run_ranks(on_a_rank, count, str(folder)) for count in (2, 4)}


@pytest.mark.parametrize("count", [2, 4])
def test_any_number_of_ranks_reads_any_state(
    folder: Path, of_two_and_four: dict[int, list[dict[str, Any]]], count: int
) -> None:
    results = of_two_and_four[count]
    assert results[1:] == results[:1] * (count - 1)
    assert results[0]["of one rank"] == results[0]["of the one before"] == []
    assert results[0]["fell back to"] == folder / f"{count}" / "step-00000020"
    assert results[0]["one rank's disk is full"] == (
        f"{folder}/{count}/step-00000030: cannot be written (No space left on device); "
        "free some space or make the folder writable; --resume then goes on from step-00000020"
    )
    assert "head/more is not in the state; resume with the flags" in results[0]["another network"]
    names = sorted(path.name for path in (folder / f"{count}").iterdir())
    assert names == ["damaged-step-00000040", "step-00000020"]

    # back on one rank; what all ranks have alike was written once, by whichever rank
    loaded, expected = whole_tables(0), whole_tables(2)
    path = StateFolder(folder / f"{count}").load_newest(loaded)
    assert path is not None
    assert [name for name in loaded if not torch.equal(loaded[name], expected[name])] == []
    stored = stored_tensors(read_metadata(path))
    owners = min(count, 3)  # that own any class
    assert {name: len(entry.chunks) for name, entry in stored.items()} == {
        name: owners if name in SHARDED else 1 for name in stored
    }
    total = sum(table.numel() * table.element_size() for table in expected.values())
    assert sum(file.stat().st_size for file in path.glob("*.distcp")) < total + 2048 * (len(stored) + 2 * owners)


def test_one_two_four_one_ranks_equal_one_rank_that_never_stopped(
    folder: Path, of_two_and_four: dict[int, list[dict[str, Any]]]
) -> None:
    said = [of_two_and_four[count][0]["said"] for count in (2, 4)]
    last, tensors = go_on(Ranks.single(), folder / "chain")
    assert [account.partition(": ")[2] for account in (*said, last)] == [
        "goes on at image 24 of epoch 0, batch 3; ranks 2, was 1",
        "goes on at image 48 of epoch 0, batch 5; ranks 4, was 2",
        "goes on at image 72 of epoch 0, batch 7; ranks 1, was 4",
    ]
    learner = build_learner(SPHERENET, Ranks.single())
    start = {name: tensor.clone() for name, tensor in learner.tensors().items()}
    for number in range(8):
        learner.train_batch(make_batch(SPHERENET, number, Ranks.single()), step=number + 1, lr=0.1, check=accept)
    expected = learner.tensors()
    assert tensors.keys() == expected.keys() and set(HEAD_TABLES) <= {name.removeprefix("head/") for name in tensors}
    for name, tensor in expected.items():
        torch.testing.assert_close(tensors[name], tensor, rtol=1e-12, atol=1e-12)
        assert not torch.equal(tensor, start[name]), name


def test_large_tables_are_written_and_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_files, "PART_BYTES", 2 * DIM * 4)
    path = StateFolder(tmp_path).save(whole_tables(1), step=10)
    stored = stored_tensors(read_metadata(path))
    assert [tuple(part.sizes) for part in stored["head/fc7_weight"].chunks] == [(2, 3), (2, 3), (1, 3)]
    loaded, expected = whole_tables(0), whole_tables(1)
    StateFolder(tmp_path).load_newest(loaded)
    assert [name for name in loaded if not torch.equal(loaded[name], expected[name])] == []
    missing = read_metadata(path)
    del stored_tensors(missing)["head/fc7_weight"].chunks[1]
    with pytest.raises(FormatError, match=r"9 elements of head/fc7_weight, expected 15"):
        state_files.read_tensors(path, missing, loaded, sharded={}, ranks=Ranks.single())
