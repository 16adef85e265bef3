"""Objects in DVC's remotes: which remotes are configured, whether they hold an object, and deleting it there.

DVC itself has no command that deletes named objects of a remote (`gc` deletes what is not in use), so its own object
database is asked, which knows every kind of remote and its credentials.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components.errors import StorageError


class DvcRemotes:
    """The remotes of a project's .dvc/config, opened when one is first asked."""

    def __init__(self, root: Path) -> None:
        os.environ.setdefault("DVC_SITE_CACHE_DIR", str(root / "var" / "dvc-site"))
        os.environ.setdefault("DVC_NO_ANALYTICS", "1")
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
        from dvc.scm import SCMError

        try:
            self._repo = Repo(str(root))
        except (DvcException, SCMError) as error:
            raise StorageError(f"{root}: DVC cannot be opened ({error}); mend .dvc/config") from None
        self._open: dict[str, Any] = {}

    @property
    def names(self) -> list[str]:
        """The remotes' names."""
        return sorted(self._repo.config["remote"])

    def held(self, name: str, md5s: Iterable[str]) -> list[str]:
        """Return those of the digests whose object the remote holds.

        Raises:
            StorageError: the remote cannot be reached.
        """
        return [md5 for md5 in sorted(set(md5s)) if self._ask(name, "exists", md5)]

    def delete(self, name: str, md5: str) -> bool:
        """Delete an object; return whether the remote held it.

        Raises:
            StorageError: the remote cannot be reached, or refuses.
        """
        if not self._ask(name, "exists", md5):
            return False
        self._ask(name, "delete", md5)
        return True

    def _ask(self, name: str, what: str, md5: str) -> Any:
        try:
            if name not in self._open:
                self._open[name] = self._repo.cloud.get_remote_odb(name)
            return getattr(self._open[name], what)(md5)
        except Exception as error:  # each kind of remote raises its own client's errors
            raise StorageError(f"DVC remote {name}: {type(error).__name__}: {str(error)[:200]}; mend its address or credentials in .dvc/config, then run again") from None
