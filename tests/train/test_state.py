"""Training states on disk: whole or absent, two kept, and read without trusting them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict_loader import load

from mxface.errors import ConfigError, FormatError
from mxface.train import state, state_files
from mxface.train.state import StateFolder, read_state


def tensors(seed: int) -> dict[str, Tensor]:
    """What a state holds: parameters in either memory format, counters, the generator's bytes."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "backbone/conv": torch.randn(8, 4, 3, 3, generator=generator).to(memory_format=torch.channels_last),
        "head/fc7_weight": torch.randn(5, 8, generator=generator),
        "progress/step": torch.tensor(seed),
        "rule/best": torch.tensor(0.1 * seed, dtype=torch.float64),
        "random/cpu": generator.get_state(),
    }


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    saved, loaded = tensors(1), tensors(2)
    folder = StateFolder(tmp_path / "state")
    assert folder.load_newest(loaded) is None
    path = folder.save(saved, step=20)
    assert path == tmp_path / "state" / "step-00000020"
    assert folder.load_newest(loaded) == path
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)
    assert loaded["backbone/conv"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.gpu
@pytest.mark.parametrize(("there", "here"), [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
def test_a_state_of_one_device_goes_on_on_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, here: str
) -> None:
    monkeypatch.setattr(state_files, "PART_BYTES", 64)  # two rows of fc7_weight
    saved = {name: tensor.to(there) for name, tensor in tensors(1).items()}
    loaded = {name: tensor.to(here) for name, tensor in tensors(2).items()}
    folder = StateFolder(tmp_path)
    folder.save(saved, step=20)
    folder.load_newest(loaded)
    assert all(tensor.device.type == here for tensor in loaded.values())
    assert all(torch.equal(loaded[name].cpu(), saved[name].cpu()) for name in saved)


def test_torch_reads_it_alone(tmp_path: Path) -> None:
    saved, loaded = tensors(1), tensors(2)
    path = StateFolder(tmp_path).save(saved, step=20)
    with pytest.warns(UserWarning, match="assuming the intent is to load in a single process"):
        load(dict(loaded), checkpoint_id=path)
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)


def test_two_are_kept_and_the_newest_counts(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    for step in (10, 20, 30):
        folder.save(tensors(step), step=step)
    assert [path.name for path in folder.list_states()] == ["step-00000020", "step-00000030"]
    folder.save(tensors(1), step=1)  # a new run in the same folder
    folder.save(tensors(2), step=30)
    assert [path.name for path in folder.list_states()] == ["step-00000001", "step-00000030"]
    loaded = tensors(9)
    folder.load_newest(loaded)
    assert loaded["progress/step"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000030"]


def test_an_unfinished_state_is_not_seen_and_swept_away(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.save(tensors(1), step=10)
    for leftover in (".step-00000020.tmp", "step-00000030"):  # killed while writing; a copy that was cut off
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "__0_0.distcp").write_bytes(b"half")
    assert [path.name for path in folder.list_states()] == ["step-00000010"]
    folder.save(tensors(2), step=20)
    assert not (tmp_path / ".step-00000020.tmp").exists()
    assert folder.load_newest(tensors(3)) == tmp_path / "step-00000020"


def test_a_state_that_is_dropped_is_never_seen_half_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path) -> None:
        next(path.glob("*.distcp")).unlink()
        raise KeyboardInterrupt

    folder = StateFolder(tmp_path)
    for step in (10, 20):
        folder.save(tensors(step), step=step)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("mxface.train.state.shutil.rmtree", killed)
        folder.save(tensors(30), step=30)
    assert [path.name for path in folder.list_states()] == ["step-00000020", "step-00000030"]


def test_states_keep_their_order_when_copied(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    for step in (30, 10, 20):  # a new run began in the folder
        folder.save(tensors(step), step=step)
    for path in tmp_path.glob("step-*/.metadata"):
        os.utime(path, (0, 0 if path.parent.name == "step-00000020" else 1))
    assert [path.name for path in folder.list_states()] == ["step-00000010", "step-00000020"]


def test_a_state_that_a_run_drops_while_they_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = StateFolder(tmp_path)
    for step in (10, 20):
        folder.save(tensors(step), step=step)
    number_of = state._number

    def dropped_meanwhile(path: Path) -> int:
        number = number_of(path)
        if path.name == "step-00000010":
            path.rename(tmp_path / ".step-00000010.old.tmp")
        return number

    monkeypatch.setattr(state, "_number", dropped_meanwhile)
    assert [path.name for path in folder.list_states()] == ["step-00000020"]


def test_a_damaged_newest_state_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = StateFolder(tmp_path)
    for step in (10, 20):
        folder.save(tensors(step), step=step)
    data = next((tmp_path / "step-00000020").glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:-100])
    loaded = tensors(1)
    assert folder.load_newest(loaded) == tmp_path / "step-00000010"
    assert loaded["progress/step"] == 10
    warning = next(record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert f"{data}: found " in warning
    assert warning.endswith("this state is renamed to damaged-step-00000020, and step-00000010 is used")
    folder.save(tensors(30), step=30)  # and the whole one is kept, not the damaged one
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "damaged-step-00000020",
        "step-00000010",
        "step-00000030",
    ]
    for path in tmp_path.glob("step-*/.metadata"):
        path.write_bytes(b"")
    with pytest.raises(FormatError, match=r"step-00000030/\.metadata: found a damaged pickle"):
        folder.load_newest(loaded)
    assert len(folder.list_states()) == 2  # --resume must not start anew in silence the next time


def test_another_network_is_refused(tmp_path: Path) -> None:
    path = StateFolder(tmp_path).save(tensors(1), step=10)
    other = tensors(1)
    other["head/fc7_weight"] = torch.zeros(6, 8)
    with pytest.raises(ConfigError, match=r"head/fc7_weight is \(5, 8\), this run has \(6, 8\); resume with the flags"):
        read_state(path, other)
    other["head/fc7_bias"] = torch.zeros(6)
    with pytest.raises(ConfigError, match="head/fc7_bias is not in the state"):
        read_state(path, other)
    fewer = tensors(1)
    del fewer["backbone/conv"]
    with pytest.raises(ConfigError, match="backbone/conv is not in this run"):
        read_state(path, fewer)
    other = tensors(1) | {"rule/best": torch.tensor(0.5)}
    with pytest.raises(ConfigError, match=r"rule/best is torch\.float64, this run has torch\.float32"):
        read_state(path, other)


def test_a_hostile_pickle_is_not_executed(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "executed"),)

    path = StateFolder(tmp_path).save(tensors(1), step=10)
    (path / ".metadata").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(FormatError, match=r"a pickle that names posix\.mkdir"):
        read_state(path, tensors(1))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("damage", [b"", b"not a pickle", pickle.dumps([1, 2])])
def test_damaged_metadata_is_a_format_error(tmp_path: Path, damage: bytes) -> None:
    path = StateFolder(tmp_path).save(tensors(1), step=10)
    (path / ".metadata").write_bytes(damage)
    with pytest.raises(FormatError, match=r"\.metadata: found"):
        read_state(path, tensors(1))


def test_damaged_tensors_are_a_format_error(tmp_path: Path) -> None:
    path = StateFolder(tmp_path).save(tensors(1), step=10)
    data = next(path.glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(FormatError, match="step-00000010"):
        read_state(path, tensors(1))
