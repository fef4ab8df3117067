"""Overview: is the cache worth it, and does it do harm?"""

from __future__ import annotations

from grafana.board import Board, Row
from grafana.panels import FIRING, GREEN, ORANGE, RED, YELLOW, Query, firing, heatmap, known, lines, stat, table

F = 'namespace=~"$namespace",instance=~"$instance"'
RATE = "[$__rate_interval]"
CACHEABLE = f'sum(rate(nearhit_lookups_total{{outcome!~"bypass_.*",{F}}}{RATE}))'
FAILED = 'outcome=~"unavailable|busy|embedder_unavailable|embedder_refused|index_lost|misconfigured|error"'


def quantile(share: float, series: str, by: str, matchers: str = F) -> str:
    """Return the expression of a quantile of a histogram, where it counted anything."""
    return known(f"histogram_quantile({share}, sum by ({by}) (rate({series}_bucket{{{matchers}}}{RATE})))")


NOW = Row(
    "Now",
    (
        stat(
            "Hit rate",
            "Share of the lookups that can be cached at all (bypasses left out) which were answered. What is good "
            "depends on "
            "how often people ask the same; a fall against your own past is what matters.",
            f'sum(rate(nearhit_lookups_total{{outcome="hit",{F}}}{RATE})) / ({CACHEABLE} > 0)',
            unit="percentunit",
            steps=((0, RED), (0.1, YELLOW), (0.25, GREEN)),
            runbook="hit-rate-collapsed",
        ),
        stat(
            "Lookups",
            "Lookups a second, bypasses included.",
            f"sum(rate(nearhit_lookups_total{{{F}}}{RATE}))",
            unit="reqps",
        ),
        stat(
            "Lookup p99",
            "The slowest hundredth of all lookups. It cannot exceed the deadline (NEARHIT_DEADLINE_MS).",
            quantile(0.99, "nearhit_lookup_seconds", "le", f'stage="total",{F}'),
            unit="s",
            steps=((0, GREEN), (0.1, YELLOW), (0.25, RED)),
        ),
        stat(
            "Failed lookups",
            "Share of the lookups that were misses only because a part was away: server, index or embedder.",
            f"sum(rate(nearhit_lookups_total{{{FAILED},{F}}}{RATE})) / ({CACHEABLE} > 0)",
            unit="percentunit",
            steps=((0, GREEN), (0.01, YELLOW), (0.1, RED)),
            runbook="lookups-fail",
        ),
        stat(
            "Saved",
            "Dollars that hits did not cost, over the time shown; known where fills carried their usage.",
            f"sum(increase(nearhit_saved_dollars_total{{{F}}}[$__range]))",
            unit="currencyUSD",
            steps=((0, GREEN),),
        ),
        stat(
            "Alerts",
            "Nearhit's alerts that fire now. No data: Prometheus does not evaluate Nearhit's rules.",
            f"count({FIRING}) or 0 * nearhit:alerts:firing",
            steps=((0, GREEN), (1, RED)),
            missing=RED,
        ),
        firing(),
    ),
)

HITS = Row(
    "Hits and misses",
    (
        lines(
            "Hit rate by tier",
            "Exact: the very text was asked before in this scope. Semantic: a text that means the same.",
            Query(
                f'sum by (tier) (rate(nearhit_lookups_total{{outcome="hit",{F}}}{RATE})) '
                f"/ on () group_left () ({CACHEABLE} > 0)",
                "{{tier}}",
            ),
            unit="percentunit",
            stacked=True,
            most=1,
            runbook="hit-rate-collapsed",
        ),
        lines(
            "Misses by reason",
            "below_threshold and empty are the normal misses. guard, unseen and judge: a near text that means "
            "something else. Any other name is a failure or a bypass.",
            Query(f'sum by (outcome) (rate(nearhit_lookups_total{{tier="none",{F}}}{RATE}))', "{{outcome}}"),
            unit="reqps",
            stacked=True,
            runbook="lookups-fail",
        ),
        lines(
            "Refusals of the guard by reason",
            "Neighbours above the threshold that the guard refused: each would have been a wrong answer, or is a hit "
            "lost.",
            Query(f"sum by (reason) (rate(nearhit_guard_refusals_total{{{F}}}{RATE}))", "{{reason}}"),
            unit="reqps",
            stacked=True,
        ),
        lines(
            "Judgements by verdict",
            "Neighbours that the guard accepted and the judge of the second stage was asked about, or remembered. "
            "failed: it "
            "gave no verdict in time, and NEARHIT_JUDGE_ON_FAILURE decided. Empty while there is no judge.",
            Query(f"sum by (verdict, source) (rate(nearhit_judgements_total{{{F}}}{RATE}))", "{{verdict}}, {{source}}"),
            unit="reqps",
            stacked=True,
        ),
    ),
)

