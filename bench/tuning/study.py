"""The search's memory: an Optuna study in an SQLite file, which the same command continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.contract.seeds import derive
from bench.errors import UserError, one_line
from bench.results.record import first_difference
from bench.tuning.space import Dimension
from bench.tuning.trial import Outcome

FILE = "tuning.sqlite"
SAMPLERS = ("tpe", "random")


def optuna() -> Any:
    """Optuna, which is optional, silent but for errors; UserError where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise UserError("tuning needs Optuna, which is not installed: pip install 'optuna>=4'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


class Study:
    """The trials of one search in a folder; the caller holds its lock. Lower scores are better.

    What a trial tries is a function of `sampler`, `seed` and the outcomes of the trials before it, so that a search
    that was stopped goes on as if it had not been. `settings` are all that decides an outcome: UserError where the
    folder holds a search with others, or a damaged file.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], *, sampler: str, seed: int):
        self._optuna, self.sampler, self.seed = optuna(), sampler, seed
        path = out / FILE
        out.mkdir(parents=True, exist_ok=True)
        try:
            self._study = self._open(path)
            known = self._study.user_attrs.get("settings")
            if known is None:
                self._study.set_user_attr("settings", dict(settings))
            self._settle_stopped()
        except self._storage_errors() as error:
            reason = one_line(error)
            raise UserError(f"{path} cannot be used ({reason}): move it away, or choose another --out") from None
        difference = first_difference(known or settings, settings)
        if difference:
            raise UserError(f"{path} holds a search with another configuration ({difference}): choose another --out")

    def outcomes(self) -> list[Outcome]:
        """The outcomes of all trials that came to one, in order."""
        found = (trial.user_attrs.get("outcome") for trial in self._study.get_trials(deepcopy=False))
        return [Outcome(**one) for one in found if one]

    def ask(self, space: Sequence[Dimension], config: Any) -> tuple[Any, dict[str, Any]]:
        """A new trial and the settings that it tries: the first those of `config`, as far as the space holds them."""
        kinds = {"tpe": self._optuna.samplers.TPESampler, "random": self._optuna.samplers.RandomSampler}
        seed = derive("tuning", self.seed, len(self.outcomes())) % 2**32
        self._study.sampler = kinds[self.sampler](seed=seed)
        if not self.outcomes():
            known = {dimension.key: dimension.of(config) for dimension in space}
            self._study.enqueue_trial({key: value for key, value in known.items() if value is not None})
        trial = self._study.ask()
        settings: dict[str, Any] = {}
        for dimension in space:
            settings |= dimension.suggest(trial)
        return trial, settings

    def tell(self, trial: Any, outcome: Outcome) -> None:
        """Keep the outcome of a trial; one that did not finish counts as worse than all that did."""
        trial.set_user_attr("outcome", asdict(outcome))
        self._tell(trial.number, asdict(outcome))

    def _open(self, path: Path) -> Any:
        from sqlalchemy import URL

        url = URL.create("sqlite", database=str(path)).render_as_string()
        return self._optuna.create_study(storage=url, study_name="tuning", direction="minimize", load_if_exists=True)

    def _settle_stopped(self) -> None:
        """A trial without an outcome was stopped: it is set aside, and the next one tries the same settings."""
        states = self._optuna.trial.TrialState
        for trial in self._study.get_trials(deepcopy=False, states=[states.RUNNING, states.WAITING]):
            outcome = trial.user_attrs.get("outcome")
            if outcome:
                self._tell(trial.number, outcome)
            else:
                self._study.tell(trial.number, state=states.FAIL)

    def _tell(self, number: int, outcome: Mapping[str, Any]) -> None:
        states = self._optuna.trial.TrialState
        if outcome["status"] == "finished":
            self._study.tell(number, outcome["score"])
        else:  # the sampler takes a pruned trial without a value for the worst
            self._study.tell(number, state=states.PRUNED)

    def _storage_errors(self) -> tuple[type[Exception], ...]:
        from sqlalchemy.exc import SQLAlchemyError

        return (SQLAlchemyError, self._optuna.exceptions.StorageInternalError)
