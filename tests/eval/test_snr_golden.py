"""Every value of golden_snr.json, at 1e-9, or why ours is another."""

import json

import numpy as np
import pytest

from eval.intervals import Clusters
from eval.snr.decisions import decision_accuracy
from eval.snr.ratio import ratio, relative_noise, relative_signal, signal_to_noise
from eval.snr.scores import Measure, Scores
from eval.snr.spreads import by_spread
from eval.snr.training import Course

RTOL = 1e-9

KEYS = {  # each has a test below
    "signal_to_noise_ratio (snr/metrics.py:4)",
    "small_scale_pooled (snr/snr_simple.py:50-62)",
    "small_scale_pooled_limit_25_models",
    "decision_acc_fast (snr/metrics.py:18)",
    "compute_decision_accuracy ranked lists (snr/stats.py:40)",
    "compute_2_class (snr/metaanalysis.py:26)",
    "snr_variants (snr/snr_variants.py) AGGREGATION_FUNCTIONS",
    "mask compute_snr (snr/mask_analysis.py:17)",
    "stats (snr/stats.py:9-38)",
    "metaanalysis SNR (snr/metaanalysis.py SNR block: pandas std ddof=1 / numpy std ddof=0)",
}
LADDER = "ladder (OLMo-ladder signal-to-noise src/fitting/step1.py,step2.py,predict.py)"
"""A law of language models' loss by parameters and tokens: pickers have no such ladder, and there
is nothing of it here."""


@pytest.fixture(scope="module")
def golden(data):
    return json.loads((data / "golden" / "golden_snr.json").read_text())["golden"]


def exact(value):
    return pytest.approx(value, rel=RTOL, abs=0)


def test_check_1_signal_to_noise_is_the_reference_value(golden):
    cases = golden["signal_to_noise_ratio (snr/metrics.py:4)"]
    assert len(cases) == 10
    for case in cases:
        found = signal_to_noise(case["signal_scores"], case["noise_scores"])
        if case["expected"] == "inf":
            assert found is None, case  # zero noise says nothing
        else:
            assert found == exact(case["expected"]), case


def test_check_1_noise_within_families_is_the_reference_value(golden):
    case = golden["small_scale_pooled (snr/snr_simple.py:50-62)"]
    scores = np.array(case["scores_mix_by_ckpt"])
    noise = relative_noise(list(scores))
    assert noise * scores.mean() == exact(case["honest_within_std_ddof0"])
    assert ratio(relative_signal(scores.mean(axis=1)), noise) == exact(case["honest_snr"])
    many = np.random.default_rng(0).normal(0.5, 0.05, (25, 1))
    many = many + np.random.default_rng(1).normal(0, 1e-4, (25, 5))
    found = ratio(relative_signal(many.mean(axis=1)), relative_noise(list(many)))
    assert found == exact(golden["small_scale_pooled_limit_25_models"]["honest"])


def test_check_1_decision_accuracy_is_the_reference_value_but_for_ties(golden):
    right = {  # where the reference depends on the order of tied candidates, or scores NaN 1.0
        "tie_in_small_target_ascending": (0.5 + 1 + 1) / 3,
        "tie_in_small_target_descending": (0.5 + 1 + 1) / 3,
        "tie_in_target": (0.5 + 1 + 1) / 3,
    }
    for case in golden["decision_acc_fast (snr/metrics.py:18)"]:
        small, target = (np.array(case[name], np.float64) for name in ("small", "target"))
        if case["case"] == "nan_small":
            with pytest.raises(ValueError, match="none NaN"):
                decision_accuracy(small, target)
        elif case["expected"] == "nan":
            assert np.isnan(decision_accuracy(small, target))
        else:
            wanted = right.get(case["case"], case["expected"])
            assert decision_accuracy(small, target) == exact(wanted), case
    case = golden["mask compute_snr (snr/mask_analysis.py:17)"]
    models, small = (np.array(case[n]) for n in ("model_by_instance", "small_by_instance"))
    for mask, name in ((slice(None), "all"), (np.array(case["mask"]), "masked")):
        found = decision_accuracy(small[:, mask].mean(axis=1), models[:, mask].mean(axis=1))
        assert found == exact(case[f"decision_acc_{name}"])
    for case in golden["compute_2_class (snr/metaanalysis.py:26)"]:
        first, second = ([-names.index(n) for n in "abcd"] for names in (case["a"], case["b"]))
        assert decision_accuracy(first, second) == exact(case["expected"])


def test_check_12_holds_where_the_reference_pools_signal_into_noise(golden):
    case = golden["small_scale_pooled (snr/snr_simple.py:50-62)"]
    scores = np.array(case["scores_mix_by_ckpt"])
    means = scores.mean(axis=1)
    quiet = means[:, None] + (scores - means[:, None]) / 10
    loud, low = (
        ratio(relative_signal(means), relative_noise(list(each))) for each in (scores, quiet)
    )
    assert loud is not None and low == exact(10 * loud)


