"""The Prefect task of one stage."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.session import RetrainSession
from tasks.stage_advance import advance_stage


@task(name="stage", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(session: RetrainSession, name: str) -> str:
    """Bring a stage up to date and return how: ran, restored, skipped or resumed."""
    return advance_stage(session, name)
