"""What all commands of `quarkmed` share: the application they are added to, the project's folder, the console."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from components.errors import SettingsError

if TYPE_CHECKING:
    from rich.console import Console

LOG_WIDTH = 160  # of tables in a file or a pipe
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Raw data to a promoted medical language model, in one command.")


def project_root() -> Path:
    """Return the nearest folder upwards that holds dvc.yaml and params.yaml.

    Raises:
        SettingsError: there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return folder
    raise SettingsError(f"{here}: no dvc.yaml and params.yaml here or above; run quarkmed in the project's folder")


def wide_console() -> "Console":
    """Return a console of the terminal's width; of `LOG_WIDTH` where the output is no terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=LOG_WIDTH)
