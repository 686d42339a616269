"""What learns: the backbone, the head over the classes, and their optimiser, on one device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel

from mxface.errors import DataError
from mxface.graph import Symbol
from mxface.loaders import Batch
from mxface.losses import HeadOutput, SoftmaxHead
from mxface.losses.triplet import TripletHead
from mxface.lower import export_params, lower
from mxface.ranks import Ranks
from mxface.runtime.heap import keep_freed_memory
from mxface.train.compile import compiled
from mxface.train.config import TrainConfig
from mxface.train.guard import NotFiniteError, require_finite_gradient
from mxface.train.optimizer import NO_MULTIPLIERS, SGD, Multipliers
from mxface.train.schedule import margin_share

Arrays = dict[str, npt.NDArray[np.float32]]
Check = Callable[[HeadOutput], None]
SINGLE = Ranks.single()


class TrainedBatch(NamedTuple):
    """What a batch gave: the head's output, and this rank's embeddings (b, D) without their graph."""

    output: HeadOutput
    embedding: Tensor


def require_labels(label: npt.NDArray[np.int64], num_classes: int) -> None:
    """Raise DataError for a label (B,) that is no class."""
    wrong = label[(label < 0) | (label >= num_classes)]
    if len(wrong):
        raise DataError(
            f"label {wrong[0]} in the data, but num_classes is {num_classes}; correct `property` or the config"
        )


def copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy each source into its target; a network without BatchNorm has none, which torch would refuse."""
    if targets:
        torch._foreach_copy_(targets, sources)


class _SeenError(Exception):
    """Ends a head's step where its output is known."""

    def __init__(self, output: HeadOutput) -> None:
        super().__init__()
        self.output = output


class Trainee(Protocol):
    """What the loop trains, whatever engine computes it."""

    device: torch.device

    def train_batch(self, batch: Batch, *, step: int, lr: float, check: Check) -> TrainedBatch:
        """One update, number `step` (from 1). `check` sees the loss before anything is changed, and may raise."""

    def preview(self, batch: Batch, *, step: int) -> HeadOutput:
        """What `batch` as number `step` would give with the parameters as they are; nothing is changed."""

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Raw embeddings (B, D) of RGB images (B, H, W, 3), with the moving statistics; this rank's work alone."""

    def average_statistics(self) -> None:
        """Make the moving statistics the mean of those of all ranks; before they are used or saved."""

    def tensors(self) -> dict[str, Tensor]:
        """All that training changes, by name: `backbone/…`, `momentum/…`, `head/…`."""

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what a reader filled the tensors of `tensors()` with; other names in the table are passed over."""

    def export(self, *, with_head: bool = True) -> tuple[Arrays, Arrays]:
        """Arguments and auxiliary states, by MXNet's names; all ranks call, and the main one has the whole head."""


