from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.bundle import Bundle, bundle_files, load_bundle
from engine.config import Config
from engine.consent.inputs import Inputs, unknown_columns
from engine.errors import ConfigError, DataError
from engine.execution.local import LocalExecutor
from engine.execution.protocol import Executor
from engine.explanation import Question, explain_run
from engine.pipeline import fit_run, score_run
from engine.record import RunRecord
from engine.validation import validate_run
from tests.consent.consents import ACCOUNTS, CONSENT, EVERYBODY, USERS, write_consented
from tests.golden.runs import published
from tests.samples import AS_OF, configuration, files, mail, rows_of, shop

LOCAL = LocalExecutor()
LACKING = frozenset(user for user in EVERYBODY if user % 3 == 1)
TABLES = ("features", "scores", "segments", "memberships")
BOTH = CONSENT + 'email_marketing = ["email_send"]\n'
LACKING_BOTH = {
    "open_tracking": LACKING,
    "email_marketing": frozenset(user for user in EVERYBODY if user % 5 == 0 or user % 12 == 1),
}


@dataclass(frozen=True)
class Made:
    file: Path
    config: Config
    fitted: RunRecord
    scored: RunRecord

    @property
    def out(self) -> Path:
        return Path(self.config.out)

    @property
    def bundle(self) -> Bundle:
        return load_bundle(Path(str(self.fitted.bundle)))

    def table(self, name: str) -> pl.DataFrame:
        return published(self.out, name).drop("as_of", strict=False)


def made(
    folder: Path,
    lacking: Mapping[str, Collection[int]],
    toml: str = CONSENT,
    without: Collection[int] = (),
    executor: Executor = LOCAL,
) -> Made:
    file = write_consented(folder, lacking, toml, without)
    config = configuration(file)
    fitted = fit_run(config, AS_OF, executor=executor)
    return Made(file, config, fitted, score_run(config, AS_OF, executor=executor))


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("some") / "log", {"open_tracking": LACKING}, CONSENT + ACCOUNTS)


@pytest.fixture(scope="module")
def partly(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("partly") / "log", LACKING_BOTH, BOTH)


def of_users(table: pl.DataFrame, users: Collection[int]) -> pl.DataFrame:
    return table.filter(pl.col("user_id").is_in(list(users))).sort("user_id")


# -------------------------------------------------------------------------------------------------- what does not count


@pytest.mark.slow
def test_gd02_opens_of_users_without_the_purpose_change_nothing(some: Made, tmp_path: Path) -> None:
    never = made(tmp_path / "log", {"open_tracking": LACKING}, CONSENT + ACCOUNTS, without=LACKING)
    assert never.scored.counts["rows"]["read"] < some.scored.counts["rows"]["read"]
    # Neither what is learnt nor what is published of anybody.
    assert Path(str(never.fitted.bundle)).name == Path(str(some.fitted.bundle)).name
    for table in TABLES:
        assert rows_of(never.out, table) == rows_of(some.out, table), table


def test_gd02_columns_of_opens_alone_are_null_for_them_and_not_0(some: Made) -> None:
    features, scores = some.table("features"), some.table("scores")
    spec = some.bundle.spec
    inputs = some.bundle.inputs
    assert inputs is not None
    [measure] = [name for name in features.columns if name.startswith("event_count_email_open")]
    told_of_opens = [name for name in unknown_columns(spec, inputs) if not name.startswith("account_")]
    assert {"email_open_count_30d", "open_rate_30d", "funnel_open_rate_7d", "days_since_email_open"} <= {*told_of_opens}
    without, having = of_users(features, LACKING), of_users(features, {*EVERYBODY} - LACKING)
    assert without.height == len(LACKING)
    assert all(without[name].is_null().all() for name in (*told_of_opens, measure))
    assert having["email_open_count_30d"].is_not_null().all()
    assert having[measure].is_not_null().all()
    assert of_users(scores, LACKING)["engagement_score"].is_not_null().all()
    # What is made of other events, too, is made of those that are left.
    sent_or_bought = mail(USERS).filter(pl.col("kind") == "email_send").height
    days = without.select("user_id", "active_days_30d", "email_send_count_30d")
    assert sent_or_bought
    assert days.filter(pl.col("email_send_count_30d") > 0)["active_days_30d"].min() != 0


