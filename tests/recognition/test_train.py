"""The command recognition/train.py in this process: what each setting does to a run of a few batches."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.support.training import PEOPLE, write_tiny_config, write_tiny_set

from mxface.formats.checkpoint import list_epochs
from mxface.graph import load_checkpoint, save_checkpoint
from mxface.recognition.train import main

Train = Callable[..., str]


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_set(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture
def train(tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Train:
    """Run the command in an empty folder, by default for 2 batches; `config` lines are appended to the config file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def run(*flags: object, config: str = "", max_steps: int = 1, status: int = 0) -> str:
        write_tiny_config(tmp_path / "config.py", tiny_set, more=f"{config}\ndataset.tiny.max_steps = {max_steps}\n")
        choice = ["--network", "tiny", "--dataset", "tiny", "--threads", "1"]
        assert main([*choice, *map(str, flags)]) == status
        captured = capsys.readouterr()
        return captured.out + captured.err

    return run


def model(loss: str = "arcface") -> Path:
    return Path(f"models/tiny-{loss}-tiny/model")


@pytest.mark.parametrize("loss", ["softmax", "nsoftmax", "sphereface", "arcface", "cosface", "combined"])
def test_every_loss_trains_and_saves(train: Train, loss: str) -> None:
    output = train("--loss", loss, "--verbose", 2)
    assert "[2]Accuracy-Highest: " in output
    checkpoint = load_checkpoint(model(loss), 1)
    assert checkpoint.symbol.list_outputs() == ["fc1_output"]
    assert not [name for name in checkpoint.arg_params if name.startswith("fc7")]
    assert all(np.isfinite(array).all() for array in checkpoint.arg_params.values())


def test_verifications_reach_tensorboard(train: Train) -> None:
    output = train("--verbose", 1)
    events = EventAccumulator(str(model().parent / "tensorboard"))
    events.Reload()
    accuracies = [float(value) for value in re.findall(r"\[tiny\]\[\d\]Accuracy-Flip: ([\d.]+)", output)]
    logged = events.Scalars("tiny/accuracy_flip")
    assert [event.step for event in logged] == [1, 2]
    assert [event.value for event in logged] == pytest.approx(accuracies, abs=1e-5)
    assert events.Scalars("tiny/xnorm")[0].value > 0


@pytest.mark.parametrize(
    ("loss", "config", "names"),
    [
        ("softmax", "", {"fc7_weight", "fc7_bias"}),
        ("softmax", "config.fc7_no_bias = True", {"fc7_weight"}),
        ("arcface", "config.ce_loss = False", {"fc7_weight"}),
    ],
)
def test_the_head_is_saved_where_ckpt_embedding_is_off(train: Train, loss: str, config: str, names: set[str]) -> None:
    train("--loss", loss, "--verbose", 2, config=f"config.ckpt_embedding = False\n{config}")
    checkpoint = load_checkpoint(model(loss), 1)
    assert "softmax_output" in checkpoint.symbol.list_outputs()
    assert {name for name in checkpoint.arg_params if name.startswith("fc7")} == names
    assert checkpoint.arg_params["fc7_weight"].shape == (PEOPLE, 32)
    assert set(checkpoint.arg_params) == set(checkpoint.symbol.list_arguments()) - {"data", "softmax_label"}