SIMILARITY = Row(
    "Similarity",
    (
        heatmap(
            "Similarity of the nearest neighbour",
            "Each column: how near the nearest entry was, for semantic hits, misses and refused neighbours alike, in "
            "equal steps of 0.01; the lowest row is all up to 0.5. The threshold is the dashed line of the graph "
            "beside this one. Two clouds with a gap at the threshold are good; a cloud that lies across it means "
            "wrong hits and lost hits.",
            f"sum by (le) (increase(nearhit_similarity_bucket{{{F}}}{RATE}))",
            unit="short",
            width=12,
            height=9,
            runbook="similarity-shifted",
        ),
        lines(
            "Similarity against the threshold",
            "Median and lower tenth of hits, median and upper tenth of misses, median of the neighbours that the "
            "guard or the judge refused, and the threshold in force. Misses that crowd below the threshold: "
            "calibrate. All lines moved at once: another embedding model or another public.",
            Query(quantile(0.5, "nearhit_similarity", "le", f'outcome="hit",{F}'), "hits, median"),
            Query(quantile(0.1, "nearhit_similarity", "le", f'outcome="hit",{F}'), "hits, lower tenth"),
            Query(quantile(0.5, "nearhit_similarity", "le", f'outcome="refused",{F}'), "refused, median"),
            Query(quantile(0.9, "nearhit_similarity", "le", f'outcome="miss",{F}'), "misses, upper tenth"),
            Query(quantile(0.5, "nearhit_similarity", "le", f'outcome="miss",{F}'), "misses, median"),
            Query(f"max(nearhit_threshold{{{F}}})", "threshold"),
            unit="percentunit",
            width=12,
            height=9,
            least=0.5,
            most=1,
            dashed=("threshold",),
            runbook="similarity-shifted",
        ),
    ),
)

NAMESPACE = 'namespace=~"$namespace"'  # what workers say of a namespace holds for all of its processes

RIGHT = Row(
    "Right or wrong",
    (
        lines(
            "False hits",
            "Share of semantic hits whose answer the model would not give, measured on a sample in the background "
            "(NEARHIT_VERIFY_SHARE; a gap where nothing is verified), with bounds that hold however often they are "
            "looked at, and the budget. A lower bound above the budget raises the threshold, and what was measured "
            "begins anew.",
            Query(f'max(nearhit_false_hit_ratio{{bound="measured",{NAMESPACE}}})', "measured"),
            Query(f'max(nearhit_false_hit_ratio{{bound="low",{NAMESPACE}}})', "lower bound"),
            Query(f'max(nearhit_false_hit_ratio{{bound="high",{NAMESPACE}}})', "upper bound"),
            Query(f"max(nearhit_false_hit_budget{{{NAMESPACE}}})", "budget"),
            unit="percentunit",
            most=1,
            dashed=("budget",),
            zeros=True,
            runbook="false-hit-budget-broken",
        ),
        lines(
            "Verified hits",
            "Hits for which the model was asked again, by verdict. unjudged_misconfigured: a key or a model is wrong. "
            "unjudged_refused: the model or the judge gave no clear answer. dropped and unaskable: drawn, and never "
            "asked.",
            Query(f"sum by (verdict) (rate(nearhit_verifications_total{{{NAMESPACE}}}{RATE}))", "{{verdict}}"),
            Query(
                f'sum by (outcome) (rate(nearhit_verify_requests_total{{outcome!="sent",{F}}}{RATE}))', "{{outcome}}"
            ),
            unit="ops",
            stacked=True,
        ),
        lines(
            "Evidence for the thresholds in force",
            "Verified hits that count now: within the window, and since the threshold was last changed. A fall to "
            "nothing is a raised threshold (dashed line) or one that somebody has set.",
            Query(f"max by (verdict) (nearhit_verified_hits{{{NAMESPACE}}})", "{{verdict}}"),
            Query(f"sum(increase(nearhit_threshold_raises_total{{{NAMESPACE}}}{RATE}))", "raises"),
            unit="short",
            dashed=("raises",),
            runbook="false-hit-budget-broken",
        ),
    ),
)

