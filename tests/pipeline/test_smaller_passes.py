"""After an exhausted memory: fewer tokens a pass everywhere, the key as it was, and a warning in the record."""

from pathlib import Path

from components.pipeline.graph import StageRow
from components.pipeline.running import run_stage
from components.pipeline.smaller_passes import smaller_passes
from components.pipeline.stage_key import stage_inputs, stage_key
from components.recorder import read_warnings
from components.settings.settings import load_settings

ROOT = Path(__file__).parents[2]
ROW = StageRow("ift", ("run", "ift"), ("input.txt",), ("out.txt",))


def test_every_pass_gets_smaller_and_nothing_else_changes():
    settings = load_settings(ROOT / "params.yaml", overrides={"mixture.tuning.micro_tokens": 1000, "sft.micro_tokens": 100})
    halved = smaller_passes(settings, 2)
    assert (halved.pretraining.micro_tokens, halved.mixture.tuning.micro_tokens) == (settings.pretraining.micro_tokens // 2, 500)
    assert halved.sft.micro_tokens == 64  # 50 would be below what the settings allow
    back = {"pretraining": {"micro_tokens": 768}}
    assert halved.pretraining.model_copy(update=back["pretraining"]) == settings.pretraining
    assert (halved.model, halved.run, halved.launch) == (settings.model, settings.run, settings.launch)
    assert smaller_passes(settings, 1) is settings


def test_the_stage_sees_them_under_its_own_key_and_its_record_says_so(fake_project):
    (fake_project / "input.txt").write_text("one")
    settings = load_settings(fake_project / "params.yaml")
    seen = []

    def function(context):
        seen.append(context.section("ift").micro_tokens)
        context.write("out.txt").write_text("done")

    done = run_stage(ROW, root=fake_project, settings=settings, function=function, micro_divisor=2)
    assert seen == [settings.ift.micro_tokens // 2]
    assert done.key == stage_key(stage_inputs(fake_project, ROW, settings))
    (said,) = read_warnings(Path(done.folder))
    assert "micro_tokens / 2" in said
