"""What a high or a low figure of a feature is called in the name of a cluster: `Big spenders`, `few orders`.

Features of one kind, such as the purchases of 30 and of 365 days, are called alike. The kinds have words of their own
in `engine.clusters.names_<language>`; every other feature is called by the nouns of `engine.propensity.wording`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from engine.propensity.wording import Wording, elide, inflect, shown, wording

if TYPE_CHECKING:
    from engine.features.feature import Feature
    from engine.features.spec import FeatureSpec

Language = Literal["en", "fr"]

NO_SCALE: Final = frozenset({"date", "month", "weekday", "hour"})
"""Units whose greater values are not more of anything; such features give no names."""

_ROLE_KINDS: Final = {
    "purchase": ("purchase_count", "spend", "purchase_recency"),
    "open": ("open_count", "", "open_recency"),
    "click": ("click_count", "", "click_recency"),
    "send": ("send_count", "", ""),
    "page_view": ("page_count", "", "visit_recency"),
    "refund": ("refunds", "refunds", ""),
    "coupon": ("promotions", "", ""),
}
_KINDS: Final = {
    "tenure": "tenure_days btyd_t_days",
    "recency": "days_since_last_event",
    "activity": "active_days active_weeks active_months",
    "purchase_recency": "rfm_recency_days days_since_last_net_order purchase_overdue_ratio",
    "purchase_count": "rfm_frequency btyd_frequency order_count_net",
    "spend": "rfm_monetary order_amount_net",
    "basket": "rfm_mean_order btyd_mean_repeat_spend order_amount_median basket_size items_per_order",
    "open_count": "funnel_open_count",
    "open_rate": "open_rate funnel_open_rate",
    "open_recency": "days_since_human_open",
    "click_count": "funnel_click_count",
    "click_rate": "click_rate click_to_open_rate funnel_click_rate funnel_click_to_open_rate",
    "click_recency": "days_since_human_click",
    "send_count": "funnel_sent_count funnel_delivered_count",
    "session_count": "session_count",
    "visit_recency": "days_since_last_session",
    "page_count": "session_pages distinct_pages",
    "variety": "distinct_items distinct_categories",
    "promotions": "promotion_orders promotion_share",
    "refunds": "refund_rate refunded_share",
    "abandoned": "carts_abandoned",
    "engagement": "engagement_points engagement_points_decayed",
}
_THEMES: Final = {
    "presence": "recency activity purchase_recency visit_recency",
    "opens": "open_count open_rate open_recency",
    "clicks": "click_count click_rate click_recency",
    "visits": "session_count page_count",
}


@dataclass(frozen=True)
class Words:
    """The words of one language.

    Attributes:
        high, low: By kind, what begins a name and what goes on with it.
        pairs: Two attributes in one, by `kind+` or `kind-` of both, in either order.
        average: Users who are like all others.
        apart: Users in no cluster.
        many, few: A count.
        long, short: Days since something; `since` is what such texts begin with.
        measures: By the article that a measure begins with: high and low.
        unknown: A column that has no words: high and low.
    """

    high: Mapping[str, tuple[str, str]]
    low: Mapping[str, tuple[str, str]]
    pairs: Mapping[tuple[str, str], str]
    average: str
    apart: str
    many: str
    few: str
    long: str
    short: str
    since: str
    measures: Mapping[str, tuple[str, str]]
    unknown: tuple[str, str]


@dataclass(frozen=True)
class Vocabulary:
    """How the features of a specification are called in one language.

    Attributes:
        words: The language's words for names.
        wording: Its nouns.
        kinds: Kind of each feature that has one.
    """

    words: Words
    wording: Wording
    kinds: Mapping[str, str]

    def kind(self, name: str) -> str:
        """The kind of a feature; of one without, the feature itself whatever its window."""
        feature = self.wording.features.get(name)
        return self.kinds.get(name) or f"feature {name if feature is None else _stem(feature)}"

    def theme(self, name: str) -> str:
        """What a feature is about: two attributes of one theme say nearly the same."""
        kind = self.kind(name)
        return next((theme for theme, kinds in _THEMES.items() if kind in kinds.split()), kind)

    def has_scale(self, name: str) -> bool:
        """Whether more of a feature is more of something."""
        feature = self.wording.features.get(name)
        return feature is None or feature.unit not in NO_SCALE

    def attribute(self, name: str, *, high: bool) -> tuple[str, str]:
        """What begins a name, and what goes on with it, for a high or a low figure of a feature."""
        known = (self.words.high if high else self.words.low).get(self.kind(name))
        if known is not None:
            return known
        said = self._said(name, high=high)
        return said[:1].upper() + said[1:], said

    def pair(self, one: tuple[str, bool], other: tuple[str, bool]) -> str | None:
        """Two attributes (feature, whether high) in one phrase; None when there is none for them."""
        first, second = (f"{self.kind(name)}{'+' if high else '-'}" for name, high in (one, other))
        return self.words.pairs.get((first, second)) or self.words.pairs.get((second, first))

    def _said(self, name: str, *, high: bool) -> str:
        words, text = self.words, self.wording.texts.get(name)
        feature = self.wording.features.get(name)
        if text is None or feature is None:
            return words.unknown[0 if high else 1].replace("{}", name)
        text = text.replace("{w}", str(feature.window_days))
        if feature.unit == "flag":
            return shown(text.partition("|")[0 if high else 2])
        head, is_measure, tail = text.partition("~")
        if is_measure:
            article = next((article for article in words.measures if head.startswith(article)), "")
            template = words.measures.get(article, words.unknown)[0 if high else 1]
            # What follows the value says of what: `an amount of 5.00 in orders`.
            whole = head.removeprefix(article).rstrip(" ,") + inflect(tail.partition("{}")[2], plural=True)
            main, comma, rest = whole.partition(",")
            return shown(template.replace("{}", main) + comma + rest)
        counted = text.partition("|")[0]
        if counted.startswith(words.since):
            return shown(f"{words.long if high else words.short}{counted.removeprefix(words.since)}")
        many = (words.many if high else words.few).replace("{}", inflect(counted, plural=True))
        return shown(elide(many, self.wording.words))


def vocabulary(spec: FeatureSpec, language: Language) -> Vocabulary:
    """The vocabulary for the features of a specification."""
    nouns = wording(spec, language)
    kinds = {**_by_name(), **dict(_by_role(spec))}
    found = {name: kinds[stem] for name, feature in nouns.features.items() if (stem := _stem(feature)) in kinds}
    return Vocabulary(_words(language), nouns, found)


def words_of(language: Language) -> Words:
    """The words of a language that need no features: `average`, `apart`."""
    return _words(language)


def _words(language: Language) -> Words:
    if language == "fr":
        from engine.clusters.names_fr import FRENCH

        return FRENCH
    from engine.clusters.names_en import ENGLISH

    return ENGLISH


def _stem(feature: Feature) -> str:
    window = "total" if feature.window_days is None else f"{feature.window_days}d"
    return feature.name.removesuffix(f"_{window}")


def _by_name() -> dict[str, str]:
    return {stem: kind for kind, stems in _KINDS.items() for stem in stems.split()}


def _by_role(spec: FeatureSpec) -> Iterator[tuple[str, str]]:
    for role, (count, amount, recency) in _ROLE_KINDS.items():
        name = getattr(spec, role)
        if name is None:
            continue
        slug = spec.slug(name)
        kinds = {f"{slug}_count": count, f"{slug}_active_days": count, f"{slug}_net_count": count}
        kinds |= {f"{slug}_amount": amount, f"{slug}_net_amount": amount, f"days_since_{slug}": recency}
        if role == "purchase":
            kinds[f"{slug}_mean_amount"] = "basket"
        yield from ((stem, kind) for stem, kind in kinds.items() if kind)
