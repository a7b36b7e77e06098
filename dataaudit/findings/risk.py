"""Fuses detector scores into one risk for every sample.

Carriers of an accepted campaign lie in [0.5, 1]: there the group's evidence speaks.  Everyone else lies
below 0.5, ordered by a weighted noisy-or of the detectors' scores: a single sample that looks odd is
worth a look, but it is no campaign, and real data always has some.  Hence the default threshold of 0.5
flags nobody in a data set without a campaign.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.5
# How much a detector's highest score alone says about a sample: trigger mining weighs the group's evidence
# already, disagreement with the label is the best single lead, the others mostly have innocent causes.
WEIGHTS = {
    "pixel_trigger": 0.9,
    "token_trigger": 0.9,
    "caption_concentration": 0.9,
    "pair_consistency": 0.8,
    "label_consistency": 0.6,
    "hidden_text": 0.6,
    "entity_stance": 0.6,
    "response_anomaly": 0.6,
    "recurring_payload": 0.6,
    "near_duplicate": 0.2,
    "outlier": 0.2,
    "pair_outlier": 0.2,
    "proxy": 0.2,
}
OTHER_WEIGHT = 0.3
SECOND = {"label_consistency": "pair_consistency"}
"""A detector that compares less of the same counts `SECOND_WEIGHT` where the other is there too: one word of a caption beside all of it."""
SECOND_WEIGHT = 0.2


def fuse(scores: Mapping[str, NDArray[np.float32]], campaign: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """Risk of n samples in [0, 1].

    `scores` are (n,) by detector; `campaign` (n,) is the risk of the campaign a sample carries, 0 for none;
    `own` (n,) is the sample's score by the detector that found that campaign.
    """
    innocent = np.ones(len(campaign))
    for name, score in scores.items():
        weight = SECOND_WEIGHT if SECOND.get(name) in scores else WEIGHTS.get(name, OTHER_WEIGHT)
        innocent *= 1 - weight * score.astype(np.float64)
    base = 1 - innocent
    carrier = campaign > 0
    # The last term only breaks ties between carriers of one campaign.
    accused = THRESHOLD + (1 - THRESHOLD) * campaign * (0.5 + 0.45 * own + 0.05 * base)
    return np.where(carrier, accused, 0.499 * base)
