"""The statistics of `analysis`: arrays in, frozen dataclasses out; no Django, no global random state.

A label is 1 for abnormal and 0 for normal; a higher score means more abnormal. A film whose score is not finite
(an unreadable film has NaN) is left out and counted in `left_out`. A value that cannot be computed is None, never
NaN, and `reason` explains why in a sentence for the user.
"""

from analysis.statistics.added_value import AddedValue, added_value
from analysis.statistics.agreement import Alpha, Kappa, cohen_kappa, krippendorff_alpha, repeat_kappa
from analysis.statistics.auroc import Auroc, AurocDifference, auroc_interval, bootstrap_auroc, delong, delong_paired
from analysis.statistics.automation_bias import AutomationBias, Changes, automation_bias
from analysis.statistics.balance import difference_of_means, difference_of_shares
from analysis.statistics.cases import WorstCases, worst_cases
from analysis.statistics.counts import Histogram, OperatingPoint, Proportion, histogram, operating_point, wilson
from analysis.statistics.double_reading import AgreementMeasure, DoubleReadingAgreement, double_reading_agreement
from analysis.statistics.drift import BatchDrift, score_drift
from analysis.statistics.findings import Finding, finding_aurocs
from analysis.statistics.free_response import Froc, froc, peaks
from analysis.statistics.independent import independent_difference
from analysis.statistics.localisation import Aupro, aupro, pixel_auroc, pointing_game, regions_of_boxes, regions_of_mask
from analysis.statistics.logistic import cross_fitted_log_odds, patient_folds
from analysis.statistics.matched_pairs import MatchedPairs, matched_auroc
from analysis.statistics.mrmc_tables import imrmc_table, mrmc_long_table
from analysis.statistics.multi_reader import (
    MeanAuroc,
    MeanDifference,
    MultiReaderAuroc,
    MultiReaderDifference,
    VarianceComponents,
    multi_reader_auroc,
    multi_reader_difference,
)
from analysis.statistics.partial import Auprc, PartialAuc, auprc, partial_auc
from analysis.statistics.power import (
    Power,
    auroc_power,
    auroc_sample_size,
    auroc_variance,
    paired_auroc_power,
    paired_auroc_sample_size,
)
from analysis.statistics.precision_recall import PrecisionRecall, precision_recall
from analysis.statistics.predictive import Estimate, PredictiveValues, predictive_values
from analysis.statistics.rates import (
    Rate,
    RatesAtTarget,
    clustered_rate,
    exact_limits,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
    threshold_at_sensitivity,
    threshold_at_specificity,
)
from analysis.statistics.reader_points import ReaderPoint, reader_points
from analysis.statistics.recalibration import (
    NetBenefit,
    Recalibration,
    RiskCalibration,
    RiskGroup,
    fit_recalibration,
    net_benefits,
    risk_calibration,
)
from analysis.statistics.roc import RocBand, RocCurve, roc_band, roc_curve
from analysis.statistics.sampling import SampledRates, sampled_rates
from analysis.statistics.share_size import ShareSize, share_sample_size
from analysis.statistics.spread import Spread, spread_over_seeds
from analysis.statistics.stratified import StratifiedAuroc, stratified_auroc
from analysis.statistics.subgroups import Subgroup, holm, normal_attribute_aurocs, subgroup_aurocs
from analysis.statistics.sweep import FusionSweep, choose_weight, fusion_sweep

__all__ = [
    "AddedValue",
    "AgreementMeasure",
    "Alpha",
    "Auprc",
    "Aupro",
    "Auroc",
    "AurocDifference",
    "AutomationBias",
    "BatchDrift",
    "Changes",
    "DoubleReadingAgreement",
    "Estimate",
    "Finding",
    "Froc",
    "FusionSweep",
    "Histogram",
    "Kappa",
    "MatchedPairs",
    "MeanAuroc",
    "MeanDifference",
    "MultiReaderAuroc",
    "MultiReaderDifference",
    "NetBenefit",
    "OperatingPoint",
    "PartialAuc",
    "Power",
    "PrecisionRecall",
    "PredictiveValues",
    "Proportion",
    "Rate",
    "RatesAtTarget",
    "ReaderPoint",
    "Recalibration",
    "RiskCalibration",
    "RiskGroup",
    "RocBand",
    "RocCurve",
    "SampledRates",
    "ShareSize",
    "Spread",
    "StratifiedAuroc",
    "Subgroup",
    "VarianceComponents",
    "WorstCases",
    "added_value",
    "auprc",
    "aupro",
    "auroc_interval",
    "auroc_power",
    "auroc_sample_size",
    "auroc_variance",
    "automation_bias",
    "bootstrap_auroc",
    "choose_weight",
    "clustered_rate",
    "cohen_kappa",
    "cross_fitted_log_odds",
    "delong",
    "delong_paired",
    "difference_of_means",
    "difference_of_shares",
    "double_reading_agreement",
    "exact_limits",
    "finding_aurocs",
    "fit_recalibration",
    "froc",
    "fusion_sweep",
    "histogram",
    "holm",
    "imrmc_table",
    "independent_difference",
    "krippendorff_alpha",
    "matched_auroc",
    "mrmc_long_table",
    "multi_reader_auroc",
    "multi_reader_difference",
    "net_benefits",
    "normal_attribute_aurocs",
    "operating_point",
    "paired_auroc_power",
    "paired_auroc_sample_size",
    "partial_auc",
    "patient_folds",
    "peaks",
    "pixel_auroc",
    "pointing_game",
    "precision_recall",
    "predictive_values",
    "reader_points",
    "regions_of_boxes",
    "regions_of_mask",
    "repeat_kappa",
    "risk_calibration",
    "roc_band",
    "roc_curve",
    "sampled_rates",
    "score_drift",
    "sensitivity_at_specificity",
    "share_sample_size",
    "specificity_at_sensitivity",
    "spread_over_seeds",
    "stratified_auroc",
    "subgroup_aurocs",
    "threshold_at_sensitivity",
    "threshold_at_specificity",
    "wilson",
    "worst_cases",
]
