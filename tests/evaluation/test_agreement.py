"""Bland-Altman by hand and against scipy's own interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from maskmatch_med.evaluation.agreement import Agreement, agreement_figure, agreements
from maskmatch_med.evaluation.report_tables import agreement_table
from maskmatch_med.evaluation.results import Evaluation
from maskmatch_med.evaluation.score import EvaluateOptions, score_case


def test_bias_and_limits_by_hand():
    found = Agreement("x", np.array([2.0, 4.0, 9.0]), np.array([1.0, 4.0, 7.0]))  # differences 1, 0, 2
    assert found.n == 3
    assert found.bias_ml == pytest.approx(1)
    assert found.sd_ml == pytest.approx(1)
    assert found.limits_ml == pytest.approx((1 - 1.96, 1 + 1.96))


def test_the_interval_of_the_bias_is_students():
    rng = np.random.default_rng(0)
    reference = rng.uniform(1, 5, 30)
    found = Agreement("x", reference + rng.normal(0.2, 0.5, 30), reference)
    expected = stats.ttest_1samp(found.differences_ml, 0).confidence_interval(0.95)
    assert found.bias_interval_ml == pytest.approx((expected.low, expected.high))
    assert found.correlation == pytest.approx(stats.pearsonr(found.predicted_ml, found.reference_ml).statistic)


def test_too_few_cases_give_no_number():
    one = Agreement("x", np.array([2.0]), np.array([1.0]))
    assert one.bias_ml == 1
    assert math.isnan(one.limits_ml[0])
    assert math.isnan(one.bias_interval_ml[0])
    line = agreement_table([one])[0]
    assert (line["bias"], line["limits"], line["correlation"], line["percent"]) == ("+1", "–", "–", "+100.0 %")
    assert len(agreement_figure({"": [one]}).axes) == 1


def test_cases_absent_on_both_sides_are_left_out():
    full, empty = np.ones((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    classes = {"a": 1, "b": 2}
    rows = score_case(full, full, (10, 10, 10), classes, case="x")
    rows += score_case(full, empty, (10, 10, 10), classes, case="y")
    (only,) = agreements(Evaluation(tuple(rows), classes, EvaluateOptions()))
    assert only.structure == "a"
    assert only.predicted_ml.tolist() == [64, 64]
    assert only.reference_ml.tolist() == [64, 0]
