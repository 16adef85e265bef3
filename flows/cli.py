"""The command line `quarkmed`. Nothing heavy is imported until a command runs, so that `--help` answers at once.
The commands are declared in `flows/command_line/`.

Every failure ends in one line, the last one said, and the exit code of its class (components/errors.py); a traceback of
anything unexpected goes to var/logs/.
"""

import sys
import time
import traceback

from components.errors import QuarkmedError, SettingsError
from components.launch.process_end import leave_out_teardown
from components.launch.stage_environment import start_again_with_large_pages, was_started_for
from flows.command_line.app import app, project_root

# isort: off
from flows.command_line import runs, lineage, services, models, recipes  # noqa: F401 - each adds its commands, in the order of --help
# isort: on

TRAINING = (["stage"], ["train"])  # commands that train in this very process, started and ended with more care


def main() -> None:
    """Run a command; end with one message and its exit code."""
    words = sys.argv[1:]
    if words[:1] not in TRAINING or not was_started_for(words):
        sys.exit(_run())
    start_again_with_large_pages()
    tell_code = leave_out_teardown()
    code = _run()
    tell_code(code)
    sys.exit(code)


def _run() -> int:
    """Run the command; return the exit code, what went wrong said."""
    try:
        app()
    except SystemExit as ended:  # how typer ends, well or not
        if not isinstance(ended.code, int | None):
            raise
        return ended.code or 0
    except QuarkmedError as error:
        print(f"quarkmed: {_one_line(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("quarkmed: stopped; run the command again to go on from the last checkpoint", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        from components.launch.failures import classify_failure

        known = classify_failure(error)
        print(f"quarkmed: {_one_line(known)}{_keep_traceback() if type(known) is QuarkmedError else ''}", file=sys.stderr)
        return known.exit_code
    return 0


def _one_line(error: Exception) -> str:
    """Return an error's words as one line, so that the last line said names the cause however many the words had."""
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())


def _keep_traceback() -> str:
    """Write what went wrong to a log and return where it is, in words; nothing where it cannot be written."""
    try:
        folder = project_root() / "var" / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"failure-{int(time.time())}.txt"
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except (OSError, SettingsError):
        return ""
    return f" (traceback in {path})"


if __name__ == "__main__":
    main()
