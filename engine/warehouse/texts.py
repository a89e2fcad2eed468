"""What the published tables and their columns mean, but for features, whose meanings stand in the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.segments.kpis import RATES


@dataclass(frozen=True)
class Text:
    """What a column means.

    Attributes:
        meaning: One sentence or two.
        unit: As of `engine.features.feature.Feature`; empty where there is none.
    """

    meaning: str
    unit: str = ""


@dataclass(frozen=True)
class TableText:
    """What a table has.

    Attributes:
        meaning: What a row is, and what for.
        key: Columns that tell rows apart.
        columns: Its columns, or those of them that every run has.
        nullable_key: Columns of the key that may be null.
    """

    meaning: str
    key: tuple[str, ...]
    columns: dict[str, Text]
    nullable_key: tuple[str, ...] = ()


AS_OF: Final = Text("The day of the run: what happened at or after its midnight did not count.", "date")
USER: Final = Text("The user, as the events name them.")
_SEGMENT: Final = Text("Name of the segment.")
_GROUP: Final = Text("Group of the segment, of which a user is in one at most; null for a tag.")
_VERSION: Final = Text("Mark of the definition of the segment: eight digits of its hash.")
_RUN: Final = Text("The run that wrote the row.")

_COUNTS: Final = {
    "sent": "Messages sent",
    "delivered": "Messages sent less those that bounced",
    "opens": "Opens, those of machines included",
    "opens_human": "Opens without those that are known to be of machines",
    "clicks": "Clicks, those of machines included",
    "clicks_human": "Clicks without those that are known to be of machines",
    "replies": "Replies",
    "unsubscribes": "Unsubscriptions",
    "complaints": "Complaints",
    "buyers": "Users with a purchase",
    "first_buyers": "Users with their first purchase",
    "orders": "Purchases",
    "categories": "Different categories bought, added up over users",
}

_KPIS: Final = {
    "segment": Text("Name of the segment; '(all users)' in the row of all users."),
    "kind": Text("How the segment is made: rule, list, lifecycle, arm, fallback; all in the row of all users."),
    "group": _GROUP,
    "window_days": Text("Length of the window before as_of that the figures are of.", "days"),
    "users": Text("Users in the segment.", "count"),
    "user_share": Text("Share of all users.", "ratio"),
    **{name: Text(f"{meaning} in the window.", "count") for name, meaning in _COUNTS.items()},
    "clv_users": Text("Users with a customer lifetime value.", "count"),
    "reactivated": Text("Users who came back in the window after a pause.", "count"),
    "inactive": Text("Users who came back in the window after a pause, or are in one.", "count"),
    "revenue": Text("Sum of the amounts of the purchases in the window.", "money"),
    "total_value": Text("Sum spent in the whole history.", "money"),
    "total_clv": Text("Sum of the customer lifetime values.", "money"),
    **{
        name: Text(f"{above} ÷ {below}; null where the lower one is 0.", "ratio")
        for name, (above, below) in RATES.items()
    },
    "orders_per_buyer": Text("orders ÷ buyers.", "ratio"),
    "categories_per_buyer": Text("categories ÷ buyers.", "ratio"),
    "mean_value": Text("total_value ÷ users.", "money"),
    "mean_clv": Text("total_clv ÷ clv_users.", "money"),
    "cost": Text("Cost of the segment, as configured.", "money"),
    "cost_per_acquisition": Text("cost ÷ first_buyers.", "money"),
    **{f"{name}_lift": Text(f"{name} of the segment ÷ that of all users.", "ratio") for name in RATES},
}

TABLES: Final = {
    "rejects": TableText(
        "Rows of the sources that could not be used: where they stand and why, never what is in them.",
        ("source", "file", "row", "rule"),
        {
            "source": Text("Name of the source in the configuration."),
            "file": Text("File of the source."),
            "row": Text("Number of the row in its file, from 0.", "count"),
            "rule": Text("The check that the row failed."),
            "reason": Text("What was wrong, in words."),
        },
        nullable_key=("row",),
    ),
    "quality": TableText(
        "One row per measurement of the data of the run: of a source, the contacts, an enrichment or the whole run, and"
        " for what became of rows also per day.",
        ("scope", "name", "metric", "column", "day"),
        {
            "scope": Text("source, contacts, enrichment or run."),
            "name": Text("The source or enrichment; contacts or run otherwise."),
            "metric": Text("What is measured."),
            "column": Text("The column or rule it is measured of; null for the whole."),
            "day": Text("The day of the events, for what became of rows; null for all days together.", "date"),
            "value": Text("The share, number or days; null where there is nothing to measure."),
            "numerator": Text("What the share is of, or the number itself.", "count"),
            "denominator": Text("What it is a share of; null where the value is a number.", "count"),
            "status": Text("ok, warn or stop where the configuration has a limit; none without."),
        },
        nullable_key=("column", "day"),
    ),
    "drift": TableText(
        "How far features and scores have moved since the fit: one row per column.",
        ("column",),
        {
            "column": Text("Feature, contact attribute or score."),
            "kind": Text("numeric, categorical or score."),
            "psi": Text("Population stability index of the users of the run against those of the fit.", "index"),
            "chance": Text("What chance alone exceeds once in a thousand; a smaller psi says nothing.", "index"),
            "null_share_then": Text("Share of users without a value at the fit.", "ratio"),
            "null_share_now": Text("Share of users without a value now.", "ratio"),
            "unseen": Text("Users with a category that the fit did not see; null for numbers.", "count"),
            "unseen_share": Text("Share of such users.", "ratio"),
            "unseen_share_then": Text("Share of users of the fit whose category was too rare to be kept.", "ratio"),
            "rows": Text("Users of the run.", "count"),
        },
    ),
    "features": TableText(
        "One row per user: what was computed from the events before as_of, and the contact attributes.",
        ("user_id",),
        {"user_id": USER},
    ),
    "scores": TableText(
        "One row per user: every score, rank and class, of models, clusters, RFM, customer value and points.",
        ("user_id",),
        {"user_id": USER},
    ),
    "points": TableText(
        "One row per user, score card and rule that gave or took points; they add up to the score.",
        ("user_id", "card", "rule"),
        {
            "user_id": USER,
            "card": Text("Name of the score card."),
            "rule": Text("Name of the rule; '(cap)' for what cap and floor of the card add."),
            "quantity": Text("What the rule counted; null where it counts nothing."),
            "points": Text("Points given; below 0 they were taken.", "points"),
        },
    ),
    "segment_definitions": TableText(
        "One row per segment: what it is.",
        ("segment",),
        {
            "segment": _SEGMENT,
            "group": _GROUP,
            "kind": Text("How the segment is made: rule, list, lifecycle, arm or fallback."),
            "rule": Text("The condition; null without one."),
            "rule_version": _VERSION,
            "label_en": Text("What people read, in English."),
            "label_fr": Text("What people read, in French."),
            "description": Text("The description in the configuration."),
            "campaigns": Text("Campaigns that the segment is for."),
            "priority": Text("Within a group the highest priority that holds wins."),
            "frozen_on": Text("Day of a static list.", "date"),
            "expires_on": Text("Day from which a static list is no longer to be used.", "date"),
            "depends_on": Text("Segments that the rule asks for."),
            "position": Text("Place in the configuration, from 0; of equal priority the lower one is tried first."),
        },
    ),
    "segment_kpis": TableText(
        "One row per segment and one of all users: key figures of a window before as_of.", ("segment",), _KPIS
    ),
    "segment_composition": TableText(
        "Users of every segment by bins of scores, tenure, classes of points and contact attributes, beside all users.",
        ("segment", "column", "bin"),
        {
            "segment": _SEGMENT,
            "column": Text("The column that users are told apart by."),
            "bin": Text("Its values; '(other)' for the rare ones, null for users without a value."),
            "users": Text("Users of the segment in the bin.", "count"),
            "share": Text("Share of the users of the segment.", "ratio"),
            "base_share": Text("Share of all users in the bin.", "ratio"),
            "psi": Text("Population stability index of the segment against all users, of the whole column.", "index"),
            "psi_chance": Text("The index that chance alone exceeds once in a thousand.", "index"),
            "chi_square": Text("Pearson's statistic of the table bin × in the segment or not.", "index"),
            "degrees_of_freedom": Text("Degrees of freedom of chi_square.", "count"),
        },
        nullable_key=("bin",),
    ),
    "rfm_grid": TableText(
        "Users by their scores of recency and frequency: one row per pair, and one of the users without a purchase.",
        ("r_score", "f_score"),
        {
            "r_score": Text("RFM: how recent the last purchase is; the highest score is the most recent.", "points"),
            "f_score": Text("RFM: how frequent purchases are; the highest score is the most frequent.", "points"),
            "users": Text("Users with both scores; without a purchase where the scores are null.", "count"),
            "user_share": Text("Share of all users.", "ratio"),
            "total_value": Text("Sum spent in the whole history.", "money"),
            "mean_value": Text("total_value ÷ users; null where there is nobody, and without a purchase.", "money"),
            "mean_recency_days": Text("Mean days from the last purchase to as_of; null as mean_value.", "days"),
        },
        nullable_key=("r_score", "f_score"),
    ),
    "score_distribution": TableText(
        "Users by the engagement score and by each propensity: one row per score and range.",
        ("score", "low"),
        {
            "score": Text("Column of the table scores."),
            "low": Text("Lower end of the range, which is in it; null for users without the score."),
            "high": Text("Upper end of the range, which is in the highest range of a score alone."),
            "users": Text("Users with a score in the range.", "count"),
            "share": Text("Share of all users.", "ratio"),
        },
        nullable_key=("low",),
    ),
    "segment_flows": TableText(
        "How many users moved from segment to segment since the date before, and why: one row per move and cause.",
        ("group", "from_segment", "to_segment", "cause_kind", "cause"),
        {
            "group": _GROUP,
            "from_segment": Text("What the users were in before; null for none of the group, and for a tag entered."),
            "to_segment": Text("What the users are in now; null for none of the group, and for a tag left."),
            "cause_kind": Text(
                "Kind of the cause: clause_true or clause_false when a clause of a rule came to hold or no longer "
                "holds, r_score_fell and the like, or one of new_user, user_gone, rule_changed and others."
            ),
            "cause": Text("The clause as configured, else the kind in words; of several that turned the first."),
            "users": Text("Users who moved for the cause.", "count"),
            "users_with_more": Text("Those of them for whom further clauses or scores turned.", "count"),
        },
        nullable_key=("group", "from_segment", "to_segment"),
    ),
    "membership_history": TableText(
        "One row per interval of membership [valid_from, valid_to) that ended with the run.",
        ("user_id", "segment"),
        {
            "user_id": USER,
            "segment": _SEGMENT,
            "group": _GROUP,
            "valid_from": Text("First day in the segment.", "date"),
            "valid_to": Text("First day no longer in it.", "date"),
            "rule_version": _VERSION,
        },
    ),
    "membership_changes": TableText(
        "One row per user who entered or left a segment since the date before.",
        ("user_id", "segment"),
        {
            "user_id": USER,
            "segment": _SEGMENT,
            "group": _GROUP,
            "change": Text("enter or exit."),
            "reason": Text("Why, in words."),
            "previous_segment": Text("What the user was in before, in the same group; null for tags and at first."),
            "rule_version": _VERSION,
            "run_id": _RUN,
        },
    ),
    "memberships": TableText(
        "One row per user and segment the user is in.",
        ("user_id", "segment"),
        {
            "user_id": USER,
            "segment": _SEGMENT,
            "group": _GROUP,
            "entered_on": Text("The date of the first of the unbroken runs that saw the user in it.", "date"),
            "days_in": Text("Days from entered_on to as_of.", "days"),
            "previous_segment": Text("What the user was in before, in the same group; null for tags and at first."),
            "rule_version": _VERSION,
            "run_id": _RUN,
        },
    ),
    "segments": TableText(
        "One row per user with the one segment of the primary group that the user is in, and what people read of them.",
        ("user_id",),
        {"user_id": USER, "segment": _SEGMENT},
    ),
}
"""Every table of `engine.tables.layout.TABLES`."""

SCORES: Final = {
    "engagement_score": Text("Engagement in the last days, on a logarithmic scale from 0 to 100.", "points"),
    "r_score": Text("RFM: how recent the last purchase is; the highest score is the most recent.", "points"),
    "f_score": Text("RFM: how frequent purchases are; the highest score is the most frequent.", "points"),
    "m_score": Text("RFM: how much was spent; the highest score is the most.", "points"),
    "rfm_segment": Text("RFM: the segment of the map that the three scores lead to."),
    "cluster": Text("Number of the cluster; it keeps its number from fit to fit. -1 for an outlier."),
    "cluster_distance": Text("Distance to the centre of the cluster, in the space of the clustering."),
    "cluster_margin": Text("How much farther away the nearest other cluster is; 0 if there is none."),
    "cluster_probability": Text("How likely the user is of the cluster.", "ratio"),
    "cluster_name": Text("Name of the cluster."),
    "value_expected_purchases": Text("Days with a purchase that are expected in the horizon of [value].", "count"),
    "value_p_alive": Text("Probability that the user still buys.", "ratio"),
    "value_expected_order": Text("Mean spend that is expected on a day with a purchase.", "money"),
    "value_clv": Text("Spend that is expected in the horizon of [value], discounted.", "money"),
}
"""Scores that have the same name in every configuration."""
