"""The words in which `tamis why` answers, in English and French."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Language = Literal["en", "fr"]


@dataclass(frozen=True)
class Words:
    """Labels and sentences; braces hold what is filled in."""

    user: str
    """Title: `{user}`, `{as_of}`, `{run}`."""
    headers: tuple[str, str, str, str, str]
    """Of the table of memberships: segment, group, since, days, before."""
    tag: str
    nowhere: str
    kinds: tuple[tuple[str, str], ...]
    group: str
    version: str
    rule: str
    """What stands before the rule's text."""
    is_in: str
    """`{since}`, `{days}`: a number with `day`."""
    day: tuple[str, str]
    """One, many: `{n}`."""
    ones: tuple[int, ...]
    """Numbers that take the form of one."""
    fails: str
    fails_list: str
    fails_arm: str
    fails_fallback: str
    earlier: str
    earlier_fallback: str
    other_in: str
    other_out: str
    fallback: str
    no_value: str
    true: str
    false: str
    window: str
    """`{start}`, `{end}`."""
    whole: str
    """`{end}`."""
    all_types: str
    events: tuple[str, str]
    """One, many: `{n}`."""
    none: str
    latest: str
    """`{n}` days are listed of more."""
    periods: str
    """`{n}` periods of `{of}` have events."""
    note: str
    colon: str
    """What stands between a label and what it is about."""
    facts: tuple[tuple[str, str], ...]
    points: str
    """Title of a card: `{card}`, `{points}`; `{of}` in front of the card."""
    of: tuple[str, str]
    """What stands before a consonant, and before a vowel."""
    level: str
    point_headers: tuple[str, str, str]
    no_points: str
    changes: str
    change_headers: tuple[str, str, str, str]
    reasons: tuple[tuple[str, str], ...]
    """Reasons that are always worded alike, and how the others begin; English ones stand as they are published."""
    enter: str
    exit: str
    scores: str
    """Title of the reasons: `{target}`, `{score}`."""
    outside: str
    no_reason: str

    def kind(self, kind: str) -> str:
        """What a kind of segment is called."""
        return dict(self.kinds)[kind]

    def days(self, number: int) -> str:
        """A number of days."""
        return self.day[number not in self.ones].format(n=number)

    def fact(self, name: str) -> str:
        """What a fact is called."""
        return dict(self.facts)[name]


ENGLISH: Final = Words(
    user="User {user} on {as_of} (run {run})",
    headers=("segment", "group", "since", "days", "before"),
    tag="(tag)",
    nowhere="The user is in no segment.",
    kinds=(
        ("rule", "rule"),
        ("list", "list"),
        ("lifecycle", "lifecycle stage"),
        ("arm", "arm of an experiment"),
        ("fallback", "fallback"),
    ),
    group="group {group}",
    version="version {version}",
    rule="rule",
    is_in="in it since {since}, {days}",
    day=("{n} day", "{n} days"),
    ones=(1,),
    fails="not in it: the rule does not hold",
    fails_list="not in it: not on its list, or the list is not in force",
    fails_arm="not in it: the user's place is outside the arm",
    fails_fallback="not in it: the user's scores are those of another one",
    earlier="not in it: the rule holds, but the user is in {other!r}, which is tried before",
    earlier_fallback="not in it: the user is in {other!r}, which is tried before",
    other_in="in it since {since}, {days}; the tables do not say why",
    other_out="not in it; the tables do not say why",
    fallback="takes whom no other segment of its group takes",
    no_value="no value",
    true="true",
    false="false",
    window="from {start}, before {end}",
    whole="before {end}",
    all_types="all events",
    events=("{n} event", "{n} events"),
    none="none",
    latest="the latest {n} days",
    periods="in {n} of {of} periods",
    note="note",
    colon=": ",
    facts=(
        ("list", "list"),
        ("frozen_on", "frozen on"),
        ("expires_on", "expires on"),
        ("listed", "on the list"),
        ("experiment", "experiment"),
        ("place", "place of the user"),
        ("low", "from"),
        ("high", "below"),
    ),
    points="Points {of}{card}: {points}",
    of=("of ", "of "),
    level="class {level}",
    point_headers=("rule", "quantity", "points"),
    no_points="nothing gave points",
    changes="Last changes",
    change_headers=("day", "segment", "change", "reason"),
    reasons=(),
    enter="enters",
    exit="leaves",
    scores="Score {target}: {score}",
    outside="outside the population",
    no_reason="no feature moves the score",
)

