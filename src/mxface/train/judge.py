"""Verification during training: 2019's lines, and the model that its rule keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from mxface.eval.protocol import EmbeddedViews, PairSet, embed_views, judge_views
from mxface.ranks import Ranks
from mxface.train.checkpoint import SaveRule
from mxface.train.learner import Trainee
from mxface.train.log import RunLog
from mxface.train.watch import Watch

SINGLE = Ranks.single()


class Judge:
    """Verifies `learner` on `pair_sets`; where the rule says so, `save(number)` writes the model (its path).

    Every rank has a judge and, of each set, its share of the pictures; `batch_size` is of all ranks together. `save` is
    called on all of them, and the main one writes.
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
            xnorm, accuracy, deviation = self._figures(pairs)
            self._log.say(f"[{pairs.name}][{step}]XNorm: {xnorm:f}")
            self._log.say(f"[{pairs.name}][{step}]Accuracy-Flip: {accuracy:1.5f}+-{deviation:1.5f}")
            self._log.scalars(step, {f"{pairs.name}/accuracy_flip": accuracy, f"{pairs.name}/xnorm": xnorm})
            accuracies.append(accuracy)
            if self._watch is not None:
                self._watch.verification(pairs.name, accuracy)
        number = self._rule.number_to_save(accuracies)
        if number is not None:
            self._log.say(f"saving {number}")
            self._log.mxnet_line(f'Saved checkpoint to "{self._save(number)}"')
        self._log.say(f"[{step}]Accuracy-Highest: {self._rule.best_last:1.5f}")

    def _figures(self, pairs: PairSet) -> tuple[float, float, float]:
        """XNorm, accuracy and its deviation: each rank embeds its pictures, the main one judges, and all are told.

        So they cannot disagree about saving, where another machine's processor rounds otherwise.
        """
        ranks = self._ranks
        self._log.say("testing verification..")
        with ranks.at_work():
            views = embed_views(
                self._learner.embed,
                pairs.images,
                batch_size=self._batch_size // ranks.count,
                name=pairs.name,
                progress=ranks.is_main,
            )
        plain, mirrored = (ranks.collect_rows(torch.from_numpy(view)).numpy() for view in (views.plain, views.mirrored))

        def judge() -> tuple[float, float, float]:
            result = judge_views(EmbeddedViews(plain, mirrored, views.seconds), pairs, say=self._log.say)
            return result.xnorm, result.acc2, result.std2

        return ranks.on_main(judge)
