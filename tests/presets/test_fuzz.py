"""The reader of models holds what `tests/fuzz/model_target.py` states, for a few hundred damaged files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from fuzz.model_target import Models


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    models = Models()
    yield models
    models.close()


def test_the_first_inputs_are_valid_models(models: Models) -> None:
    for name, content in models.files.items():
        models.try_model({name: content}, codes=True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of weights that are no numbers of a trained model
def test_damaged_files_are_refused_or_give_a_model_that_codes(models: Models) -> None:
    random = np.random.default_rng(0)
    for seed in models.seeds():
        models.check(seed)
        for number in range(30):
            data = bytearray(seed)
            for place in random.integers(
                1, len(data) if number % 2 else min(len(data), 600), random.integers(1, 4)
            ):
                data[place] = random.integers(256)
            data[0] |= 16
            models.check(bytes(data))
