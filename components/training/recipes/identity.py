"""What determines a recipe's result, as named digests: how a checkpoint or a finished output is known to be its own."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from components.lineage import digest_file, digest_folder, digest_value
from components.settings.recipes import PolicyRecipe, Recipe

CODE = Path(__file__).parents[2]  # components/
ROOMS = ("modeling", "generation", "rewards", "training")
LIBRARIES = ("torch", "transformers", "tokenizers")


def recipe_identity(recipe: Recipe, *, folder: Path, threads: int) -> dict[str, Any]:
    """Return {part: digest or value} of everything the result depends on; where things lie is no part of it.

    Args:
        folder: of the model to start from.
        threads: in use; sums are added in an order that depends on it.
    """
    parts: dict[str, Any] = {"kind": recipe.kind, "seed": recipe.seed, "threads": threads}
    left_out = {*recipe.paths, "kind", "seed", "threads", "reward", "engine"}
    for name, value in recipe.model_dump(mode="json").items():
        if name not in left_out:
            parts |= {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
    parts["model"] = digest_folder(folder)
    parts["data"] = digest_file(Path(recipe.data))
    if validation := getattr(recipe, "validation", None):
        parts["validation"] = digest_file(Path(validation))
    if isinstance(recipe, PolicyRecipe):
        for source in recipe.reward:
            parts[f"reward {source.label}"] = [digest_file(Path(source.file)), source.function.rpartition(":")[2], source.weight]
    if not recipe.engine.is_single:
        parts["engine.strategy"] = recipe.engine.strategy
        if recipe.engine.strategy == "deepspeed":
            parts["engine.config"] = digest_file(Path(recipe.engine.config))
    parts["code"] = _code_digest()
    parts["libraries"] = {name: _version(name) for name in LIBRARIES}
    return parts


def changed_parts(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the names of the parts in which two identities differ."""
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _code_digest() -> str:
    files = sorted(path for room in ROOMS for path in (CODE / room).rglob("*.py"))
    return digest_value([[path.relative_to(CODE).as_posix(), digest_file(path)] for path in files])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
