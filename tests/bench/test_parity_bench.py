"""The parity bench without TRL: what is handed over means what it should, and differences are found."""

import pytest
import torch

from bench.parity.batch import exported, make_batch
from bench.parity.comparing import differences
from bench.parity.ours import CASES, clipped_share, our_result
from bench.training.plan import SIZES
from components.errors import DataError


@pytest.fixture(scope="module")
def batch(tiny_tokenizer, tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield make_batch(SIZES["tiny"], tokenizer=tiny_tokenizer, folder=tmp_path_factory.mktemp("parity"))
    torch.set_num_threads(threads)


def test_handed_over_rows_are_transformers_own_and_give_the_same_logprobs(batch, tiny_tokenizer):
    tensors = exported(batch, pad=tiny_tokenizer.pad_token_id)
    ids = torch.cat([tensors["prompt_ids"], tensors["completion_ids"]], dim=1)
    mask = torch.cat([tensors["prompt_mask"], tensors["completion_mask"]], dim=1)
    with torch.no_grad():
        logits = batch.policy(input_ids=ids, attention_mask=mask).logits[:, :-1] / 0.8
    scored = logits.log_softmax(-1).gather(2, ids[:, 1:, None])[:, -tensors["completion_ids"].shape[1] :, 0]
    ours = our_result(batch, CASES[0])["logprobs"]
    torch.testing.assert_close(scored[tensors["completion_mask"].bool()], ours, rtol=0, atol=1e-5)
    torch.testing.assert_close(tensors["old_per_token_logps"][tensors["completion_mask"].bool()], batch.old_T)


def test_batch_has_ratios_on_both_sides_of_the_clip_range(batch):
    assert 0.05 < clipped_share(batch, CASES[1]) < 0.95


def test_pairs_are_handed_over_chosen_first(batch, tiny_tokenizer):
    tensors = exported(batch, pad=tiny_tokenizer.pad_token_id)
    first = batch.groups[0]
    row = tensors["pair_ids"][len(batch.groups)][tensors["pair_mask"][len(batch.groups)].bool()].tolist()
    assert row == [*first.prompt_ids, *first.answers[1].ids]
    assert tensors["pair_completion_mask"].sum(dim=1)[0] == len(first.answers[0].ids)


def test_differences_are_the_largest_of_loss_and_of_all_gradients():
    ours = {"loss": torch.tensor([1.0]), "grad.a": torch.tensor([1.0, 2.0]), "grad.b": torch.tensor([3.0])}
    theirs = {"loss": torch.tensor([1.0]), "grad.a": torch.tensor([1.0, 2.5]), "grad.b": torch.tensor([4.0])}
    gradients, loss = differences("x", ours, theirs)
    assert (loss.what, loss.absolute, loss.is_within) == ("loss", 0.0, True)
    assert (gradients.what, gradients.absolute, gradients.scale, gradients.is_within) == ("gradients", 1.0, 4.0, False)
    with pytest.raises(DataError, match=r"grad\.b"):
        differences("x", ours, {name: ours[name] for name in ("loss", "grad.a")})


def test_cases_are_told_apart_by_far_more_than_the_tolerance(batch):
    losses = [float(our_result(batch, case)["loss"]) for case in CASES if case.loss not in ("logprobs", "reward", "dpo")]
    assert min(abs(first - second) for number, first in enumerate(losses) for second in losses[:number]) > 1e-4


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_has_a_result_of_ours(batch, case):
    result = our_result(batch, case)
    assert all(value.isfinite().all() for value in result.values())
    assert any(name.startswith("grad.") and float(value.abs().max()) > 0 for name, value in result.items())
