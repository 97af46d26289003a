"""Full citations of what a report uses."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.report.gathering import EvaluationReport
from ml_engine.core.version import code_version

PAPER = (
    "Kim H, Chun J. Region and Global-Specific PatchCore based Anomaly Detection from Chest X-ray Images. KSII "
    "Trans Internet Inf Syst 2024;18(8)."
)
DETECTORS = {
    "patchcore": (
        "Roth K, Pemula L, Zepeda J, Schölkopf B, Brox T, Gehler P. Towards total recall in industrial anomaly "
        "detection. Proc IEEE/CVF Conf Comput Vis Pattern Recognit (CVPR) 2022:14318–14328."
    ),
    "padim": (
        "Defard T, Setkov A, Loesch A, Audigier R. PaDiM: a patch distribution modeling framework for anomaly "
        "detection and localization. ICPR International Workshops and Challenges 2021, LNCS 12664:475–489."
    ),
    "spade": (
        "Cohen N, Hoshen Y. Sub-image anomaly detection with deep pyramid correspondences. arXiv:2005.02357, 2020."
    ),
    "dn2": "Bergman L, Cohen N, Hoshen Y. Deep nearest neighbor anomaly detection. arXiv:2002.10445, 2020.",
}
BACKBONES = {
    "wide_resnet": "Zagoruyko S, Komodakis N. Wide residual networks. Proc British Machine Vision Conf (BMVC) 2016:87.",
    "resnet": (
        "He K, Zhang X, Ren S, Sun J. Deep residual learning for image recognition. Proc IEEE Conf Comput Vis Pattern "
        "Recognit (CVPR) 2016:770–778."
    ),
    "densenet": (
        "Huang G, Liu Z, van der Maaten L, Weinberger KQ. Densely connected convolutional networks. Proc IEEE Conf "
        "Comput Vis Pattern Recognit (CVPR) 2017:4700–4708."
    ),
}
INTERVALS = {
    "delong": (
        "DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated receiver operating "
        "characteristic curves: a nonparametric approach. Biometrics 1988;44:837–845."
    ),
    "clustered": "Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics 1997;53:567–578.",
    "newcombe": (
        "Newcombe RG. Confidence intervals for an effect size measure based on the Mann–Whitney statistic. Part 2: "
        "asymptotic methods and evaluation. Stat Med 2006;25:559–573."
    ),
}
LOCALISATION = (
    (
        "Bergmann P, Batzner K, Fauser M, Sattlegger D, Steger C. The MVTec anomaly detection dataset: a "
        "comprehensive real-world dataset for unsupervised anomaly detection. Int J Comput Vis 2021;129:1038–1059."
    ),
    (
        "Zhang J, Bargal SA, Lin Z, Brandt J, Shen X, Sclaroff S. Top-down neural attention by excitation backprop. "
        "Int J Comput Vis 2018;126:1084–1102."
    ),
    (
        "Bunch PC, Hamilton JF, Sanderson GK, Simmons AH. A free-response approach to the measurement and "
        "characterization of radiographic-observer performance. J Appl Photogr Eng 1978;4:166–171."
    ),
)
ALWAYS = (
    (
        "Davis J, Goadrich M. The relationship between precision–recall and ROC curves. Proc 23rd Int Conf Machine "
        "Learning (ICML) 2006:233–240."
    ),
    (
        "Wilson EB. Probable inference, the law of succession, and statistical inference. J Am Stat Assoc "
        "1927;22:209–212."
    ),
    "Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65–70.",
    (
        "Austin PC. Balance diagnostics for comparing the distribution of baseline covariates between treatment "
        "groups in propensity-score matched samples. Stat Med 2009;28:3083–3107."
    ),
    (
        "Yang D, Dalton JE. A unified approach to measuring the effect size between two groups using SAS. SAS Global "
        "Forum 2012: paper 335."
    ),
    (
        "Bossuyt PM, Reitsma JB, Bruns DE, et al. STARD 2015: an updated list of essential items for reporting "
        "diagnostic accuracy studies. BMJ 2015;351:h5527."
    ),
)


def references(report: EvaluationReport) -> list[str]:
    """The method, Hilum, the detector and network, and the statistics that this report uses."""
    return [
        PAPER,
        f"Hilum, version {code_version()} (Apache-2.0), a research portal. Not a medical device.",
        *_of(report),
    ]


def _of(report: EvaluationReport) -> Iterator[str]:
    config = report.config
    if config is not None:
        if config.detector in DETECTORS:
            yield DETECTORS[config.detector]
        yield from [text for start, text in BACKBONES.items() if start_of(config.backbone) == start]
    methods = {area.method.split()[0] for part in report.parts for area in part.areas.values() if area.method}
    yield from (text for name, text in INTERVALS.items() if name in methods)
    if any(not part.localisation["reason"] for part in report.parts):
        yield from LOCALISATION
    yield from ALWAYS


def start_of(backbone: str) -> str:
    """A network's family in `BACKBONES`, or blank."""
    plain = backbone.removeprefix("timm:").removeprefix("xrv_")
    return next((start for start in BACKBONES if plain.startswith(start)), "")
