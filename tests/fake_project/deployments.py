"""The flow `retrain` over the fake stages, and the process that serves it: `python -m deployments`."""

from pathlib import Path

from prefect import flow

from flows.retrain_elsewhere import retrain_elsewhere
from flows.retrain_request import RetrainRequest
from flows.serving import serve_deployments


@flow(name="retrain", persist_result=False, retries=0)
def retrain(request: RetrainRequest = RetrainRequest()) -> str:
    return retrain_elsewhere(Path.cwd(), request, table="fake_stages:STAGES")


if __name__ == "__main__":
    serve_deployments(Path.cwd(), Path.cwd() / "prefect.yaml")
