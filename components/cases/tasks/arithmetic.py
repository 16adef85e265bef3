"""Atomic reasoning with numbers: units, comparison, dose ranges (report §3.1: the start of its reasoning curriculum)."""

from random import Random

from components.cases.splitting import combination_of
from components.cases.task import Draft, Task
from components.cases.world import World

# (from, to, factor, values drawn)
CONVERSIONS = (
    ("g", "mg", 1000, (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.8, 1, 1.2, 1.5, 2, 2.5, 3, 4)),
    ("mg", "mcg", 1000, (0.1, 0.2, 0.25, 0.4, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5)),
    ("l", "ml", 1000, (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3)),
    ("hours", "minutes", 60, (0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12)),
    ("days", "hours", 24, (1, 2, 3, 4, 5, 6, 7, 10)),
    ("weeks", "days", 7, (1, 2, 3, 4, 5, 6, 8, 10, 12)),
)


def draw_conversion(world: World, random: Random) -> Draft | None:
    """A quantity → the same in another unit."""
    source, target, factor, values = random.choice(CONVERSIONS)
    value = random.choice(values)
    drug = random.choice(world.drugs)
    answer = f"{value * factor:g} {target}"
    fields = {"value": f"{value:g} {source}", "unit": target, "drug": drug.name}
    return Draft(combination_of("number", "conversion", f"{value:g} {source}"), (f"number:{source}",), fields, answer, {"accept": [answer]})


def draw_comparison(world: World, random: Random) -> Draft | None:
    """Two amounts in mg or g → the larger or the smaller."""
    values = random.sample((50, 100, 125, 200, 250, 300, 400, 500, 600, 750, 800, 1000, 1200, 1500, 2000), 2)
    written = [f"{value / 1000:g} g" if random.random() < 0.4 else f"{value} mg" for value in values]
    is_larger = random.random() < 0.5
    answer = written[values.index(max(values) if is_larger else min(values))]
    fields = {"first": written[0], "second": written[1], "which": "larger" if is_larger else "smaller"}
    combination = combination_of("number", "comparison", *map(str, values))
    return Draft(combination, (f"number:{values[0]}",), fields, answer, {"accept": [answer]})


def draw_dose_check(world: World, random: Random) -> Draft | None:
    """A drug and a dose → below, within or above the usual adult range."""
    drug = random.choice(world.drugs)
    dose = drug.adult_dose
    answer = random.choice(("below", "within", "above"))
    amounts = {"below": dose.low / 4, "within": random.choice((dose.low, dose.high)), "above": dose.high * 4}
    amount = f"{amounts[answer]:g} {dose.unit} per {dose.per}"
    combination = combination_of(drug.id, "dose", answer)
    return Draft(combination, (drug.id,), {"drug": drug.name, "amount": amount}, answer, {"accept": [answer]})


def _task(name: str, draw: object, train: tuple[str, ...], held_out: str, level: int) -> Task:
    return Task(name, "ability", "analysis", level, "exact_text", draw, train, (held_out,))  # type: ignore[arg-type]


ARITHMETIC_TASKS = (
    _task(
        "unit_conversion", draw_conversion,
        ("Convert {value} to {unit}.", "{value} of {drug} in {unit}:", "How many {unit} are {value}?"),
        "Express {value} in {unit}.", 1,
    ),
    _task(
        "numeric_comparison", draw_comparison,
        ("Which is {which}: {first} or {second}?", "{first} or {second}: name the {which}.", "Compare {first} with {second}; give the {which}."),
        "Of two doses, {first} and {second}, state the {which}.", 1,
    ),
    _task(
        "dose_check", draw_dose_check,
        ("{drug} {amount}: below, within or above the usual adult range?", "Check the dose: {drug} {amount} (below, within, above)", "Is {amount} of {drug} below, within or above range?"),
        "Judge the dose {amount} for {drug}: below, within or above", 3,
    ),
)  # fmt: skip
