"""src/train_softmax.py and src/train_triplet.py as a user starts them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support import run_door
from tests.support.training import write_tiny_set

from mxface.errors import ConfigError
from mxface.formats.params import read_params
from mxface.graph import load_checkpoint
from mxface.recognition.src_arguments import LOSS_TYPES, NEVER, parse_softmax_arguments, parse_triplet_arguments

SMALL = ("--network", "y1", "--emb-size", 16, "--threads", 1, "--per-batch-size", 6, "--image-size", "112,112")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_set(tmp_path_factory.mktemp("src") / "tiny")


@pytest.mark.parametrize("door", ["src/train_softmax.py", "src/train_triplet.py"])
def test_help_from_anywhere(tmp_path: Path, door: str) -> None:
    result = run_door(door, "--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"python -u {door} --data-dir" in result.stdout


def test_softmax_then_triplets(data: Path) -> None:
    """A model with its class centres, and the fine-tuning of that very graph."""
    place = data.parent
    flags = ("--data-dir", "tiny", "--target", "tiny", "--verbose", 2, "--max-steps", 1, "--ckpt", 2)
    result = run_door("src/train_softmax.py", *flags, *SMALL, "--ce-loss", "--prefix", "soft/model", cwd=place)
    assert result.returncode == 0, result.stderr
    assert re.search(r"^\[tiny\]\[2\]Accuracy-Flip: ", result.stdout, re.MULTILINE)
    assert "fc7_weight" in load_checkpoint(place / "soft/model", 1).symbol.list_arguments()
    assert read_params(place / "soft/model-0001.params")["arg:fc7_weight"].shape == (4, 16)

    more = ("--pretrained", "soft/model,1", "--network", "r50", "--triplet-bag-size", 18, "--triplet-alpha", 3.9)
    result = run_door("src/train_triplet.py", *flags, *more, *SMALL[2:], "--prefix", "tri/model", cwd=place)
    assert result.returncode == 0, result.stderr
    assert re.search(r"^found triplets [1-9]", result.stdout, re.MULTILINE)
    tuned = load_checkpoint(place / "tri/model", 1)
    assert "conv_1_conv2d_weight" in tuned.symbol.list_arguments()  # y1's, not r50's
    assert not [name for name in tuned.arg_params if name.startswith("fc7")]


def run_of(data: Path, *flags: str):  # type: ignore[no-untyped-def]
    return parse_softmax_arguments(["--data-dir", str(data), *flags], description="").run


@pytest.mark.parametrize("loss_type", sorted(LOSS_TYPES))
def test_every_loss_type_is_one_of_todays(data: Path, loss_type: int) -> None:
    flags = ("--loss-type", str(loss_type), "--margin-m", "0.3", "--margin-b", "0.1", "--margin-s", "32")
    loss = run_of(data, *flags).loss
    expected = {
        0: ("softmax", 0.0, 0.0),
        2: ("margin_softmax", 0.0, 0.3),
        4: ("threshold_margin", 0.3, 0.0),
        5: ("margin_softmax", 0.3, 0.1),
        6: ("intra", 0.3, 0.0),
        7: ("inter", 0.3, 0.0),
    }
    assert (loss.loss_name, loss.loss_m2, loss.loss_m3) == expected[loss_type]
    assert loss.loss_s == (32.0 if loss_type else 64.0)
    assert (loss.loss_intra_weight, loss.loss_inter_weight) == (0.1 * (loss_type == 6), 0.1 * (loss_type == 7))


def test_defaults_are_2019s(data: Path) -> None:
    run = run_of(data)
    assert (run.net_name, run.network.num_layers, run.network.net_se, run.train.ckpt) == ("fresnet", 50, False, 1)
    assert run.loss.loss_name == "threshold_margin" and not run.loss.ce_loss and not run.ckpt_embedding
    assert run.train.lr_steps == (400_000, 560_000, 640_000)  # of a batch of 128
    assert run.data.image_shape == (112, 112, 3) and run.data.num_classes == 4
    assert run_of(data, "--loss-type", "0").train.lr_steps == (160_000, 240_000, 320_000)
    assert run_of(data, "--lr-steps", "5,7", "--beta-freeze", "10").train.lr_steps == (15, 17)
    triplet = parse_triplet_arguments(["--data-dir", str(data), "--per-batch-size", "60"], description="").run
    assert (triplet.loss.loss_name, triplet.train.frequent, triplet.train.ckpt) == ("triplet", 2, 3)
    assert triplet.train.lr_steps == (NEVER,) and triplet.loss.triplet_bag_size == 3600


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--loss-type", "1"), "SphereFace needed an operator"),
        (("--loss-type", "3"), "there is no such loss; choose one of 0, 2, 4, 5, 6, 7"),
        (("--network", "q50"), "a letter of d i m n p r s x y and a depth, such as r50"),
        (("--network", "r"), "fresnet needs a depth after the letter"),
        (("--image-size", "112"), "expected height,width"),
        (("--use-deformable", "1"), "no network of the toolkit had it"),
        (("--data-dir", "nowhere"), "there is no property in it"),
        (("--data-dir", ""), "the folder of the data set"),
    ],
)
def test_what_is_refused(data: Path, flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_of(data, *flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--noise-sgd", "0.1"), "could not run"),
        (("--loss-type", "3"), "1 .distances. or 2 .angles."),
        (("--images-per-identity", "1"), "2 or more"),
        (("--per-batch-size", "66"), "must be a multiple of the batch over all ranks"),
    ],
)
def test_what_triplets_refuse(data: Path, flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_triplet_arguments(["--data-dir", str(data), *flags], description="")


def test_flags_of_other_losses_are_said_to_do_nothing(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    for loss_type in LOSS_TYPES:
        run_of(data, "--loss-type", str(loss_type))
    run_of(data, "--loss-type", "7", "--margin-b", "0.1", "--fc7-lr-mult", "2", "--wd-scope", "weights")
    assert "no effect" not in caplog.text
    run_of(data, "--beta-min", "3", "--gamma", "0.1", "--margin-b", "0.1", "--fc7-no-bias")
    assert "--fc7-no-bias, --margin-b, --beta-min, --gamma: no effect with --loss-type 4" in caplog.text
    run_of(data, "--fc7-lr-mult", "2")
    assert "fc7_lr_mult 2.0 and fc7_wd_mult 1.0 have no effect" in caplog.text


def test_a_batch_of_0_is_2019s_128(data: Path) -> None:
    assert run_of(data, "--per-batch-size", "0").train == run_of(data).train