def test_accounts_are_made_of_what_counts(some: Made) -> None:
    features = some.table("features").filter(pl.col("region").is_not_null())
    own = features.group_by("region").agg(pl.col("email_open_count_30d").sum())
    told = features.select("region", "account_email_open_count_30d").unique()
    assert dict(told.iter_rows()) == dict(own.iter_rows())


# ----------------------------------------------------------------------------------------------------------- the models


def test_gd02_a_second_model_is_trained_without_the_inputs(some: Made) -> None:
    bundle = some.bundle
    assert bundle.inputs == Inputs(("open_tracking",), (("email_open", 1), ("email_open_machine", 1)))
    [model] = bundle.reduced
    [full] = [one for one in bundle.models if one.spec.target.name == "buys"]
    # Nobody without the purpose can have a score of `opens`.
    assert [one.spec.target.name for one in bundle.models] == ["buys", "opens"]
    assert model.spec.target == full.spec.target
    unknown = unknown_columns(bundle.spec, bundle.inputs)
    assert unknown & {*full.spec.features}
    assert not unknown & {*model.spec.features}
    assert {*full.spec.features} - {*model.spec.features} == unknown & {*full.spec.features}
    rows = {
        name: {part: count for part, count, _ in one.spec.learned} for name, one in (("full", full), ("reduced", model))
    }
    assert all(rows["full"][part] < rows["reduced"][part] for part in rows["full"])
    assert some.fitted.counts["reduced_models"].keys() == {"buys"}


def test_gd02_everybody_has_the_score_of_the_one_model_that_may_be_used(some: Made) -> None:
    scores = some.table("scores")
    without, having = of_users(scores, LACKING), of_users(scores, {*EVERYBODY} - LACKING)
    assert set(without["propensity_buys_model"]) == {"reduced"}
    assert set(having["propensity_buys_model"]) == {"full"}
    assert scores["propensity_buys"].is_not_null().all()
    assert scores["propensity_buys_class"].is_not_null().all()
    assert without["propensity_opens"].is_null().all()
    assert without["propensity_opens_model"].is_null().all()
    assert set(having["propensity_opens_model"]) == {"full"}
    assert "propensity_buys_model" not in some.table("segments").columns


def test_a_bundle_with_reduced_models_is_read_as_it_was_written(some: Made, tmp_path: Path) -> None:
    folder = Path(str(some.fitted.bundle))
    written = bundle_files(some.bundle)
    assert {name: text.encode() for name, text in written.items()} == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    assert json.loads(written["bundle.json"])["reduced"] == ["buys"]
    assert "every purpose" in written["targets/buys/card.md"]
    assert "lack a purpose" in written["targets/buys/reduced/card.md"]
    plain = {name for name in written if "reduced" in name}
    assert plain == {f"targets/buys/reduced/{name}" for name in ("model.txt", "model.json", "card.md")}


@pytest.mark.slow
def test_another_choice_of_inputs_needs_another_fit(some: Made, tmp_path: Path) -> None:
    text = some.file.read_text(encoding="utf-8")
    for change in (
        'without_inputs = "leave_out"\n[consent.inputs]',
        '[consent.inputs]\nemail_marketing = ["purchase"]',
    ):
        (some.file.parent / "other.toml").write_text(text.replace("[consent.inputs]", change), encoding="utf-8")
        config = configuration(some.file.parent / "other.toml", out=str(tmp_path / "out"))
        with pytest.raises(ConfigError, match=r"consent\.inputs differ") as caught:
            score_run(config, AS_OF, executor=LOCAL, bundle=Path(str(some.fitted.bundle)))
        assert caught.value.code == "bundle-other-configuration"


def test_reasons_are_those_of_the_model_that_scored(some: Made) -> None:
    users = tuple(str(user) for user in (3, 4, 5, 7))
    found = explain_run(some.config, AS_OF, Question(users), executor=LOCAL)
    told = of_users(some.table("scores"), [3, 4, 5, 7])
    assert found.record.counts["warnings"] == []
    buys = found.scores.filter(pl.col("target") == "buys").sort("user_id")
    assert buys["probability"].to_list() == told["propensity_buys"].to_list()
    opens = found.scores.filter(pl.col("target") == "opens").sort("user_id")
    assert opens["probability"].is_null().to_list() == [user in LACKING for user in (3, 4, 5, 7)]


