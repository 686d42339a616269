"""The flags of 2019's `src/train_softmax.py` and `src/train_triplet.py`, and what they mean to today's trainer.

These commands have no config file: the data set is one folder with its `property`, the network a letter and a depth.
Source: spec recognition §6.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mxface.cli import HelpFormatter
from mxface.errors import ConfigError
from mxface.formats.dataset_property import read_property
from mxface.recognition.arguments import (
    Arguments,
    add_machine_flags,
    add_numerics_flags,
    add_state_flags,
    flag_names,
    machine_settings,
    naming,
    numerics_settings,
    rank_batch_size,
    warn_idle_multipliers,
)
from mxface.recognition.config import DataConfig, LossConfig, RunConfig
from mxface.symbols import SrcOptions
from mxface.symbols.options import SRC_KEYWORDS
from mxface.train.config import TrainConfig, require
from mxface.train.schedule import parse_lr_steps

log = logging.getLogger(__name__)

NETWORKS: Mapping[str, tuple[str, bool]] = {
    "d": ("fdensenet", True),
    "i": ("finception_resnet_v2", False),
    "m": ("fmobilenetv2", False),
    "n": ("fnasnet", False),
    "p": ("fdpn", True),
    "r": ("fresnet", True),
    "s": ("spherenet", True),
    "x": ("fxception", False),
    "y": ("fmobilefacenet", False),
}
"""By the first letter of `--network`: the graph, and whether the number after it is a depth."""

NEVER = 10**9  # a batch that no run reaches
LR_STEPS_BATCH = 512  # the batch that the default --lr-steps are counted in

LOSS_TYPES: Mapping[int, tuple[str, Mapping[str, str]]] = {
    0: ("softmax", {"fc7_no_bias": "fc7_no_bias"}),
    2: ("margin_softmax", {"loss_s": "margin_s", "loss_m3": "margin_m"}),
    4: ("threshold_margin", {"loss_s": "margin_s", "loss_m2": "margin_m", "loss_easy_margin": "easy_margin"}),
    5: (
        "margin_softmax",
        {"loss_s": "margin_s", "loss_m1": "margin_a", "loss_m2": "margin_m", "loss_m3": "margin_b"},
    ),
    6: ("intra", {"loss_s": "margin_s", "loss_m2": "margin_m", "loss_intra_weight": "margin_b"}),
    7: ("inter", {"loss_s": "margin_s", "loss_m2": "margin_m", "loss_inter_weight": "margin_b"}),
}
"""By `--loss-type`: today's loss_name, and which flag sets each of its keys."""
FLAGS_OF_SETTINGS: Mapping[str, str] = {
    **{option: keyword for keyword, option in SRC_KEYWORDS.items() if keyword.startswith("version")},
    **{f"data_{name}": name for name in ("rand_mirror", "cutoff", "color", "images_filter")},
}
"""The flags that are called otherwise than the settings they set; of the loss, see LOSS_TYPES."""
LSOFTMAX_FLAGS = ("margin", "beta", "beta_min", "gamma", "power", "scale")  # only loss type 1 read them


