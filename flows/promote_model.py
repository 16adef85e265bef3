"""The flow `promote_model`: show a person what a version does against the champion, wait for the answer, settle it.

A flow of its own at the top, because it suspends: its process ends, and it may wait for days while server and worker are
restarted. Resumed, it starts from the top in a new process, so what was shown is kept in `var/approvals/<flow run>.json`
and not computed again: the decision is about the table the person saw. Nothing is cached by Prefect.
A version that fell to a veto is not asked about: nobody can overrule that.
"""

from pathlib import Path

from prefect import flow
from prefect.flow_runs import suspend_flow_run

from components.errors import StorageError, UserError
from components.registry.approval import Answer, settle_by_person
from components.registry.assessment import Assessment, assess_version
from components.registry.assessment_record import record_assessment
from components.registry.gate import failed_vetoes
from components.storage.files import read_json, write_json
from flows.promotion_form import PromotionDecision, promotion_form
from tasks.flow_processes import noted_flow_run
from tasks.publish_assessment import publish_assessment, publish_sentences

APPROVALS = "var/approvals"
QUESTION = "promotion"


@flow(name="promote_model", flow_run_name="promote {version}", persist_result=False, retries=0)
def promote_model(version: str = "@challenger", model: str = "") -> str:
    """Ask a person whether a version becomes champion, and do as they say.

    Args:
        version: a version's number, an alias (@challenger) or models:/name/number.
        model: name in the registry; empty: `system.model_name`.
    """
    root = Path.cwd()
    with noted_flow_run(root) as flow_run:
        assessed = shown_assessment(root, flow_run, version=version, model=model)
        vetoes = failed_vetoes(assessed.verdict) if assessed.verdict else []
        if vetoes:
            raise UserError(f"{assessed.model} version {assessed.version} cannot be promoted, and no person can overrule a veto: {'; '.join(vetoes)}")
        answer: PromotionDecision = suspend_flow_run(wait_for_input=promotion_form(assessed), key=QUESTION)
        settled = settle_by_person(root, assessed, Answer(answer.decision, answer.who, answer.why, asked_in=flow_run))
        publish_sentences("decision", f"{settled['model']} version {settled['version']}: {settled['decision']}", [*settled["reasons"], *settled["said"]])
    return str(settled["decision"])


def shown_assessment(root: Path, flow_run: str, *, version: str, model: str) -> Assessment:
    """Return the assessment this flow run shows: the kept one where it was started before, else a new one, kept and published."""
    path = root / APPROVALS / f"{flow_run}.json"
    try:
        return Assessment(**read_json(path))
    except (StorageError, TypeError):
        assessed = assess_version(root, version, model=model)
    publish_assessment(assessed)
    record_assessment(root, assessed)
    write_json(path, assessed.as_dict())
    return assessed
