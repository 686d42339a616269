"""Verification during training: 2019's lines, and the model that its rule keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from mxface.eval.protocol import PairSet, verify
from mxface.ranks import Ranks
from mxface.train.checkpoint import SaveRule
from mxface.train.learner import Trainee
from mxface.train.log import RunLog
from mxface.train.watch import Watch

SINGLE = Ranks.single()


class Judge:
    """Verifies `learner` on `pair_sets`; where the rule says so, `save(number)` writes the model (its path).

    Every rank has a judge; `save` is called on all of them, and the main one writes.
    """

    def __init__(
        self,
        learner: Trainee,
        pair_sets: Sequence[PairSet],
        rule: SaveRule,
        save: Callable[[int], Path],
        *,
        batch_size: int,
        log: RunLog,
        ranks: Ranks = SINGLE,
        watch: Watch | None = None,
    ) -> None:
        self._learner = learner
        self._rule = rule
        self._pair_sets = pair_sets
        self._save = save
        self._batch_size = batch_size
        self._log = log
        self._ranks = ranks
        self._watch = watch

    def verify(self, step: int) -> None:
        """One verification after batch `step`, by all ranks together; the main one's figures count."""
        self._learner.average_statistics()
        accuracies = []
        for pairs in self._pair_sets:
            result = verify(
                self._learner.embed, pairs, batch_size=self._batch_size, progress=self._ranks.is_main, say=self._log.say
            )
            self._log.say(f"[{pairs.name}][{step}]XNorm: {result.xnorm:f}")
            self._log.say(f"[{pairs.name}][{step}]Accuracy-Flip: {result.acc2:1.5f}+-{result.std2:1.5f}")
            self._log.scalars(step, {f"{pairs.name}/accuracy_flip": result.acc2, f"{pairs.name}/xnorm": result.xnorm})
            accuracies.append(result.acc2)
            if self._watch is not None:
                self._watch.verification(pairs.name, result.acc2)
        # another machine's processor may round otherwise, and the ranks must not disagree about saving
        accuracies = self._ranks.broadcast_(torch.tensor(accuracies, dtype=torch.float64)).tolist()
        number = self._rule.number_to_save(accuracies)
        if number is not None:
            self._log.say(f"saving {number}")
            self._log.mxnet_line(f'Saved checkpoint to "{self._save(number)}"')
        self._log.say(f"[{step}]Accuracy-Highest: {self._rule.best_last:1.5f}")
