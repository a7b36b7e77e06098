"""What every unit owes: a test of its own name, a docstring that explains it, settings that can be compared."""

import dataclasses
import inspect
from pathlib import Path

import pytest

from dataaudit.discovery import configured, units
from dataaudit.errors import ConfigurationError

TESTS = Path(__file__).parent
DETECTORS = units("dataaudit.detectors")
AGGREGATES = units("dataaudit.aggregates")
FEATURES = units("dataaudit.features")


def test_the_units_are_found():
    assert set(DETECTORS) >= {"label_consistency", "near_duplicate", "outlier", "pixel_trigger", "token_trigger"}
    assert set(AGGREGATES) >= {"targets", "moments", "knn"}
    assert set(FEATURES) >= {"embedding", "ngrams", "thumbnail"}


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_has_its_test(name):
    assert (TESTS / "detectors" / f"test_{name}.py").exists()


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_explains_itself(name):
    text = (inspect.getdoc(DETECTORS[name]) or "").lower()
    for part in ("attack", "signal", "innocent causes", "source"):
        assert f"{part}:" in text, f"{name} does not say {part!r}"


@pytest.mark.parametrize("unit", [*DETECTORS.values(), *AGGREGATES.values(), *FEATURES.values()])
def test_defaults_are_hashable_and_the_unit_frozen(unit):
    assert hash(unit()) == hash(unit())
    assert unit.__dataclass_params__.frozen


def test_an_unknown_setting_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="no setting 'min_cuont'"):
        configured("detectors.token_trigger", DETECTORS["token_trigger"], {"min_cuont": 3})


def test_a_setting_of_another_type_is_refused():
    name, unit = next(iter(DETECTORS.items()))
    field = dataclasses.fields(unit)[0].name
    with pytest.raises(ConfigurationError, match="must be"):
        configured(name, unit, {field: object()})
