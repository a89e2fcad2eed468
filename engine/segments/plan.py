"""How segments are evaluated: every rule read and checked, and put in an order in which each finds what it asks for.

`in_segment('x')` asks for the final membership in x. So it depends on the rule of x, and when x is one of an exclusive
group also on the rules of all segments that are tried before it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Final

from engine.config_segments import PRIMARY
from engine.errors import ConfigError
from engine.features.measure import Measure
from engine.rules.problems import drawn
from engine.rules.read import read_rule
from engine.rules.rule import Clause, Rule
from engine.rules.scope import Scope
from engine.segments.definition import Definition

_RULE: Final = "rule"
_MEMBERS: Final = "members"
_Node = tuple[str, str]


@dataclass(frozen=True, eq=False)
class SegmentPlan:
    """Segments, ready to be evaluated.

    Attributes:
        definitions: The segments, in their order.
        rules: By segment, what its rule says; segments without one are missing.
        stages: Segments by depth: those of a stage ask for members of segments of earlier stages at most.
        groups: By exclusive group, its segments in the order in which they are tried, fallbacks last.
        clauses: The clauses of all rules, each distinct one once.
        used: By segment with a rule, for each clause of its rule the position in `clauses`.
    """

    definitions: tuple[Definition, ...]
    rules: Mapping[str, Rule]
    stages: tuple[tuple[str, ...], ...]
    groups: Mapping[str, tuple[str, ...]]
    clauses: tuple[Clause, ...]
    used: Mapping[str, tuple[int, ...]]

    @property
    def order(self) -> tuple[str, ...]:
        """All segments, each after those it asks for."""
        return tuple(name for stage in self.stages for name in stage)

    @cached_property
    def columns(self) -> frozenset[str]:
        """The columns that the rules read: features, scores, contact attributes."""
        return frozenset().union(*(rule.columns for rule in self.rules.values()))

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """The event functions that are no column of the catalogue, each once."""
        return tuple(dict.fromkeys(measure for rule in self.rules.values() for measure in rule.measures))

    @cached_property
    def tenures(self) -> frozenset[str]:
        """The segments whose days of membership a rule asks for."""
        return frozenset().union(*(rule.tenures for rule in self.rules.values()))

    @cached_property
    def depends_on(self) -> dict[str, tuple[str, ...]]:
        """By segment, the segments that its rule asks for, sorted."""
        return {
            definition.name: tuple(sorted(rule.segments)) if (rule := self.rules.get(definition.name)) else ()
            for definition in self.definitions
        }


def plan_segments(definitions: Sequence[Definition], scope: Scope) -> SegmentPlan:
    """Read every rule and find the order of the segments.

    Args:
        definitions: The segments, with different names; those without a rule take part as what others ask for.
        scope: What rules may name; its `segments` are set here.

    Raises:
        ConfigError: Every problem of every rule, drawn below its text; groups named like a column; segments that ask
            for each other in a circle, with the way round.
    """
    _check_groups(definitions, scope)
    inner = replace(scope, segments=frozenset(definition.name for definition in definitions))
    rules: dict[str, Rule] = {}
    problems: list[str] = []
    for definition in definitions:
        if definition.where is None:
            continue
        reading = read_rule(definition.where, inner)
        if reading.rule is not None:
            rules[definition.name] = reading.rule
        for problem in reading.problems:
            drawing = textwrap.indent(drawn(definition.where, problem), "      ")
            problems.append(f"  - {definition.name!r}:\n{drawing}")
    if problems:
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        raise ConfigError(
            f"{count} in the rules of segments:\n" + "\n".join(problems),
            code="segment-rules",
            hint="docs/rules.md has the language; `tamis features list --all` shows the columns.",
        )
    groups = tried_groups(definitions)
    stages = _stages([definition.name for definition in definitions], rules, groups)
    clauses, used = _distinct(rules)
    return SegmentPlan(tuple(definitions), rules, stages, groups, clauses, used)


def tried_groups(definitions: Sequence[Definition]) -> dict[str, tuple[str, ...]]:
    """By exclusive group, its segments in the order in which they are tried.

    More priority first, equals in the order of the definitions, fallbacks after all others.
    """
    groups: dict[str, list[Definition]] = {}
    for definition in definitions:
        if definition.group is not None:
            groups.setdefault(definition.group, []).append(definition)
    return {
        group: tuple(
            definition.name for definition in sorted(members, key=lambda one: (one.kind == "fallback", -one.priority))
        )
        for group, members in groups.items()
    }


def _check_groups(definitions: Sequence[Definition], scope: Scope) -> None:
    groups = dict.fromkeys(definition.group for definition in definitions if definition.group not in {None, PRIMARY})
    taken = [str(group) for group in groups if group in {*scope.columns, "user_id", "segment", "as_of"}]
    if taken:
        raise ConfigError(
            "Groups of segments that would have the name of a column: " + ", ".join(map(repr, taken)),
            code="segment-names",
            hint="A group other than 'primary' is a column of the table scores: give it another name.",
        )


def _distinct(rules: Mapping[str, Rule]) -> tuple[tuple[Clause, ...], dict[str, tuple[int, ...]]]:
    # By what is computed rather than by the text, whose white space is squeezed.
    positions: dict[bytes, int] = {}
    clauses: list[Clause] = []
    used: dict[str, tuple[int, ...]] = {}
    for name, rule in rules.items():
        at = []
        for clause in rule.clauses:
            position = positions.setdefault(clause.expr.meta.serialize(), len(clauses))
            if position == len(clauses):
                clauses.append(clause)
            at.append(position)
        used[name] = tuple(at)
    return tuple(clauses), used


def _stages(
    names: Sequence[str], rules: Mapping[str, Rule], groups: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[str, ...], ...]:
    before = _needs(names, rules, groups)
    circles = []
    while circle := _circle(before):
        circles.append(_told(circle, groups))
        before[circle[0]].remove(circle[1])
    if circles:
        raise ConfigError(
            "Segments that wait for each other:\n" + "\n".join(f"  - {circle}" for circle in circles),
            code="segment-cycle",
            hint="Take one of the questions out of its rule, or put a segment into another group (or set tag = true).",
        )
    depth: dict[_Node, int] = {}
    for node in TopologicalSorter(before).static_order():
        # Only the step from a rule to members that it asks for needs another pass over the users.
        step = 1 if node[0] == _RULE else 0
        depth[node] = max((depth[needed] + step for needed in before[node]), default=0)
    deepest = max((depth[_RULE, name] for name in names), default=-1)
    stages: list[list[str]] = [[] for _ in range(deepest + 1)]
    for name in names:
        stages[depth[_RULE, name]].append(name)
    return tuple(map(tuple, stages))


def _needs(
    names: Sequence[str], rules: Mapping[str, Rule], groups: Mapping[str, tuple[str, ...]]
) -> dict[_Node, list[_Node]]:
    """What must be known before each rule and before each segment's members."""
    before: dict[_Node, list[_Node]] = {}
    for name in names:
        asked = sorted(rules[name].segments) if name in rules else []
        before[_RULE, name] = [(_MEMBERS, other) for other in asked]
        before[_MEMBERS, name] = [(_RULE, name)]
    for tried in groups.values():
        for earlier, name in pairwise(tried):
            before[_MEMBERS, name].append((_MEMBERS, earlier))
    return before


def _circle(before: Mapping[_Node, Sequence[_Node]]) -> list[_Node]:
    """Nodes each of which waits for the next, the last being the first again; empty when there is no circle."""
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        # Told from each node to the one that waits for it.
        circle: list[_Node] = list(error.args[1])[::-1]
        start = next(index for index, node in enumerate(circle) if node[0] == _RULE)
        return [*circle[start:-1], *circle[: start + 1]]
    return []


def _told(circle: Sequence[_Node], groups: Mapping[str, tuple[str, ...]]) -> str:
    group_of = {name: group for group, tried in groups.items() for name in tried}
    steps = []
    for (kind, name), (_, other) in pairwise(circle):
        if kind == _RULE:
            steps.append(f"the rule of {name!r} asks for {other!r}")
        elif name != other:
            steps.append(f"{name!r} is tried after {other!r} in the group {group_of[name]!r}")
    return ", ".join(steps)
