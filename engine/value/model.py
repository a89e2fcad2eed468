"""Customer value: fitted once, then four columns per user for rules and tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Final

import numpy as np
import polars as pl
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from engine.config_learning import CustomerValue
from engine.errors import ConfigError, DataError, IntegrityError
from engine.tables.durable import canonical_json
from engine.value.bgnbd import RANGES, BgNbd, Integers, fit_bgnbd, p_alive
from engine.value.clv import discounted, period_ends
from engine.value.counts import CUSTOMERS, FREQUENCY, Counts, repeat_spend_minor
from engine.value.expected import purchases_if_alive
from engine.value.gamma_gamma import GammaGamma, correlation, expected_order, fit_gamma_gamma, paying
from engine.value.goodness import actual_counts, expected_counts
from engine.value.optimum import Floats

VALUE_SCHEMA: Final[dict[str, pl.DataType]] = {
    "value_expected_purchases": pl.Float64(),
    "value_p_alive": pl.Float64(),
    "value_expected_order": pl.Float64(),
    "value_clv": pl.Float64(),
}
"""Name and type of the columns of `value_columns`."""

_DECIMALS: Final = 6
_CORRELATED: Final = 0.3
_DISTANT: Final = 2.0


@dataclass(frozen=True)
class ValueFit:
    """What the models were fitted on and how well they fit.

    Attributes:
        customers: Customers with a purchase.
        repeat_customers: Those of them with a repeat purchase.
        without_spend: Those of these whose repeat purchases are worth nothing, or less; left out of Gamma-Gamma.
        histories: Distinct (frequency, recency, T).
        purchases_log_likelihood: Of BG/NBD, over all customers, time in weeks.
        spend_log_likelihood: Of Gamma-Gamma, over the repeat customers with spend, money in major units.
        correlation: Of the number of repeat purchases and their mean spend; Gamma-Gamma takes it to be 0.
        actual: Customers with 0, 1, …, 6 and with 7 or more repeat purchases.
        expected: The same as BG/NBD expects it.
        warnings: What somebody should know before using the values, one sentence each.
    """

    customers: int
    repeat_customers: int
    without_spend: int
    histories: int
    purchases_log_likelihood: float
    spend_log_likelihood: float
    correlation: float
    actual: tuple[int, ...]
    expected: tuple[float, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ValueModel:
    """Two fitted models and what they are used for.

    Attributes:
        purchases: BG/NBD; alpha in weeks.
        spend: Gamma-Gamma; v in major units.
        horizon_days: Days after the date of a run that purchases and value are expected in.
        discount_rate: Of a year.
        currency_digits: Decimals of the minor unit.
        fit: What the models were fitted on.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    purchases: BgNbd
    spend: GammaGamma
    horizon_days: Annotated[int, Field(ge=1)]
    discount_rate: Annotated[float, Field(ge=0)]
    currency_digits: Annotated[int, Field(ge=0)]
    fit: ValueFit

    def to_json(self) -> str:
        """The model as JSON; the same model gives the same bytes, and floats come back exactly."""
        return canonical_json(_adapter().dump_python(self, mode="json"))

    @staticmethod
    def from_json(text: str | bytes) -> ValueModel:
        """The model that `to_json` wrote.

        Raises:
            IntegrityError: It is not JSON, has other fields or types, or parameters that no fit gives.
        """
        try:
            model = _adapter().validate_json(text, strict=True)
        except ValidationError as error:
            raise _damaged(
                [f"{'.'.join(map(str, entry['loc'])) or 'text'}: {entry['msg']}" for entry in error.errors()]
            ) from None
        values = dict(zip((one.name for one in RANGES), model.purchases.values, strict=True))
        values |= {"p": model.spend.p, "q - 1": model.spend.q - 1.0, "v": model.spend.v}
        problems = [f"{name}: {value} is not positive" for name, value in values.items() if not value > 0]
        if problems:
            raise _damaged(problems)
        return model


def check_purchases(purchase: str | None) -> None:
    """Stop when there is no event type whose value could be expected.

    Raises:
        ConfigError: No event type plays the part of a purchase.
    """
    if purchase is None:
        raise ConfigError(
            "[value] is set, and no event type is a purchase",
            code="value-purchase",
            hint="Name the event type in events.purchase, or take [value] out.",
        )