FRENCH: Final = Words(
    user="Utilisateur {user} au {as_of} (exécution {run})",
    headers=("segment", "groupe", "depuis", "jours", "avant"),
    tag="(étiquette)",
    nowhere="L'utilisateur n'est dans aucun segment.",
    kinds=(
        ("rule", "règle"),
        ("list", "liste"),
        ("lifecycle", "étape du cycle de vie"),
        ("arm", "bras d'une expérience"),
        ("fallback", "segment par défaut"),
    ),
    group="groupe {group}",
    version="version {version}",
    rule="règle",
    is_in="il en fait partie depuis le {since}, {days}",
    day=("{n} jour", "{n} jours"),
    ones=(0, 1),
    fails="il n'en fait pas partie : la règle n'est pas vérifiée",
    fails_list="il n'en fait pas partie : il n'est pas sur la liste, ou elle n'est pas en vigueur",
    fails_arm="il n'en fait pas partie : sa place est hors du bras",
    fails_fallback="il n'en fait pas partie : ses scores sont ceux d'un autre",
    earlier="il n'en fait pas partie : la règle est vérifiée, mais il est dans {other!r}, essayé avant",
    earlier_fallback="il n'en fait pas partie : il est dans {other!r}, essayé avant",
    other_in="il en fait partie depuis le {since}, {days} ; les tables ne disent pas pourquoi",
    other_out="il n'en fait pas partie ; les tables ne disent pas pourquoi",
    fallback="prend ceux qu'aucun autre segment de son groupe ne prend",
    no_value="sans valeur",
    true="vrai",
    false="faux",
    window="à partir du {start}, avant le {end}",
    whole="avant le {end}",
    all_types="tous les événements",
    events=("{n} événement", "{n} événements"),
    none="aucun",
    latest="les {n} derniers jours",
    periods="dans {n} des {of} périodes",
    note="remarque",
    colon=" : ",
    facts=(
        ("list", "liste"),
        ("frozen_on", "figée le"),
        ("expires_on", "expire le"),
        ("listed", "sur la liste"),
        ("experiment", "expérience"),
        ("place", "place de l'utilisateur"),
        ("low", "à partir de"),
        ("high", "avant"),
    ),
    points="Points {of}{card} : {points}",
    of=("de ", "d'"),
    level="classe {level}",
    point_headers=("règle", "quantité", "points"),
    no_points="rien n'a donné de points",
    changes="Derniers changements",
    change_headers=("jour", "segment", "changement", "raison"),
    reasons=(
        ("first run", "première exécution"),
        ("new user", "nouvel utilisateur"),
        ("user is gone", "l'utilisateur n'est plus là"),
        ("consent withdrawn", "consentement retiré"),
        ("consent missing", "consentement absent"),
        ("user objects", "l'utilisateur s'oppose"),
        ("segment is new", "le segment est nouveau"),
        ("segment was removed", "le segment a été supprimé"),
        ("list begins", "la liste commence"),
        ("list expired", "la liste a expiré"),
        ("list changed", "la liste a changé"),
        ("experiment changed", "l'expérience a changé"),
        ("cause unknown", "cause inconnue"),
        ("rule changed: ", "la règle a changé : "),
        ("no longer in ", "n'est plus dans "),
        ("taken by ", "pris par "),
    ),
    enter="entre",
    exit="sort",
    scores="Score {target} : {score}",
    outside="hors de la population",
    no_reason="aucune variable ne modifie le score",
)

WORDS: Final = {"en": ENGLISH, "fr": FRENCH}
