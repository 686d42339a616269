"""The settings of a recognition run, checked: what `config.py` and the flags become.

Keys, defaults and meanings are those of 2019's `sample_config.py` (recognition/README, docs/DIFFERENCES.md).
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from mxface.cpus import MOST_WORKERS
from mxface.errors import ConfigError
from mxface.loaders.train_loader import DAMAGED_LIMIT
from mxface.places import search_folders
from mxface.recognition.mxnet_limits import require_mxnet_can
from mxface.symbols import FAMILIES, RecognitionOptions
from mxface.train.config import TrainConfig, require, require_finite
from mxface.train.process_group import TIMEOUT_S

log = logging.getLogger(__name__)

MARGINS = ("loss_s", "loss_m1", "loss_m2", "loss_m3")
TRIPLETS = ("images_per_identity", "triplet_alpha", "triplet_bag_size", "triplet_max_ap")
LOSS_SETTINGS: Mapping[str, Sequence[str]] = {
    # of 2019's recognition/train.py
    "softmax": (),
    "margin_softmax": MARGINS,
    "triplet": TRIPLETS,
    "atriplet": TRIPLETS,
    # of 2019's src/
    "threshold_margin": ("loss_s", "loss_m2", "loss_easy_margin"),
    "intra": (*MARGINS, "loss_intra_weight"),
    "inter": (*MARGINS, "loss_inter_weight"),
    "centre_softmax": ("loss_centre_weight", "loss_centre_alpha"),
    # younger ones
    "sub_centre": (*MARGINS, "loss_sub_centres"),
    "curricularface": ("loss_s", "loss_m2"),
    "magface": ("loss_s", "loss_la", "loss_ua", "loss_lm", "loss_um", "loss_lambda_g"),
    "adaface": ("loss_s", "loss_m", "loss_h"),
}
"""Every `loss_name`, and the keys that it reads and others do not."""
LOSS_NAMES = tuple(LOSS_SETTINGS)
NAME_KEYS = frozenset(("network", "dataset", "loss", "num_workers"))  # written by generate_config itself
ENGINES = ("torch", "mxnet")
NETWORK_FAMILIES = ("recognition", "src")  # whose networks end in an embedding
DEFAULT_KINDS: Mapping[str, type] = {
    **dict.fromkeys(("models_root", "pretrained", "lr_steps", "kvstore"), str),
    **dict.fromkeys(("lr", "wd", "mom"), float),
    **dict.fromkeys(("pretrained_epoch", "ckpt", "per_batch_size", "verbose", "frequent"), int),
}
"""The keys of `default` that are flags' values."""
SHORTEST_TIMEOUT_S = 1  # some times `mxface.ranks.BEAT_S`
LONGEST_TIMEOUT_S = 10**7  # what all of torch's clocks can count to
OTHER_KEYS = frozenset(("net_family", "net_name", "max_steps", "ckpt_embedding", "count_flops"))


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The loss: its formula is in `mxface.losses`, which of the keys are its own in `LOSS_SETTINGS`.

    `loss_s` is the scale of cosines, `loss_m2`, `loss_lm` and `loss_um` are angles in radians, `loss_la` and `loss_ua`
    lengths of embeddings.
    """

    loss_name: str
    loss_s: float = 64.0
    loss_m1: float = 1.0
    loss_m2: float = 0.0
    loss_m3: float = 0.0
    loss_easy_margin: bool = False
    loss_intra_weight: float = 0.0
    loss_inter_weight: float = 0.0
    loss_centre_weight: float = 0.003
    loss_centre_alpha: float = 0.5
    loss_sub_centres: int = 3
    loss_la: float = 10.0
    loss_ua: float = 110.0
    loss_lm: float = 0.45
    loss_um: float = 0.8
    loss_lambda_g: float = 35.0
    loss_m: float = 0.4
    loss_h: float = 0.333
    ce_loss: bool = True
    fc7_no_bias: bool = False
    fc7_lr_mult: float = 1.0
    fc7_wd_mult: float = 1.0
    images_per_identity: int = 0
    triplet_alpha: float = 0.0
    triplet_bag_size: int = 0
    triplet_max_ap: float = 0.0

    def __post_init__(self) -> None:
        require(self.loss_name in LOSS_NAMES, "loss_name", self.loss_name, "one of " + ", ".join(LOSS_NAMES))
        require(self.loss_s > 0, "loss_s", self.loss_s, "a scale above 0")
        require(self.loss_m1 >= 0, "loss_m1", self.loss_m1, "a factor of 0 or more")
        require(self.fc7_lr_mult >= 0, "fc7_lr_mult", self.fc7_lr_mult, "a factor of 0 or more")
        require(self.fc7_wd_mult >= 0, "fc7_wd_mult", self.fc7_wd_mult, "a factor of 0 or more")
        require(self.loss_intra_weight >= 0, "loss_intra_weight", self.loss_intra_weight, "a weight of 0 or more")
        require(self.loss_inter_weight >= 0, "loss_inter_weight", self.loss_inter_weight, "a weight of 0 or more")
        require(self.triplet_alpha >= 0, "triplet_alpha", self.triplet_alpha, "a margin of 0 or more")
        require(self.triplet_max_ap >= 0, "triplet_max_ap", self.triplet_max_ap, "a distance above 0, or 0 for any")
        require_finite(self)

    @property
    def is_triplet(self) -> bool:
        """Whether there are no classes in the loss."""
        return self.loss_name in ("triplet", "atriplet")

    @property
    def is_plain(self) -> bool:
        """Whether logits are plain products, not cosines."""
        return self.loss_name in ("softmax", "centre_softmax")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The data set; `image_shape` is (height, width, channels), `data_cutoff` a side in pixels (0: off)."""

    dataset_path: Path
    image_shape: tuple[int, ...]
    num_classes: int | None = None
    val_targets: tuple[str, ...] = ()
    data_rand_mirror: bool = True
    data_cutoff: int = 0
    data_color: int = 0
    data_images_filter: int = 0

    def __post_init__(self) -> None:
        shape = self.image_shape
        square = len(shape) == 3 and shape[0] == shape[1] > 0 and shape[2] == 3
        require(square, "image_shape", shape, "(height, width, 3) of a square image, such as (112, 112, 3)")
        require(self.num_classes is None or self.num_classes > 0, "num_classes", self.num_classes, "a count above 0")
        require(self.data_cutoff >= 0, "data_cutoff", self.data_cutoff, "a side in pixels, or 0")
        require(self.data_color in (0, 1, 2), "data_color", self.data_color, "0, 1 (jitter) or 2 (jitter and JPEG)")
        require(self.data_images_filter >= 0, "data_images_filter", self.data_images_filter, "a number of images, or 0")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that one run of `recognition/train.py` is told."""

    prefix: Path
    net_family: str
    net_name: str
    network: RecognitionOptions
    loss: LossConfig
    data: DataConfig
    train: TrainConfig
    ckpt_embedding: bool
    count_flops: bool
    pretrained: str
    pretrained_epoch: int
    resume: bool
    threads: int
    device: str | None
    ranks: int = 1
    engine: str = "torch"
    workers: int = 0
    max_damaged: float = DAMAGED_LIMIT
    rank_timeout: float = TIMEOUT_S
    parall: bool = False  # train_parall.py's rules and lines
    pretrained_symbol: bool = False  # src/train_triplet.py: the pretrained model's own graph is trained

    def __post_init__(self) -> None:
        require(self.pretrained_epoch >= 0, "pretrained_epoch", self.pretrained_epoch, "a number of 0 or more")
        require(self.ranks >= 1, "ranks", self.ranks, "a number of processes above 0")
        require(self.engine in ENGINES, "engine", self.engine, " or ".join(ENGINES))
        timeout = f"a number of seconds from {SHORTEST_TIMEOUT_S} to {LONGEST_TIMEOUT_S}"
        require(
            SHORTEST_TIMEOUT_S <= self.rank_timeout <= LONGEST_TIMEOUT_S, "rank_timeout", self.rank_timeout, timeout
        )
        workers = f"a number of processes up to {MOST_WORKERS}, or 0 for threads"
        require(0 <= self.workers <= MOST_WORKERS, "workers", self.workers, workers)
        require(0 <= self.max_damaged <= 1, "max_damaged", self.max_damaged, "a share of the images in [0, 1]")
        threads = f"a number of CPU threads up to {MOST_WORKERS}, or 0 for its share of the cores"
        require(0 <= self.threads <= MOST_WORKERS, "threads", self.threads, threads)
        if self.engine == "mxnet":
            require_mxnet_can(self)


Part = TypeVar("Part", RecognitionOptions, LossConfig, DataConfig)


def read_part(part: type[Part], settings: Mapping[str, Any]) -> Part:
    """One of these dataclasses, from the merged `config` table; an absent key or a wrong kind is an error."""
    values = {}
    hints = get_type_hints(part)
    for field in fields(part):
        if field.name in settings:
            values[field.name] = convert(field.name, hints[field.name], settings[field.name])
        elif field.default is MISSING:
            raise ConfigError(
                f"config has no {field.name}: the chosen entries of network, dataset and loss must set it"
            )
    return part(**values)


def read_defaults(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The `default` table, each flag's value of its kind; an absent one is an error."""
    for name in DEFAULT_KINDS:
        if name not in defaults:
            raise ConfigError(f"default has no {name}; take its line from sample_config.py")
    return {**defaults, **{name: convert(name, kind, defaults[name]) for name, kind in DEFAULT_KINDS.items()}}