def fit_value(counts: Counts, settings: CustomerValue, currency_digits: int) -> ValueModel:
    """Both models at their greatest likelihood; the same counts give the same model, bit by bit.

    Args:
        counts: All customers.
        settings: Horizon, discount rate and the least number of customers.
        currency_digits: Decimals of the minor unit.

    Raises:
        DataError: Too few customers, or a likelihood without a maximum.
    """
    histories, spend = counts.histories, paying(counts.spend)
    customers = int(histories[CUSTOMERS].sum())
    repeating, spending = int(counts.spend[CUSTOMERS].sum()), int(spend[CUSTOMERS].sum())
    _check_size(customers, repeating, spending, settings.min_customers)
    purchases, orders = fit_bgnbd(histories), fit_gamma_gamma(spend, currency_digits)
    searched = {
        f"BG/NBD ({customers} customers, {histories.height} different histories)": (
            purchases,
            tuple(one.name for one in RANGES),
        ),
        f"Gamma-Gamma ({spending} customers)": (orders, ("p", "q", "v")),
    }
    problems = [
        f"  {what}: {found.problem}; "
        + ", ".join(f"{name} = {value:.6g}" for name, value in zip(names, found.values, strict=True))
        for what, (found, names) in searched.items()
        if found.problem is not None
    ]
    if problems:
        raise DataError(
            "customer value could not be fitted\n" + "\n".join(problems),
            code="value-fit",
            hint="The customers differ too little, or the log is too short, for these models: "
            "take a longer log, or take [value] out.",
        )
    bgnbd, gamma_gamma = BgNbd(*purchases.values), GammaGamma(*orders.values)
    related = round(correlation(spend), _DECIMALS)
    fit = ValueFit(
        customers=customers,
        repeat_customers=repeating,
        without_spend=repeating - spending,
        histories=histories.height,
        purchases_log_likelihood=round(purchases.mean * customers, 3),
        spend_log_likelihood=round(orders.mean * spending, 3),
        correlation=related,
        actual=actual_counts(histories),
        expected=tuple(round(float(count), 3) for count in expected_counts(histories, bgnbd)),
        warnings=_warnings(spend, gamma_gamma, related, currency_digits),
    )
    return ValueModel(bgnbd, gamma_gamma, settings.horizon_days, settings.discount_rate, currency_digits, fit)


def value_columns(frame: pl.DataFrame, model: ValueModel) -> list[pl.Series]:
    """What each user is expected to buy and to be worth, from the day of the features on.

    A user's values depend on the user's own features alone. They are rounded to six decimals.

    Args:
        frame: One row per user with `engine.value.counts.BTYD_COLUMNS`.
        model: The fitted model.

    Returns:
        `value_expected_purchases`: days with a purchase in the next `horizon_days`. `value_p_alive`: probability that
        the user still buys, 1 for a user with one purchase. `value_expected_order`: mean spend on such a day, in major
        units. `value_clv`: spend expected in the horizon, discounted, in major units. Float64; null without a purchase.
    """
    bought = frame.select(
        "btyd_frequency", "btyd_recency_days", "btyd_t_days", spend_minor=repeat_spend_minor(model.currency_digits)
    ).with_row_index("row")
    bought = bought.drop_nulls("btyd_frequency")
    rows = bought["row"].to_numpy()
    x, recency, age, spend = (bought[name].to_numpy().astype(np.int64) for name in bought.columns[1:])
    alive = p_alive(model.purchases, x, recency, age)
    purchases, now = _purchases(model, x, age)
    order = expected_order(model.spend, x, spend, model.currency_digits)
    columns = (alive * purchases, alive, order, alive * now * order)
    return [_column(name, values, rows, frame.height) for name, values in zip(VALUE_SCHEMA, columns, strict=True)]


def _purchases(model: ValueModel, x: Integers, age: Integers) -> tuple[Floats, Floats]:
    """Purchases of living customers in the horizon, as they are and discounted; once per distinct (x, T)."""
    days = int(age.max(initial=0)) + 1
    distinct, place = np.unique(x * days + age, return_inverse=True)
    ends = period_ends(model.horizon_days)
    expected = purchases_if_alive(model.purchases, distinct // days, distinct % days, ends)
    now = discounted(expected, ends, model.discount_rate)
    return expected[place, -1], now[place]


def _column(name: str, values: Floats, rows: Integers, height: int) -> pl.Series:
    column = np.full(height, np.nan)
    column[rows] = values
    return pl.Series(name, column, dtype=pl.Float64).fill_nan(None).round(_DECIMALS)


def _check_size(customers: int, repeating: int, spending: int, least: int) -> None:
    problems = []
    if repeating < least:
        problems.append(f"  {repeating} of {customers} customers have a repeat purchase")
    if spending < least:
        problems.append(f"  {spending} of {repeating} repeat customers spent something on repeat purchases")
    if problems:
        raise DataError(
            f"too few customers for customer value, which needs {least} (value.min_customers)\n" + "\n".join(problems),
            code="value-customers",
            hint="Take a longer log, map the amount of purchases, lower value.min_customers, or take [value] out.",
        )


def _warnings(spend: pl.DataFrame, model: GammaGamma, related: float, currency_digits: int) -> tuple[str, ...]:
    found = []
    if abs(related) > _CORRELATED:
        found.append(
            f"customer value: the number of purchases and their mean spend are correlated ({related:.2f}); "
            "Gamma-Gamma takes them to be independent, so value_expected_order and value_clv are biased"
        )
    repeats = int((spend[FREQUENCY] * spend[CUSTOMERS]).sum())
    mean = int((spend["spend_minor"] * spend[CUSTOMERS]).sum()) / 10**currency_digits / repeats
    if model.mean > _DISTANT * mean:
        found.append(
            f"customer value: Gamma-Gamma expects orders of {model.mean:.2f} from new customers, repeat purchases were "
            f"{mean:.2f} on average; a few large spenders decide value_expected_order"
        )
    return tuple(found)


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[ValueModel]:
    return TypeAdapter(ValueModel)


def _damaged(problems: list[str]) -> IntegrityError:
    return IntegrityError(
        f"the stored customer value model has {len(problems)} faults: " + "; ".join(problems),
        code="bundle-value",
        hint="Run `tamis fit` again to write a new bundle.",
    )