LATENCY = Row(
    "Latency",
    (
        lines(
            "Lookup",
            "The whole lookup, hits and misses together.",
            *(
                Query(quantile(share, "nearhit_lookup_seconds", "le", f'stage="total",{F}'), name)
                for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            ),
            unit="s",
        ),
        lines(
            "Lookup p99 by stage",
            "Where the time goes: exact (one HMGET), embed, search, guard, judge. embed is all but always the longest, "
            "and the judge where there is one. late loop: how late busy event loops came back, where they did; the "
            "application holds them up, not the cache.",
            Query(quantile(0.99, "nearhit_lookup_seconds", "le, stage", f'stage!="total",{F}'), "{{stage}}"),
            Query(quantile(0.99, "nearhit_loop_lag_seconds", "le"), "late loop"),
            unit="s",
        ),
        lines(
            "Age of an entry at its hit",
            "How old answers are when they are used, as a share of their own time to live. Far below 100 %: it could "
            "be shorter. Close to it: longer.",
            *(
                Query(quantile(share, "nearhit_hit_age_ratio", "le"), name)
                for share, name in ((0.5, "p50"), (0.9, "p90"))
            ),
            unit="percentunit",
            most=1,
        ),
    ),
)

COST = Row(
    "Cost",
    (
        lines(
            "Saved and spent",
            "Dollars an hour: what hits did not cost, and what embedding cost on both paths, verification, and the "
            "judge. A local model costs none.",
            Query(f"sum(rate(nearhit_saved_dollars_total{{{F}}}{RATE})) * 3600", "saved by hits"),
            Query(
                f'sum(rate(nearhit_embed_dollars_total{{namespace=~"$namespace"}}{RATE})) * 3600', "spent on embedding"
            ),
            Query(f"sum(rate(nearhit_verify_dollars_total{{{NAMESPACE}}}{RATE})) * 3600", "spent on verification"),
            Query(f"sum(rate(nearhit_judge_dollars_total{{{F}}}{RATE})) * 3600", "spent on the judge"),
            unit="currencyUSD",
        ),
        lines(
            "Saved tokens",
            "Prompt and completion tokens a second that hits did not buy, and those that the judge used.",
            Query(f"sum(rate(nearhit_saved_tokens_total{{{F}}}{RATE}))", "saved by hits"),
            Query(f"sum(rate(nearhit_judge_tokens_total{{{F}}}{RATE}))", "used by the judge"),
            unit="short",
        ),
        lines(
            "Fills at the caller",
            "accepted: in the log. spooled: in memory, the log's server is away. dropped: lost. refused: can never "
            "be stored.",
            Query(f"sum by (outcome) (rate(nearhit_fills_total{{{F}}}{RATE}))", "{{outcome}}"),
            unit="ops",
            stacked=True,
            runbook="fills-are-dropped",
        ),
    ),
)

TROUBLE = Row(
    "Trouble",
    (
        lines(
            "Failures by stage and class",
            "Every failure of every process, by where it happened. Empty while all is well.",
            Query(f"sum by (stage, kind) (rate(nearhit_errors_total{{{F}}}{RATE}))", "{{stage}} {{kind}}"),
            Query(f"sum by (reason) (rate(nearhit_refused_thresholds_total{{{F}}}{RATE}))", "threshold {{reason}}"),
            unit="ops",
            width=12,
            runbook="lookups-fail",
        ),
        lines(
            "Open breakers",
            "Processes that stopped asking a part, since it failed several times in a row: store, embed, judge, or "
            "the log.",
            Query(f"sum by (part) (nearhit_breaker_open{{{F}}})", "{{part}}"),
            steps=((None, GREEN), (1, ORANGE)),
            width=12,
            runbook="breaker-open",
        ),
        table(
            "Processes",
            "Every process that reports: what it is, what it is set to, and of workers, whether they make progress "
            "(live) and reach everything that they need (ready).",
            f"max by (instance, namespace, role, model, engine, version) (nearhit_info{{{F}}})",
            f"min by (instance, namespace) (nearhit_worker_live{{{F}}})",
            f"min by (instance, namespace) (nearhit_worker_ready{{{F}}})",
            columns=("instance", "namespace", "role", "version", "model", "engine"),
            states=("live", "ready"),
            width=24,
            height=6,
        ),
    ),
)

BOARD = Board(
    "nearhit-overview",
    "Nearhit / Overview",
    "Is the cache worth it, and does it do harm?",
    "nearhit_lookups_total",
    (NOW, HITS, SIMILARITY, RIGHT, LATENCY, COST, TROUBLE),
)
