"""What answers cost: tokens and US dollars by account, and a budget never knowingly exceeded.

An account is whatever spends is told apart by: a model by its name on the server, or one judge.

Before a request its worst case is reserved; what it used is recorded when it is answered. Failed
requests count nothing, since a server does not say what they used. With a journal, what was spent
before a restart counts too.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from evals.errors import UserError
from evals.journal import Entry, Journal

__all__ = ["Budget", "BudgetError", "Ledger", "Price", "Spending", "Usage"]


class BudgetError(UserError):
    """The next request could exceed the budget; it was not sent."""


@dataclasses.dataclass(frozen=True)
class Price:
    """What a model costs, in US dollars for a million tokens."""

    input_usd_per_million: float
    output_usd_per_million: float


@dataclasses.dataclass(frozen=True)
class Budget:
    """The most that may be spent, on all models together; `None` is no limit."""

    max_tokens: int | None = None
    max_usd: float | None = None


@dataclasses.dataclass(frozen=True)
class Usage:
    """Tokens of prompts and of answers."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Tokens of both."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclasses.dataclass(frozen=True)
class Spending:
    """What one model was asked and what it cost.

    Args:
        n_answered: Requests that the server answered.
        n_cached: Requests answered from the cache, at no cost.
        n_failed: Calls that failed for good.
        n_refused: Answers that were empty, refused or filtered by the server.
        usage: Tokens of the answered requests.
        unsettled: Tokens that requests under way when a process was killed may have taken.
        cost_usd: Their cost in US dollars; `None` where the model has no price.
    """

    n_answered: int = 0
    n_cached: int = 0
    n_failed: int = 0
    n_refused: int = 0
    usage: Usage = Usage()
    unsettled: Usage = Usage()
    cost_usd: float | None = None

    def __add__(self, other: Spending) -> Spending:
        return Spending(
            self.n_answered + other.n_answered,
            self.n_cached + other.n_cached,
            self.n_failed + other.n_failed,
            self.n_refused + other.n_refused,
            self.usage + other.usage,
            self.unsettled + other.unsettled,
        )


class Ledger:
    """Counts of one run; shared by threads, and by several endpoints if so wished.

    Args:
        prices: What they cost, by account.
        budget: What may be spent.
        journal: Where what was spent is kept; what it holds already counts.

    Raises:
        RecordError: The journal is damaged.
        UserError: The budget is in US dollars, and what the journal tells of has no price.
    """

    def __init__(
        self,
        prices: Mapping[str, Price] | None = None,
        budget: Budget | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._prices = dict(prices or {})
        self._budget = budget or Budget()
        self._journal = journal
        self._spent = _spent_before(journal.read() if journal else [])
        for model in self._spent:
            self._check_price(model)
        self._reserved: list[tuple[str, Usage]] = []
        self._settled = threading.Condition()

    def spending(self) -> dict[str, Spending]:
        """Return what was spent so far, by account."""
        with self._settled:
            return {
                model: dataclasses.replace(spent, cost_usd=self._cost_usd([(model, spent.usage)]))
                for model, spent in self._spent.items()
            }

    @contextmanager
    def reserve(self, model: str, at_most: Usage) -> Iterator[None]:
        """Hold the worst case of one request while it is under way.

        Waits for requests under way where they may leave enough.

        Raises:
            BudgetError: The request could exceed the budget.
            UserError: The budget is in US dollars and the model has no price.
        """
        self._check_price(model)
        with self._settled:
            while not self._fits(model, at_most):
                if not self._reserved:
                    raise self._exceeded(at_most)
                self._settled.wait()
            self._note("sent", model, at_most)
            self._reserved.append((model, at_most))
        try:
            yield
        finally:
            with self._settled:
                self._reserved.remove((model, at_most))
                self._settled.notify_all()
                self._note("ended", model, at_most)

    def record(self, model: str, more: Spending) -> None:
        """Add to what the model was asked; cost follows from the tokens."""
        with self._settled:
            self._spent[model] = self._spent.get(model, Spending()) + more
            if more.n_answered:
                self._note("answered", model, more.usage)

    def _note(self, event: Literal["sent", "answered", "ended"], model: str, usage: Usage) -> None:
        if self._journal:
            tokens = (usage.prompt_tokens, usage.completion_tokens)
            self._journal.append(Entry(event, model, *tokens))

    def _check_price(self, model: str) -> None:
        if self._budget.max_usd is not None and model not in self._prices:
            raise UserError(
                f"a budget in US dollars needs the price of `{model}`",
                hint="give its price for a million tokens in and out, or a budget in tokens",
            )

    def _fits(self, model: str, at_most: Usage) -> bool:
        bills = [*self._bills(), *self._reserved, (model, at_most)]
        max_tokens, max_usd = self._budget.max_tokens, self._budget.max_usd
        if max_tokens is not None and _total(bills).total_tokens > max_tokens:
            return False
        return max_usd is None or (self._cost_usd(bills) or 0.0) <= max_usd

    def _bills(self) -> list[tuple[str, Usage]]:
        return [(model, spent.usage + spent.unsettled) for model, spent in self._spent.items()]

    def _cost_usd(self, bills: Iterable[tuple[str, Usage]]) -> float | None:
        """Return the cost of all bills; `None` where one has tokens and no price."""
        millionths = 0.0
        for model, usage in bills:
            price = self._prices.get(model)
            if price is None:
                if usage.total_tokens:
                    return None
                continue
            millionths += usage.prompt_tokens * price.input_usd_per_million
            millionths += usage.completion_tokens * price.output_usd_per_million
        return millionths / 1e6

    def _exceeded(self, at_most: Usage) -> BudgetError:
        bills = self._bills()
        limits = []
        if self._budget.max_tokens is not None:
            spent = _total(bills).total_tokens
            limits.append(f"{spent:,} of {self._budget.max_tokens:,} tokens")
        if self._budget.max_usd is not None:
            limits.append(f"{self._cost_usd(bills) or 0.0:.4f} of {self._budget.max_usd:g} USD")
        return BudgetError(
            f"the budget is spent: {' and '.join(limits)}, "
            f"and the next request may take {at_most.total_tokens:,} tokens",
            hint="raise the budget and run again: answers in the cache are not paid twice",
        )


def _spent_before(entries: Iterable[Entry]) -> dict[str, Spending]:
    """Return what a journal tells, by model; what was sent and did not end is unsettled."""
    spent: dict[str, Spending] = {}
    for entry in entries:
        usage = Usage(entry.prompt_tokens, entry.completion_tokens)
        match entry.event:
            case "answered":
                more = Spending(n_answered=1, usage=usage)
            case "sent":
                more = Spending(unsettled=usage)
            case "ended":
                more = Spending(unsettled=Usage(-usage.prompt_tokens, -usage.completion_tokens))
        spent[entry.model] = spent.get(entry.model, Spending()) + more
    return spent


def _total(bills: Iterable[tuple[str, Usage]]) -> Usage:
    return sum((usage for _, usage in bills), Usage())
