"""`quarkmed automations`: bring the notifications of infra/automations.yaml to the Prefect server, as often as one likes.

An automation of that name is replaced, another is left alone. The file holds no secret: a notification is sent by a block
that a person makes in the page, and the command only names it.
"""

import os
from pathlib import Path
from typing import Any

from rich.console import Console

from components.errors import ServiceError, SettingsError
from components.settings.settings import load_settings, read_yaml
from flows.service_catalogue import prefect_environment, prefect_service
from flows.services import is_healthy

FILE = "infra/automations.yaml"
MOST = 200  # automations of a server that are looked at


def show_automations(root: Path, *, notify: str | None, console: Console) -> None:
    """Apply the file's automations where a block is named, then print which of them the server has.

    Args:
        notify: "type/name" of a notification block, for example slack-webhook/team; None: change nothing.
    Raises:
        ServiceError: Prefect's server does not answer.
        SettingsError: there is no such block, or Prefect refuses an automation.
    """
    settings = load_settings(root / "params.yaml").system
    if "PREFECT_API_URL" not in os.environ:  # elsewhere than on this machine
        if not is_healthy(prefect_service(root, settings)):
            raise ServiceError("the Prefect server does not answer; run `quarkmed up`, or name a team's server in PREFECT_API_URL")
        os.environ.update(prefect_environment(root, settings.prefect_port))
    from flows.tables import print_table

    wanted = read_yaml(root / FILE)["automations"]
    applied = apply_automations(wanted, notify=notify) if notify else {}
    found = known_automations()
    rows = [[item["name"], applied.get(item["name"], "there" if item["name"] in found else "not there"), found.get(item["name"], "–"), item["description"]] for item in wanted]
    print_table(console, "automations", ["name", "now", "on", "what for"], rows)
    if not notify:
        console.print("`--notify TYPE/NAME` applies them; make the block in the Prefect page under Blocks first.", highlight=False)


def apply_automations(wanted: list[dict[str, Any]], *, notify: str) -> dict[str, str]:
    """Make or replace each automation; return {name: "made" or "replaced"}."""
    from prefect import get_client
    from prefect.events.schemas.automations import AutomationCore
    from pydantic import ValidationError

    block = _block_id(notify)
    done = {}
    with get_client(sync_client=True) as client:
        for row in wanted:
            actions = [{**action, "block_document_id": block} if action["type"] == "send-notification" else action for action in row["actions"]]
            try:
                automation = AutomationCore.model_validate({**row, "actions": actions})
            except ValidationError as error:
                raise SettingsError(f"{FILE}: automation {row.get('name')!r}: {error.errors()[0]['msg']}; mend it") from None
            known = client.read_automations_by_name(automation.name)
            if known:
                client.update_automation(known[0].id, automation.model_copy(update={"enabled": known[0].enabled}))
            else:
                client.create_automation(automation)
            done[automation.name] = "replaced" if known else "made"
    return done


def known_automations() -> dict[str, str]:
    """Return {name: on or off} of the server's automations."""
    from prefect import get_client
    from prefect.client.schemas.sorting import AutomationSort

    with get_client(sync_client=True) as client:  # without a sort and a limit the server refuses the client's own request
        found = client.read_automations(sort=AutomationSort.NAME_ASC, limit=MOST)
    return {item.name: "on" if item.enabled else "off" for item in found}


def _block_id(notify: str) -> str:
    from prefect import get_client
    from prefect.exceptions import ObjectNotFound

    kind, slash, name = notify.partition("/")
    if not slash or not name:
        raise SettingsError(f"--notify: {notify!r} is no block; expected TYPE/NAME, for example slack-webhook/team")
    with get_client(sync_client=True) as client:
        try:
            return str(client.read_block_document_by_name(name, kind, include_secrets=False).id)
        except ObjectNotFound:
            raise SettingsError(f"--notify: the Prefect server has no block {notify!r}; make it in the page under Blocks, then run this again") from None