def parse_softmax_arguments(argv: Sequence[str] | None, *, description: str) -> Arguments:
    """The flags of `src/train_softmax.py`."""
    parser = _common_parser(description, ckpt=1, letters="r d m i x p n s y")
    loss = parser.add_argument_group("loss")
    loss.add_argument(
        "--loss-type",
        type=int,
        default=4,
        help="0 softmax, 2 CosFace, 4 ArcFace with threshold, 5 combined margin, 6 ArcFace + intra, 7 ArcFace + inter",
    )
    loss.add_argument("--margin-m", type=float, default=0.5, help="the margin m")
    loss.add_argument("--margin-s", type=float, default=64.0, help="the scale s")
    loss.add_argument("--margin-a", type=float, default=1.0, help="factor of the angle (type 5)")
    loss.add_argument(
        "--margin-b", type=float, default=0.0, help="cosine margin (type 5); weight of the intra or inter loss (6, 7)"
    )
    loss.add_argument("--easy-margin", type=int, default=0, help="1: no margin beyond 90 degrees (type 4)")
    loss.add_argument("--fc7-no-bias", action="store_true", help="softmax without a bias (type 0)")
    loss.add_argument("--fc7-lr-mult", type=float, default=1.0, help="only counts under --wd-scope weights")
    loss.add_argument("--fc7-wd-mult", type=float, default=1.0, help="only counts under --wd-scope weights")
    loss.add_argument("--ce-loss", action="store_true", help="also report the cross entropy, as `lossvalue`")
    loss.add_argument("--beta-freeze", type=int, default=0, help="delays --lr-steps by so many batches")
    for name in LSOFTMAX_FLAGS:
        loss.add_argument(f"--{name.replace('_', '-')}", type=float, help="of loss type 1, which is not built")
    flags = parser.parse_args(argv)
    if flags.loss_type not in LOSS_TYPES:
        reason = (
            "SphereFace needed an operator (LSoftmax) that was never part of the toolkit; "
            "train.py's loss sphereface is the one of the combined margin"
            if flags.loss_type == 1
            else "there is no such loss"
        )
        raise ConfigError(f"--loss-type {flags.loss_type}: {reason}; choose one of {', '.join(map(str, LOSS_TYPES))}")
    loss_name, read = LOSS_TYPES[flags.loss_type]
    of_others = {name for _, names in LOSS_TYPES.values() for name in names.values()} - set(read.values())
    idle = (*sorted(of_others), *LSOFTMAX_FLAGS)
    given = [name for name in idle if getattr(flags, name) != parser.get_default(name)]
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        log.warning("%s: no effect with --loss-type %d", names, flags.loss_type)
    settings: dict[str, Any] = {key: getattr(flags, name) for key, name in read.items()}
    multipliers = {"fc7_lr_mult": flags.fc7_lr_mult, "fc7_wd_mult": flags.fc7_wd_mult}
    require(flags.beta_freeze >= 0, "--beta-freeze", flags.beta_freeze, "a number of batches, or 0")
    with naming(_flag_names(flags, read)):
        loss_config = LossConfig(loss_name=loss_name, ce_loss=flags.ce_loss, **multipliers, **settings)
        warn_idle_multipliers(flags, loss_config)
        machine = machine_settings(flags)
        steps = _softmax_lr_steps(flags, rank_batch_size(flags, loss_config) * machine["ranks"])
        run = _run_config(flags, loss_config, machine, lr_steps=steps, frequent=20)
    return Arguments(flags=flags, settings={}, run=run)


def parse_triplet_arguments(argv: Sequence[str] | None, *, description: str) -> Arguments:
    """The flags of `src/train_triplet.py`."""
    parser = _common_parser(description, ckpt=3, letters="r d m i x p n s")
    loss = parser.add_argument_group("loss")
    loss.add_argument("--loss-type", type=int, default=1, help="1 distances, 2 angles")
    loss.add_argument("--images-per-identity", type=int, default=5, help="images of a person in a bag, at most")
    loss.add_argument("--triplet-bag-size", type=int, default=3600, help="images that triplets are looked for in")
    loss.add_argument("--triplet-alpha", type=float, default=0.3, help="the margin")
    loss.add_argument("--triplet-max-ap", type=float, default=0.0, help="largest distance within a pair; 0: any")
    loss.add_argument("--noise-sgd", type=float, default=0.0, help="did not run in 2019; only 0")
    flags = parser.parse_args(argv)
    require(flags.loss_type in (1, 2), "--loss-type", flags.loss_type, "1 (distances) or 2 (angles)")
    require(flags.noise_sgd == 0, "--noise-sgd", flags.noise_sgd, "0 (the noisy optimiser of 2019 could not run)")
    require(flags.triplet_bag_size > 0, "--triplet-bag-size", flags.triplet_bag_size, "a number of images above 0")
    require(flags.images_per_identity >= 2, "--images-per-identity", flags.images_per_identity, "2 or more")
    with naming(_flag_names(flags)):
        loss_config = LossConfig(
            loss_name="triplet" if flags.loss_type == 1 else "atriplet",
            images_per_identity=flags.images_per_identity,
            triplet_alpha=flags.triplet_alpha,
            triplet_bag_size=flags.triplet_bag_size,
            triplet_max_ap=flags.triplet_max_ap,
        )
        lr_steps = parse_lr_steps(flags.lr_steps) if flags.lr_steps else (NEVER,)
        machine = machine_settings(flags)
        run = _run_config(flags, loss_config, machine, lr_steps=lr_steps, frequent=2, pretrained_symbol=True)
    if flags.triplet_bag_size % run.train.batch_size:
        raise ConfigError(
            f"--triplet-bag-size {flags.triplet_bag_size} must be a multiple of the batch over all ranks, "
            f"{run.train.batch_size} images"
        )
    return Arguments(flags=flags, settings={}, run=run)