def test_ce_loss_decides_the_metrics(train: Train, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        train("--frequent", 1)
        assert re.search(r"Batch \[0-1\]\tSpeed: .* samples/sec\tacc=\S+\tlossvalue=\S+$", caplog.text, re.MULTILINE)
        caplog.clear()
        train("--frequent", 1, config="config.ce_loss = False")
        assert re.search(r"Batch \[0-1\]\tSpeed: .* samples/sec\tacc=\S+$", caplog.text, re.MULTILINE)


@pytest.mark.parametrize(
    ("ckpt", "expected"), [(0, [[]]), (1, [[1], [1, 2], [1, 3], [1, 2, 3]]), (2, [[1, 2, 3]]), (3, [[1]])]
)
def test_ckpt(train: Train, ckpt: int, expected: list[list[int]]) -> None:
    output = train("--ckpt", ckpt, "--verbose", 1, max_steps=2)
    assert output.count("Accuracy-Highest") == 3
    assert list_epochs(model()) in expected
    assert {int(number) for number in re.findall(r"saving (\d+)", output)} == set(list_epochs(model()))


@pytest.mark.parametrize(
    "settings",
    [
        "config.data_color = 2\nconfig.data_cutoff = 30",
        "config.data_rand_mirror = False\nconfig.count_flops = False",
        "config.data_images_filter = 3",
    ],
)
def test_data_settings(train: Train, settings: str) -> None:
    output = train(config=settings)
    assert f"rand_mirror {'Mirror = False' not in settings and 'mirror = False' not in settings}" in output
    assert ("Network FLOPs: " in output) == ("count_flops = False" not in settings)


def test_flags_change_what_is_learned(train: Train) -> None:
    """Each of these must reach the arithmetic: the same two batches end elsewhere than with the defaults."""

    def learned(*flags: object, config: str = "") -> np.ndarray:
        train("--ckpt", 2, "--verbose", 2, *flags, config=config)
        return load_checkpoint(model(), 1).arg_params["pre_fc1_weight"].copy()

    default = learned()
    assert np.array_equal(default, learned())
    for flags in (
        ("--lr", 0.01),
        ("--lr-steps", "1"),
        ("--wd", 0.1),
        ("--mom", 0.5),
        ("--seed", 1),
        ("--per-batch-size", 6),
        ("--dtype", "bf16"),
    ):
        assert not np.array_equal(default, learned(*flags)), flags
    for config in ("config.data_rand_mirror = False", "config.data_cutoff = 50", "config.bn_mom = 0.5"):
        changed = learned(config=config)
        assert (config.startswith("config.bn")) == np.array_equal(default, changed), (
            config
        )  # bn_mom moves statistics only


def test_wd_scope_spares_the_betas(train: Train) -> None:
    def beta(scope: str) -> np.ndarray:
        train("--ckpt", 2, "--verbose", 3, "--wd", 0.5, "--wd-scope", scope, max_steps=2)
        return load_checkpoint(model(), 1).arg_params["conv_1_batchnorm_beta"].copy()

    assert not np.array_equal(beta("all"), beta("weights"))


def test_num_classes_of_property_wins_with_a_line(train: Train, tiny_set: Path) -> None:
    output = train(config="dataset.tiny.num_classes = 10")
    assert f"num_classes: {PEOPLE} by {tiny_set / 'property'}, not the config's 10" in output
    assert f"\nnum_classes {PEOPLE}\n" in output


@pytest.mark.parametrize("form", ["{prefix}", "{prefix},2", "{folder}", "{folder},2"])
def test_pretrained_forms(train: Train, form: str) -> None:
    train("--verbose", 1, "--ckpt", 2)
    for name in ("symbol.json", "0002.params"):
        model().parent.joinpath("renamed-" + name).write_bytes(Path(f"{model()}-{name}").read_bytes())
    pretrained = form.format(prefix=model().parent / "renamed", folder=model().parent)
    unchanging = ("--lr", 1e-30, "--models-root", "second", "--verbose", 1, "--ckpt", 2)
    output = train("--pretrained", pretrained, "--pretrained-epoch", 2, *unchanging)
    assert f"\nloading {pretrained.split(',')[0]}" in output
    first, second = (load_checkpoint(prefix, 2) for prefix in (model(), Path("second", *model().parts[1:])))
    for name, array in first.arg_params.items():
        reset_by_forward = name == "fc1_gamma"  # fix_gamma
        assert reset_by_forward or np.allclose(array, second.arg_params[name], rtol=0, atol=1e-20), name


def test_pretrained_of_another_network_is_refused(train: Train) -> None:
    train("--verbose", 1, "--ckpt", 2)
    output = train("--pretrained", model(), config="network.tiny.emb_size = 16", status=1)
    assert "pre_fc1_weight is (32, 8192) there and (16, 8192) in --network's graph; fine-tune the network" in output
    assert "no such file" in train("--pretrained", "nowhere,1", status=1)


def test_a_pretrained_head_is_taken_over_where_it_fits(train: Train) -> None:
    train("--verbose", 1, "--ckpt", 2, config="config.ckpt_embedding = False")
    unchanging = ("--lr", 1e-30, "--models-root", "second", "--verbose", 1, "--ckpt", 2)
    train("--pretrained", f"{model()},2", *unchanging, config="config.ckpt_embedding = False")
    first, second = (load_checkpoint(prefix, 2) for prefix in (model(), Path("second", *model().parts[1:])))
    np.testing.assert_array_equal(first.arg_params["fc7_weight"], second.arg_params["fc7_weight"])


def test_a_pretrained_head_of_other_classes_starts_anew(train: Train, caplog: pytest.LogCaptureFixture) -> None:
    train("--verbose", 1, "--ckpt", 2, config="config.ckpt_embedding = False")
    saved = load_checkpoint(model(), 2)
    centres = saved.arg_params["fc7_weight"][:-1]
    save_checkpoint("fewer", 1, saved.symbol, {**saved.arg_params, "fc7_weight": centres}, saved.aux_params)
    train("--pretrained", "fewer,1", "--models-root", "second")
    shapes = f"its fc7_weight is {centres.shape}, here {saved.arg_params['fc7_weight'].shape}"
    assert f"{shapes}: it starts anew" in caplog.text


def test_a_state_of_an_earlier_run_is_not_replaced_in_silence(train: Train, caplog: pytest.LogCaptureFixture) -> None:
    train()
    assert "earlier run" not in caplog.text
    train()
    assert "state is of an earlier run and will be replaced; --resume goes on from it" in caplog.text


def test_resume_without_a_state_begins(train: Train) -> None:
    output = train("--resume")
    assert "no training state beside models/tiny-arcface-tiny/model: starting at the beginning" in output


def test_what_keeps_a_run_from_saving_is_said_at_once(train: Train, caplog: pytest.LogCaptureFixture) -> None:
    train("--verbose", 9, config="dataset.tiny.val_targets = ['none']")
    assert "none of none.bin in" in caplog.text
    assert "--ckpt 3 saves no model; 2 saves always" in caplog.text
    assert "--verbose 9 is beyond max_steps 1: no model is saved" in caplog.text


@pytest.mark.parametrize(
    ("flags", "config", "message"),
    [
        (("--lr", 1e30), "", r"step 2: the loss is nan\. Records of the batch \d+, .*; identities \d.* Stopped before"),
        (("--per-batch-size", 100), "", "batch size 100 is more than the 24 images"),
        (("--models-root", "config.py"), "", "config.py/.*: the output folder cannot be made"),
        (
            ("--pretrained", "nowhere"),
            "",
            "--pretrained nowhere: nowhere-0001.params: no such file; there is no nowhere-N",
        ),
        (("--device", "tpu"), "", "--device tpu: expected cpu, cuda or cuda:N"),
        ((), "network.tiny.net_name = 'fnowhere'", "no network 'fnowhere'; choose one of"),
        ((), "dataset.tiny.dataset_path = '.'\ndataset.tiny.num_classes = None", "num_classes is not set"),
        ((), "dataset.tiny.dataset_path = '.'", r"train\.rec: no such file; pack the images"),
    ],
)
def test_a_run_that_cannot_work_ends_with_a_sentence(
    train: Train, flags: tuple[object, ...], config: str, message: str
) -> None:
    output = train(*flags, config=config, status=1)
    assert re.search(f"error: .*{message}", output), output
    assert "Traceback" not in output
    assert "--lr" in flags or not Path("models").exists()  # that one has trained; the others leave nothing behind


def test_visible_devices(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train().startswith("use cpu\n")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert train().startswith("use cpu\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert "CUDA_VISIBLE_DEVICES is '0,1', but torch sees no GPU; set CUDA_VISIBLE_DEVICES=''" in train(status=1)
    assert train("--device", "cpu").startswith("use cpu\n")