def test_check_1_pooling_is_the_reference_value_and_not_ours(golden):
    """Signal pooled into noise: the ratio says the same whatever the noise is."""
    case = golden["small_scale_pooled (snr/snr_simple.py:50-62)"]
    scores = np.array(case["scores_mix_by_ckpt"])
    means = scores.mean(axis=1)
    quiet = means[:, None] + (scores - means[:, None]) / 10
    for each, name in ((scores, ""), (quiet, "_when_noise_divided_by_10")):
        pooled = case["seed_expected_pooled" if not name else f"seed_pooled{name}"]
        assert signal_to_noise(means, each.ravel()) == exact(pooled)
        honest = ratio(relative_signal(means), relative_noise(list(each)))
        assert honest == exact(case[f"honest_snr{name}"])
    many = np.random.default_rng(0).normal(0.5, 0.05, (25, 1))
    many = many + np.random.default_rng(1).normal(0, 1e-4, (25, 5))
    case = golden["small_scale_pooled_limit_25_models"]
    assert signal_to_noise(many.mean(axis=1), many.ravel()) == exact(case["seed_expected"])


def test_check_1_ranked_lists_are_the_reference_value(golden):
    for case in golden["compute_decision_accuracy ranked lists (snr/stats.py:40)"]:
        first, second = case["rank_1b"], case["rank_size"]
        both = [name for name in first if name in second]  # ours wants the same candidates
        ranks = [[-names.index(n) for n in both] for names in (first, second)]
        assert decision_accuracy(*ranks) == exact(case["expected"])
        if both != first:
            k = len(second)
            other = Scores(tuple(second), np.linspace(0, 1, k), np.eye(k), 9, False)
            with pytest.raises(ValueError, match="none of"):
                other.of(first)


def test_check_1_masked_triples_are_the_reference_value(golden):
    """Kept instances: signal is the deviation of models, noise that of the last 30 steps."""
    case = golden["mask compute_snr (snr/mask_analysis.py:17)"]
    models, steps = (np.array(case[f"{name}_by_instance"]) for name in ("model", "step"))
    for mask, name in ((np.full(6, True), "all"), (np.array(case["mask"]), "masked")):
        scores, last = models[:, mask].mean(axis=1), steps[:, mask].mean(axis=1)[-30:]
        noise = relative_noise([last])
        signal, own, snr = by_spread(scores, float(last.std()), last)["rms_deviation"]
        assert own == exact(noise)
        triple = ratio(signal / last.mean(), noise), signal / last.mean(), noise
        assert triple == exact(case[f"snr_relsignal_relnoise_{name}"])
        assert snr == exact(triple[0] * last.mean())


def test_check_1_every_spread_is_the_reference_value(golden):
    case = golden["snr_variants (snr/snr_variants.py) AGGREGATION_FUNCTIONS"]
    found = by_spread(
        case["data_scores"],
        float(np.mean(case["step_noise"])),
        case["data_scores_last_n"],
        float(np.mean(case["data_noise"])),
    )
    wanted = {each["func"]: each["signal_noise_snr"] for each in case["expected"].values()}
    wanted |= case["not_in_table"]
    assert {f"{name}_snr" for name in found} == set(wanted)
    for name, triple in found.items():
        assert triple == exact(wanted[f"{name}_snr"]), name


def test_check_1_the_course_of_a_training_is_the_reference_value(golden):
    case = golden["stats (snr/stats.py:9-38)"]
    course = Course.of(case["arr"])
    assert course.total_variation == exact(case["total_variation"])
    assert course.relative_variation == exact(case["tv_norm"])
    assert course.total_variation - course.improvement == exact(case["tv_improvement"])
    assert course.relative_variation - course.improvement == exact(case["tv_norm_improvement"])
    assert course.monotonicity == exact(case["monotonicity"])
    assert course.improvement == exact(case["improvement"])
    assert course.improvement_of_means(2) == exact(case["improvement_last_n_2"])


def test_check_1_the_error_of_a_share_is_the_reference_value(golden):
    """Of single rows: the deviation of a share, for as many rows as the reference has."""
    case = golden["stats (snr/stats.py:9-38)"]
    of = np.stack([np.arange(25) < 22, np.arange(25) < 20], axis=1).astype(float)
    measure = Measure(
        "recall", "P", ("a", "b"), of, np.ones_like(of), Clusters(None, None), False, 0.03
    )
    variance = measure.scores(seed=0).covariance[0, 0]  # of 25 rows, one of which the mean takes
    assert np.sqrt(variance * 24 / 32_144) == exact(case["standard_error_p0_88_n32144"])


def test_check_1_a_deviation_as_signal_is_the_reference_value(golden):
    [key] = [key for key in golden if key.startswith("metaanalysis SNR")]
    case = golden[key]
    models, steps = np.array(case["models"]), np.array(case["steps"])
    triple = by_spread(models, float(steps.std()), steps, float(models.std(ddof=1)))["rel_std"]
    assert triple[2] == exact(case["expected"])


def test_check_1_no_golden_value_is_left_out(golden):
    """A key that is new in the file has no test yet."""
    assert set(golden) == {*KEYS, LADDER}