@pytest.mark.slow
def test_validation_tells_the_models_apart(some: Made, tmp_path: Path) -> None:
    config = configuration(some.file, out=str(tmp_path / "out"))
    day = AS_OF - timedelta(days=14)
    fit_run(config, day, executor=LOCAL)
    score_run(config, day, executor=LOCAL)
    found = validate_run(config, day, executor=LOCAL, by=("propensity_buys_model",))
    buys, opens = found.matured
    assert buys.counts.unscored == 0
    assert 0 < opens.counts.unscored == buys.counts.rows - opens.counts.rows
    [(_, groups)] = buys.groups
    assert {group.value for group in groups} == {"full", "reduced"}
    assert sum(group.counts.rows for group in groups) == buys.counts.rows


# -------------------------------------------------------------------------------------------------- who else is touched


@pytest.mark.slow
def test_gd02_a_withdrawal_changes_nobody_else(some: Made, tmp_path: Path) -> None:
    withdrew = 3
    assert withdrew not in LACKING
    other = write_consented(tmp_path / "log", {"open_tracking": {*LACKING, withdrew}}, CONSENT + ACCOUNTS)
    config = configuration(other, out=str(tmp_path / "out"))
    score_run(config, AS_OF, executor=LOCAL, bundle=Path(str(some.fitted.bundle)))
    for table in TABLES:
        was, now = some.table(table), published(tmp_path / "out", table).drop("as_of", strict=False)
        was, now = (frame.select(pl.exclude("^account_.*$", "run_id")) for frame in (was, now))
        others = [user for user in EVERYBODY if user != withdrew]
        assert of_users(now, others).sort(now.columns).equals(of_users(was, others).sort(was.columns)), table
    now = published(tmp_path / "out", "scores").filter(pl.col("user_id") == withdrew)
    assert now["propensity_buys_model"].item() == "reduced"
    assert now["propensity_opens"].item() is None


@pytest.mark.slow
def test_gd02_who_has_nothing_else_is_withheld_and_counted(partly: Made) -> None:
    bought = {*shop(USERS)["customer"]}
    nothing = {user for user in EVERYBODY if all(user in users for users in LACKING_BOTH.values())} - bought
    only_sends = {user for user in LACKING_BOTH["email_marketing"] if user not in bought} - nothing
    opened = {*mail(USERS).filter(pl.col("kind") == "email_open")["customer"]}
    nothing |= only_sends - opened
    assert nothing
    assert partly.scored.counts["withheld"]["no_usable_event"] == len(nothing)
    assert partly.fitted.counts["users"] == partly.scored.counts["users"] == USERS - len(nothing)
    assert {*EVERYBODY} - {*partly.table("scores")["user_id"]} == nothing


@pytest.mark.slow
def test_gd02_who_lacks_some_purposes_only_is_scored_without_any_input(partly: Made, tmp_path: Path) -> None:
    scores, features = partly.table("scores"), partly.table("features")
    opens, sends = LACKING_BOTH["open_tracking"], LACKING_BOTH["email_marketing"]
    partial = opens ^ sends
    told = of_users(scores, opens | sends)
    assert set(told["propensity_buys_model"]) <= {"reduced", None}
    # Published are the events that count for the user, all the same.
    assert of_users(features, opens - sends)["email_send_count_total"].is_not_null().all()
    assert of_users(features, opens - sends)["email_open_count_total"].is_null().all()
    assert of_users(features, sends - opens)["email_send_count_total"].is_null().all()
    # The score is the one that they would have without any of the inputs.
    scored = told.filter(pl.col("propensity_buys_model").is_not_null())["user_id"]
    config = configuration(write_consented(tmp_path / "log", dict.fromkeys(LACKING_BOTH, opens | sends), BOTH))
    score_run(config, AS_OF, executor=LOCAL, bundle=Path(str(partly.fitted.bundle)))
    again = published(Path(config.out), "scores")
    both = [user for user in scored if user in {*again["user_id"]}]
    assert {*both} & partial
    columns = ["user_id", "propensity_buys", "propensity_buys_percentile", "propensity_buys_class"]
    assert of_users(again, both).select(columns).equals(of_users(scores, both).select(columns))
    # Who has nothing left then has no score, and is there: some of their events do count.
    unscored = told.filter(pl.col("propensity_buys_model").is_null())["user_id"]
    assert {*unscored} <= partial - {*shop(USERS)["customer"]}


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("executor", ["ray"], indirect=True)
def test_the_same_bytes_on_ray(partly: Made, executor: Executor, tmp_path: Path) -> None:
    config = configuration(partly.file, out=str(tmp_path / "out"))
    fit_run(config, AS_OF, executor=executor)
    score_run(config, AS_OF, executor=executor)
    assert files(tmp_path / "out") == files(partly.out)