def _common_parser(description: str, *, ckpt: int, letters: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=HelpFormatter, allow_abbrev=False)
    files = parser.add_argument_group("files")
    files.add_argument("--data-dir", default="", help="folder of train.rec, train.idx, property and the .bin sets")
    files.add_argument("--prefix", default="../model/model", help="output: PREFIX-symbol.json, PREFIX-NNNN.params")
    files.add_argument("--pretrained", default="", help="start from this model: PREFIX,EPOCH")
    files.add_argument(
        "--ckpt", type=int, default=ckpt, help="save: 0 never, 1 each best, 2 always, 3 the best, over the last one"
    )
    add_state_flags(files)

    network = parser.add_argument_group("network")
    network.add_argument("--network", default="r50", help=f"letter and depth, such as r50; letters: {letters}")
    network.add_argument("--image-size", default="112,112", help="height,width, instead of the one in property")
    network.add_argument("--emb-size", type=int, default=512, help="embedding length")
    network.add_argument("--version-se", type=int, default=0, help="1: squeeze and excitation")
    network.add_argument("--version-input", type=int, default=1, help="the stem: 1 full resolution, 0 half")
    network.add_argument("--version-output", default="E", help="the embedding's head")
    network.add_argument("--version-unit", type=int, default=3, help="kind of residual unit, 1 to 3")
    network.add_argument("--version-multiplier", type=float, default=1.0, help="width of a MobileNet")
    network.add_argument("--version-act", default="prelu", help="activation")
    network.add_argument("--use-deformable", type=int, default=0, help="no network of the toolkit had it; only 0")
    network.add_argument("--bn-mom", type=float, default=0.9, help="weight of the OLD value in moving statistics")

    training = parser.add_argument_group("training")
    training.add_argument("--lr", type=float, default=0.1, help="learning rate")
    training.add_argument(
        "--lr-steps", default="", help="batch numbers after which the rate is a tenth (default: by loss and batch size)"
    )
    training.add_argument("--wd", type=float, default=0.0005, help="weight decay")
    training.add_argument("--mom", type=float, default=0.9, help="momentum")
    training.add_argument("--per-batch-size", type=int, default=128, help="images of a batch, per device; 0: 128")
    training.add_argument("--max-steps", type=int, default=0, help="end after this batch and one more; 0: no end")
    training.add_argument("--end-epoch", type=int, default=100000, help="end after so many epochs")
    add_numerics_flags(training)

    data = parser.add_argument_group("data")
    data.add_argument("--rand-mirror", type=int, default=1, help="1: mirror every other image")
    data.add_argument("--cutoff", type=int, default=0, help="side in pixels of a grey square; 0: none")
    data.add_argument("--color", type=int, default=0, help="1 jitter, 2 jitter and JPEG artefacts")
    data.add_argument("--images-filter", type=int, default=0, help="leave out identities with fewer images")
    data.add_argument("--target", default="lfw,cfp_fp,agedb_30", help="verification sets, where they lie in --data-dir")

    progress = parser.add_argument_group("progress")
    progress.add_argument("--verbose", type=int, default=2000, help="batches between verifications")
    add_machine_flags(parser)
    return parser