class Learner:
    """One network in training. B images of a batch over all ranks, b of this one; D values of an embedding, C classes.

    `embedding` is the graph up to `fc1_output`, `params` the start of its arguments and auxiliary states. Of many
    `ranks` each has the whole backbone and its part of the head; they start alike and stay alike, but for BatchNorm's
    moving statistics, each rank's of its own images. `param_dtype` float64 is for proofs.
    """

    def __init__(
        self,
        embedding: Symbol,
        params: Mapping[str, npt.NDArray[np.float32]],
        head: SoftmaxHead | TripletHead,
        config: TrainConfig,
        *,
        device: torch.device,
        multipliers: Multipliers = NO_MULTIPLIERS,
        ranks: Ranks = SINGLE,
        param_dtype: torch.dtype = torch.float32,
    ) -> None:
        self.device = device
        self.ranks = ranks
        if device.type == "cpu":
            keep_freed_memory()  # a third of a step goes into page faults otherwise (docs/LOG.md)
        backbone = lower(embedding, params).to(device, param_dtype)
        self.backbone = backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._param_dtype = param_dtype
        trained: nn.Module = compiled(self.backbone, device) if config.compile else self.backbone
        self._trained = trained if ranks.count == 1 else _averaged_over_ranks(trained, device)
        self.head = head.to(device)
        self.optimizer = SGD(
            self.backbone.named_parameters(), lr=config.lr, momentum=config.mom, wd=config.wd, multipliers=multipliers
        )
        self._config = config
        self._multipliers = multipliers
        self._statistics = list(self.backbone.buffers())
        self._statistics_before = [torch.empty_like(statistic) for statistic in self._statistics]

    def train_batch(self, batch: Batch, *, step: int, lr: float, check: Check) -> TrainedBatch:
        """One update, number `step` (from 1); see `Trainee`."""
        self._begin(step)
        images, label = self.fetch(batch)
        copy_all(self._statistics_before, self._statistics)
        try:
            embedding = self.forward(images)
            output = self.step(embedding, label, step=step, lr=lr, check=check)
        except NotFiniteError:
            copy_all(self._statistics, self._statistics_before)  # the forward wrote them
            self.optimizer.zero_grad()
            raise
        return TrainedBatch(output, embedding.detach())

    @torch.no_grad()
    def preview(self, batch: Batch, *, step: int) -> HeadOutput:
        """What `batch` as number `step` would give; see `Trainee`."""

        def look(output: HeadOutput) -> None:
            raise _SeenError(output)

        self._begin(step)
        images, label = self.fetch(batch)
        # a training forward writes BatchNorm's statistics, and 1 into its fixed gammas
        written = {name: tensor.clone() for name, tensor in self.backbone.state_dict().items() if tensor.ndim == 1}
        with self._autocast():
            embedding: Tensor = functional_call(self.backbone, written, (images,))
        try:
            self.head.step(embedding, label, lr=0.0, momentum=0.0, wd=0.0, check=look, step=step)
        except _SeenError as seen:
            return seen.output
        raise AssertionError("a head shows its output before it changes anything")

    def _begin(self, step: int) -> None:
        """What follows from the number of the step alone."""
        # dropout's masks follow from these: a resumed run has the same, and a state need not hold a generator
        entropy = np.random.SeedSequence((self._config.seed, step, self.ranks.rank))
        torch.manual_seed(int(entropy.generate_state(1, np.uint64)[0]))
        self.head.margin_share = margin_share(step, self._config.margin_warmup)

    def fetch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images (b, 3, H, W) in channels_last order, 0..255, and labels (b,), on the device."""
        if isinstance(self.head, SoftmaxHead):  # triplets compare labels with one another alone
            require_labels(batch.label, self.head.config.num_classes)
        return self._images(batch.data), torch.from_numpy(batch.label).to(self.device)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (b, D) with their graph for `step`."""
        with self._autocast():
            embedding: Tensor = self._trained(images)
        return embedding

    def rehearse(self, data: npt.NDArray[np.uint8]) -> None:
        """Forward and backward of images (b, H, W, 3) by this rank alone; nothing comes of it but the use of memory."""
        copy_all(self._statistics_before, self._statistics)
        with self._autocast():
            embedding: Tensor = self.backbone(self._images(data))
        # not `backward`: DDP counts the gradients that arrive at parameters
        parameters = [parameter for parameter in self.backbone.parameters() if parameter.requires_grad]
        torch.autograd.grad(embedding, parameters, torch.zeros_like(embedding), allow_unused=True)
        copy_all(self._statistics, self._statistics_before)

    def step(self, embedding: Tensor, label: Tensor, *, lr: float, check: Check, step: int = 0) -> HeadOutput:
        """Loss, backward and update of everything. `check` sees the loss before anything is changed, and may raise.

        NotFiniteError: the backbone's gradient is not finite; the backbone is as it was, the centres have moved.
        """
        output, grad_embedding = self.head.step(
            embedding.detach(),
            label,
            lr=lr,
            momentum=self._config.mom,
            wd=self._config.wd,
            lr_mult=self._multipliers.lr,
            wd_mult=self._multipliers.wd,
            check=check,
            step=step,
        )
        # the gradient is of the mean over all ranks' rows; that of the parameters will be averaged over the ranks
        torch.autograd.backward(embedding, grad_embedding.to(embedding.dtype) * self.ranks.count)
        require_finite_gradient(self.optimizer.clip(self._config.clip_grad))
        self.optimizer.lr = lr
        self.optimizer.step()
        self.optimizer.zero_grad()
        return output

    @torch.inference_mode()
    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Raw embeddings (B, D) of RGB images (B, H, W, 3); see `Trainee`."""
        self.backbone.eval()
        try:
            with self._autocast():
                embedding: Tensor = self.backbone(self._images(images))
        finally:
            self.backbone.train()
        return embedding.float().cpu().numpy()

    @torch.no_grad()
    def average_statistics(self) -> None:
        """The mean over ranks, as MXNet's `get_params` gave it over GPUs."""
        if self.ranks.count == 1 or not self._statistics:
            return
        together = self.ranks.mean_(torch.cat([statistic.flatten() for statistic in self._statistics]))
        means = torch.split(together, [statistic.numel() for statistic in self._statistics])
        for statistic, mean in zip(self._statistics, means, strict=True):
            statistic.copy_(mean.view_as(statistic))

    def tensors(self) -> dict[str, Tensor]:
        """All that training changes, by name; the tensors themselves, so that filling them resumes a run."""
        parts = {
            "backbone": self.backbone.state_dict(),
            "momentum": self.optimizer.state_dict(),
            "head": self.head.state_dict(),
        }
        return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Nothing: filling the tensors of `tensors()` has done it."""

    def export(self, *, with_head: bool = True) -> tuple[Arrays, Arrays]:
        """Arguments and auxiliary states, by MXNet's names; see `Trainee`."""
        args, aux = export_params(self.backbone)
        if with_head:
            for name, parameter in self.head.named_parameters():
                args[name] = self.ranks.collect_rows(parameter.detach().cpu()).numpy()
        return args, aux

    def _images(self, data: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> Tensor:
        images = torch.from_numpy(data)
        if self.device.type == "cuda":
            images = images.pin_memory().to(self.device, non_blocking=True)
        # a view: NHWC memory is what channels_last means
        return images.permute(0, 3, 1, 2).to(self._param_dtype)

    @property
    def is_bf16(self) -> bool:
        """Whether the backbone's products are bfloat16."""
        return self._config.dtype == "bf16"

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_bf16)


def _averaged_over_ranks(backbone: nn.Module, device: torch.device) -> nn.Module:
    """`backbone`, whose gradients become their mean over ranks, a bucket at a time while the backward goes on.

    The overlap is DDP's work, from the third batch on. Moving statistics stay each rank's own. `static_graph` lets
    parameters be that no gradient reaches.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "`broadcast_buffers` is deprecated", FutureWarning
        )  # its heir is of torch 2.13
        return DistributedDataParallel(
            backbone,
            device_ids=[device] if device.type == "cuda" else None,
            init_sync=False,  # all start from the same files and seed, and the command asks whether they did
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
            static_graph=True,
        )