@pytest.mark.slow
def test_users_in_other_portions(partly: Made, tmp_path: Path) -> None:
    config = configuration(partly.file, out=str(tmp_path / "out"), execution__rows_per_task=5_000)
    fitted = fit_run(config, AS_OF, executor=LOCAL)
    score_run(config, AS_OF, executor=LOCAL)
    assert Path(str(fitted.bundle)).name == Path(str(partly.fitted.bundle)).name
    for table in TABLES:
        assert rows_of(tmp_path / "out", table) == rows_of(partly.out, table), table


# -------------------------------------------------------------------------------------------------------- other choices


@pytest.mark.slow
def test_gd02_leave_out(tmp_path: Path) -> None:
    toml = CONSENT.replace("[consent.inputs]", 'without_inputs = "leave_out"\n[consent.inputs]')
    left = made(tmp_path / "log", {"open_tracking": LACKING}, toml)
    assert left.scored.counts["withheld"]["open_tracking"] == len(LACKING)
    assert left.scored.counts["users"] == USERS - len(LACKING)
    assert not {*left.table("scores")["user_id"]} & LACKING
    bundle = left.bundle
    assert bundle.inputs is None
    assert bundle.reduced == ()
    assert "propensity_buys_model" not in left.table("scores").columns


@pytest.mark.slow
def test_too_little_for_a_reduced_model_is_told_and_stops_nothing(tmp_path: Path) -> None:
    toml = CONSENT.replace('["email_open"]', '["email_open", "email_send"]')
    file = write_consented(tmp_path / "log", {"open_tracking": LACKING}, toml)
    text = file.read_text(encoding="utf-8").replace(
        "horizon_days = 14\n", 'horizon_days = 14\npopulation = "email_send_count_30d > 0"\n', 1
    )
    file.write_text(text, encoding="utf-8")
    config = configuration(file)
    fitted = fit_run(config, AS_OF, executor=LOCAL)
    assert load_bundle(Path(str(fitted.bundle))).reduced == ()
    [told] = [line for line in fitted.counts["warnings"] if "no reduced model" in line]
    assert told.startswith("target 'buys': ")
    score_run(config, AS_OF, executor=LOCAL)
    scores = of_users(published(Path(config.out), "scores"), LACKING)
    assert scores["propensity_buys"].is_null().all()
    assert scores["propensity_buys_model"].is_null().all()


@pytest.mark.slow
def test_too_little_for_a_full_model_says_who_it_learns_from(tmp_path: Path) -> None:
    file = write_consented(tmp_path / "log", {"open_tracking": EVERYBODY})
    with pytest.raises(DataError, match=r"agreed to every purpose of consent\.inputs: 0 at as_of") as caught:
        fit_run(configuration(file), AS_OF, executor=LOCAL)
    assert caught.value.code == "model-too-few-rows"


@pytest.mark.slow
def test_points_of_opens_alone_are_no_points_for_who_lacks_them(tmp_path: Path) -> None:
    weights = "\n[engagement]\nweights = { email_open = 1 }\n"
    scores = made(tmp_path / "log", {"open_tracking": LACKING}, CONSENT + weights).table("scores")
    assert of_users(scores, LACKING)["engagement_score"].is_null().all()
    assert of_users(scores, {*EVERYBODY} - LACKING)["engagement_score"].is_not_null().all()


@pytest.mark.parametrize(
    ("types", "more", "message"),
    [
        ('["email_opne"]', "", "consent.inputs.open_tracking: no row has the event type 'email_opne' (did you mean"),
        (
            '["email_open", "phone"]',
            '[[features.events]]\nname = "phone"\nevent = "email_open"\nwhere = "channel = \'phone\'"\n',
            "consent.inputs.open_tracking: 'phone' is made in features.events; name 'email_open'",
        ),
    ],
)
def test_unknown_inputs_are_refused_before_any_work(tmp_path: Path, types: str, more: str, message: str) -> None:
    file = write_consented(
        tmp_path / "log", {"open_tracking": LACKING}, CONSENT.replace('["email_open"]', types) + more
    )
    with pytest.raises(ConfigError) as caught:
        fit_run(configuration(file), AS_OF, executor=LOCAL)
    assert caught.value.code == "event-type-unknown"
    assert message in caught.value.message
