"""What each name on the page means."""

from __future__ import annotations

METRICS: tuple[tuple[str, str, str], ...] = (
    (
        r"recall_t(.+)",
        "recall_tT",
        "Share of labelled traces whose highest probability within 5 s of the label reaches T.",
    ),
    (
        r"recall_([\d.]+)s_t(.+)",
        "recall_Ds_tT",
        "Share of labelled traces that reach T with a residual of at most D seconds.",
    ),
    (
        r"recall_([\d.]+)s",
        "recall_Ds",
        "Continuous days: share of arrivals matched within D seconds.",
    ),
    (
        r"mae_cond_t(.+)",
        "mae_cond_tT",
        "Mean absolute residual in seconds of the traces that reach T. It falls with recall: "
        "never rank by it alone.",
    ),
    (
        r"rmse_cond_t(.+)",
        "rmse_cond_tT",
        "Root of the mean squared residual of the traces that reach T.",
    ),
    (
        r"(mae|rmse)_uncond_w5s",
        "mae_uncond_w5s, rmse_uncond_w5s",
        "The same of every labelled trace, whatever its probability: the peak within 5 s.",
    ),
    (
        r"out_gt([\d.]+)s_cond",
        "out_gtLs_cond",
        "Share of the detected traces with a residual beyond L seconds (strictly).",
    ),
    (
        r"out_gt([\d.]+)s_uncond_w5s",
        "out_gtLs_uncond_w5s",
        "The same share of every labelled trace.",
    ),
    (
        r"prob_median",
        "prob_median",
        "Median of the highest probability within 5 s of the label.",
    ),
    (
        r"mcc_phase_id",
        "mcc_phase_id",
        "2 share(P's probability exceeds S's) - 1, where both are labelled. No decision, no "
        "negatives; it ranks nobody.",
    ),
    (
        r"mcc_phase_id_10s",
        "mcc_phase_id_10s",
        "Matthews' coefficient of telling P from S in a 10 s window with one pick (Münchmeyer"
        " et al., task 2).",
    ),
    (
        r"mcc_detection",
        "mcc_detection",
        "Matthews' coefficient of telling 30 s windows with an event from noise (task 1).",
    ),
    (
        r"(f1|precision|recall)_(detection|phase_id_10s)",
        "f1_, precision_, recall_ of a task",
        "Of the decision of that task, at the threshold of the development split.",
    ),
    (
        r"(mae|rmse)_10s|out_gt[\d.]+s_10s",
        "mae_10s, rmse_10s, out_gtLs_10s",
        "Onset in a 10 s window without any threshold (task 3).",
    ),
    (
        r"precision_lower_.+",
        "precision_lower_Ds",
        "matched / picks: a lower bound of precision, for arrivals may be unread.",
    ),
    (
        r"precision_[\d.]+s",
        "precision_Ds",
        "matched / picks, where the truth is complete.",
    ),
    (
        r"f1_lower_.+",
        "f1_lower_Ds",
        "2 matched / (picks + arrivals), a lower bound likewise.",
    ),
    (
        r"f1_[\d.]+s",
        "f1_Ds",
        "2 matched / (picks + arrivals), where the truth is complete. Of labelled traces (signal "
        "and noise): the pick is the window's highest peak near the label.",
    ),
    (
        r"mae_[\d.]+s",
        "mae_Ds",
        "Mean absolute residual in seconds of the pairs matched within D seconds.",
    ),
    (
        r"brier",
        "brier",
        "Mean of (probability - matched)²; 0 is perfect.",
    ),
    (
        r"ece_.+",
        "ece_15_equal_mass",
        "Mean over picks of |share matched - mean probability| of their bin, 15 bins of equal"
        " counts. Above 0 by chance for few picks, so no interval is given.",
    ),
    (
        r"recall",
        "recall (compared)",
        "Difference of the shares found, on the same arrivals.",
    ),
    (
        r"soft_detection",
        "soft_detection",
        "Mean of probability times exp(-residual² / 2 (0.5 s)²) over labelled arrivals: no "
        "threshold.",
    ),
    (
        r"mae_all_found",
        "mae_all_found",
        "Mean absolute residual of the arrivals that every candidate found.",
    ),
    (
        r"mae_both_found",
        "mae_both_found",
        "Mean absolute residual of the arrivals that both candidates found.",
    ),
    (
        r"out_gt([\d.]+)s_both_found",
        "out_gtLs_both_found",
        "Outlier share among the arrivals that both candidates found.",
    ),
    (
        r"false_picks_per_hour",
        "false_picks_per_hour",
        "Picks per station-hour of verified noise, in which no arrival can be.",
    ),
)
"""(pattern of a metric's name, how it is written in general, what it is)."""

WORDS: tuple[tuple[str, str], ...] = (
    (
        "interval",
        "95 %. Of recall and timing over events and stations (two-way cluster bootstrap, at "
        "least 2,000 draws); of rates over stations, or Garwood's where named; none where "
        "there is one cluster, nor of residuals and Brier scores below 8.",
    ),
    (
        "false pick, extra",
        "A false pick is a pick on verified noise or against complete truth. An extra is a "
        "pick without a known arrival.",
    ),
    (
        "undefined",
        "The bin has nothing to count: no label, no detection, no pick. Never 0.",
    ),
    (
        "better, worse",
        "The paired difference is separated from zero at 5 % after Holm over the candidates. "
        "In sum: worse where recall is worse; mixed where one thing is better and another "
        "worse; better only where nothing is worse and no recall is in doubt.",
    ),
    (
        "not separated",
        "It is not, and a difference of the margin would have been seen with 80 % power.",
    ),
    (
        "inconclusive",
        "It is not, and the data are too few to see the margin.",
    ),
)