def read_network(settings: Mapping[str, Any]) -> tuple[str, RecognitionOptions]:
    """The family that `net_name` is of, and the options of its networks."""
    family = str(settings.get("net_family", NETWORK_FAMILIES[0]))
    require(family in NETWORK_FAMILIES, "net_family", family, "one of " + ", ".join(NETWORK_FAMILIES))
    options: type[RecognitionOptions] = FAMILIES[family].options
    return family, read_part(options, settings)


def convert(name: str, kind: Any, value: Any) -> Any:
    """`value` as the `kind` that a field declares; 2019's files write 1 for True and lists for tuples."""
    item, *others = get_args(kind) or (kind,)
    if type(None) in others and value is None:
        return None
    if get_origin(kind) is tuple:
        require(isinstance(value, (list, tuple)), name, value, f"a list of {item.__name__}")
        return tuple(convert(name, item, element) for element in value)
    if item in (str, Path):
        require(isinstance(value, (str, Path)), name, value, "a text")
    else:
        require(isinstance(value, (bool, int, float)), name, value, "a number")
        require(item is float or int(value) == value, name, value, "a whole number")
    return item(value)


def warn_unknown_keys(settings: Mapping[str, Any], defaults: Mapping[str, Any], source: Path) -> None:
    """Say which keys of the merged `config` table nobody reads, each with the nearest known one."""
    parts = (RecognitionOptions, LossConfig, DataConfig)
    known = {field.name for part in parts for field in fields(part)} | NAME_KEYS | OTHER_KEYS | set(defaults)
    for key in sorted(set(settings) - known):
        near = difflib.get_close_matches(key, known, n=1)
        log.warning("%s: unknown key %r is ignored%s", source, key, f"; did you mean {near[0]!r}?" if near else "")


def warn_unused_loss_keys(settings: Mapping[str, Any], loss: LossConfig, source: Path) -> None:
    """Say which keys of the merged `config` table were set for another loss than the chosen one."""
    of_losses = {key for keys in LOSS_SETTINGS.values() for key in keys}
    usual = {field.name: field.default for field in fields(LossConfig)}
    unused = of_losses.intersection(settings).difference(LOSS_SETTINGS[loss.loss_name])
    names = ", ".join(sorted(key for key in unused if settings[key] != usual[key]))
    if names:
        log.warning("%s: %s: no effect with loss_name %s", source, names, loss.loss_name)


def resolve_dataset_path(path: Path, config_folder: Path) -> Path:
    """The first `path` that exists under the working directory, the config's folder, the command's folder, the root."""
    candidates = list(
        dict.fromkeys((folder / path).resolve() for folder in (Path.cwd(), config_folder, *search_folders()))
    )
    found = next((candidate for candidate in candidates if candidate.is_dir()), None)
    if found is None:
        places = ", ".join(map(str, candidates))
        raise ConfigError(f"dataset_path {path} is not a folder: looked for {places}; put the data there or change it")
    return found