def _run_config(
    flags: argparse.Namespace,
    loss: LossConfig,
    machine: Mapping[str, Any],
    *,
    lr_steps: tuple[int, ...],
    frequent: int,
    pretrained_symbol: bool = False,
) -> RunConfig:
    folder = Path(flags.data_dir)
    require(bool(flags.data_dir), "--data-dir", flags.data_dir, "the folder of the data set")
    if not (folder / "property").is_file():
        raise ConfigError(f"--data-dir {folder}: there is no property in it; face2rec2.py --image-size H,W writes one")
    require(flags.use_deformable == 0, "--use-deformable", flags.use_deformable, "0: no network of the toolkit had it")
    name, layers = _network(flags.network)
    return RunConfig(
        prefix=Path(flags.prefix),
        net_family="src",
        net_name=name,
        network=SrcOptions(
            emb_size=flags.emb_size,
            num_layers=layers,
            net_se=bool(flags.version_se),
            net_input=flags.version_input,
            net_output=flags.version_output,
            net_unit=flags.version_unit,
            net_multiplier=flags.version_multiplier,
            net_act=flags.version_act,
            bn_mom=flags.bn_mom,
        ),
        loss=loss,
        data=DataConfig(
            dataset_path=folder,
            image_shape=(*_image_size(flags.image_size), 3),
            num_classes=read_property(folder / "property").num_classes,
            val_targets=tuple(name.strip() for name in flags.target.split(",") if name.strip()),
            data_rand_mirror=bool(flags.rand_mirror),
            data_cutoff=flags.cutoff,
            data_color=flags.color,
            data_images_filter=flags.images_filter,
        ),
        train=TrainConfig(
            batch_size=rank_batch_size(flags, loss) * machine["ranks"],
            lr=flags.lr,
            lr_steps=lr_steps,
            wd=flags.wd,
            mom=flags.mom,
            frequent=frequent,
            verbose=flags.verbose,
            ckpt=flags.ckpt,
            max_steps=flags.max_steps,
            end_epoch=flags.end_epoch,
            **numerics_settings(flags),
        ),
        ckpt_embedding=False,  # these commands save the whole graph, class centres and all
        count_flops=False,
        pretrained=flags.pretrained,
        pretrained_epoch=1,
        pretrained_symbol=pretrained_symbol,
        **machine,
    )


def _flag_names(flags: argparse.Namespace, loss_flags: Mapping[str, str] | None = None) -> dict[str, str]:
    """Each setting's flag; `loss_flags` as in LOSS_TYPES."""
    of_settings = {**FLAGS_OF_SETTINGS, **(loss_flags or {})}
    by_flag = flag_names(flags)
    return by_flag | {setting: by_flag[name] for setting, name in of_settings.items()}


def _network(text: str) -> tuple[str, int | None]:
    """The graph's name and depth: of r50 fresnet and 50; m1 is the first MobileNet."""
    letter, number = text[:1], text[1:]
    if letter not in NETWORKS or (number and not number.isdecimal()):
        raise ConfigError(f"--network {text}: a letter of {' '.join(NETWORKS)} and a depth, such as r50")
    name, has_depth = NETWORKS[letter]
    if has_depth and not number:
        raise ConfigError(f"--network {text}: {name} needs a depth after the letter, such as r50")
    return ("fmobilenet", None) if text == "m1" else (name, int(number) if has_depth else None)


def _image_size(text: str) -> tuple[int, int]:
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts) or int(parts[0]) != int(parts[1]):
        raise ConfigError(f"--image-size {text}: expected height,width of a square image, such as 112,112")
    return int(parts[0]), int(parts[1])


def _softmax_lr_steps(flags: argparse.Namespace, batch_size: int) -> tuple[int, ...]:
    """`--lr-steps`, or 2019's, which keep the images between them whatever the batch; all after the freeze."""
    if flags.lr_steps:
        steps = parse_lr_steps(flags.lr_steps)
    else:
        usual = (40_000, 60_000, 80_000) if flags.loss_type == 0 else (100_000, 140_000, 160_000)
        steps = tuple(max(1, step * LR_STEPS_BATCH // batch_size) for step in usual)
    return tuple(step + flags.beta_freeze for step in steps)
