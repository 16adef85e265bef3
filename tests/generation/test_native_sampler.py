"""The native sampler against transformers, and its independence of batch, order and compaction."""

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from components.conversations import Message
from components.errors import SettingsError
from components.generation import decoding, step_graph
from components.generation.conversations import sample_conversations
from components.generation.drawing import draw_tokens
from components.generation.key_value_cache import LayerCache, attend_two_parts
from components.generation.native_sampler import NativeSampler
from components.generation.sampler import SamplingOptions
from components.generation.uniforms import row_keys, uniforms
from components.modeling.tokenizers import stop_ids

GENERATOR = torch.Generator().manual_seed(0)
PROMPTS = [torch.randint(4, 300, (length,), generator=GENERATOR).tolist() for length in (5, 12, 3, 12, 20, 7, 1, 9)]


def _eager_to_stop(model, tokenizer):
    """Raise the stop tokens' logits, so that answers end at many different lengths and rows are compacted away."""
    with torch.no_grad():
        model.model.norm.weight.mul_(0.3)
        for token in stop_ids(tokenizer):
            model.lm_head.weight[token] = model.lm_head.weight.mean(dim=0)
            model.lm_head.weight[token] += model.lm_head.weight[300:400].std(dim=0) * 6
    return model


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_equal_transformers(tiny_model, tiny_tokenizer, temperature):
    model = _eager_to_stop(tiny_model, tiny_tokenizer)
    options = SamplingOptions(max_new_tokens=24, samples=6, temperature=temperature, seed=4)
    groups = NativeSampler(model, tiny_tokenizer).generate(PROMPTS, options)
    lengths = {len(completion.ids) for group in groups for completion in group}
    assert len(lengths) > 4, "the case must exercise compaction"
    for prompt, group in zip(PROMPTS, groups, strict=True):
        for completion in group:
            with torch.no_grad():
                logits = model(torch.tensor([prompt + list(completion.ids)])).logits[0, len(prompt) - 1 : -1]
            full = (logits / temperature).log_softmax(dim=-1)
            expected = full.gather(1, torch.tensor(completion.ids)[:, None])[:, 0]
            torch.testing.assert_close(torch.tensor(completion.logprobs), expected, rtol=0, atol=1e-4)


def test_greedy_equals_transformers_generate(tiny_model, tiny_tokenizer):
    groups = NativeSampler(tiny_model, tiny_tokenizer).generate(
        PROMPTS, SamplingOptions(max_new_tokens=12, temperature=0)
    )
    settings = GenerationConfig(
        max_new_tokens=12,
        do_sample=False,
        eos_token_id=list(stop_ids(tiny_tokenizer)),
        pad_token_id=tiny_tokenizer.pad_token_id,
    )
    for prompt, (completion,) in zip(PROMPTS, groups, strict=True):
        expected = tiny_model.generate(torch.tensor([prompt]), generation_config=settings)[0, len(prompt) :]
        assert list(completion.ids) == expected.tolist()


def test_a_batch_of_8_equals_8_of_1_in_any_order(tiny_model, tiny_tokenizer):
    model = _eager_to_stop(tiny_model, tiny_tokenizer)
    options = SamplingOptions(max_new_tokens=10, samples=3, seed=9)
    together = NativeSampler(model, tiny_tokenizer).generate(PROMPTS, options)
    alone = [NativeSampler(model, tiny_tokenizer).generate([prompt], options)[0] for prompt in PROMPTS]
    backwards = NativeSampler(model, tiny_tokenizer, rows=6).generate(PROMPTS[::-1], options)[::-1]
    ids = [[completion.ids for completion in group] for group in together]
    assert [[completion.ids for completion in group] for group in alone] == ids
    assert [[completion.ids for completion in group] for group in backwards] == ids


def test_prompts_whose_answers_have_all_ended_leave_with_their_padding(tiny_model, tiny_tokenizer, monkeypatch):
    model, dropped, keep = _eager_to_stop(tiny_model, tiny_tokenizer), [], LayerCache.keep
    monkeypatch.setattr(LayerCache, "keep", lambda self, rows, prompts, **named: dropped.append(prompts is not None) or keep(self, rows, prompts, **named))
    options = SamplingOptions(max_new_tokens=80, samples=1, seed=4)
    together = NativeSampler(model, tiny_tokenizer).generate(PROMPTS, options)
    assert any(dropped), "the case must drop a prompt before the others have ended"
    for prompt, group in zip(PROMPTS, together, strict=True):
        (alone,) = NativeSampler(model, tiny_tokenizer).generate([prompt], options)
        assert [answer.ids for answer in alone] == [answer.ids for answer in group]
        for one, other in zip(alone, group, strict=True):
            torch.testing.assert_close(torch.tensor(one.logprobs), torch.tensor(other.logprobs), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("precision", "has_units"), [("float32", False), ("bfloat16", False), ("bfloat16", True)])
def test_steps_of_fixed_shapes_draw_what_plain_steps_draw(tiny_model, tiny_tokenizer, monkeypatch, precision, has_units):
    monkeypatch.setattr("components.modeling.precision.has_bfloat16_units", lambda: has_units)
    monkeypatch.setattr(step_graph, "BLOCK", 4)  # the suffix grows over several blocks
    monkeypatch.setattr(decoding, "RECORDED_COMPACT_BELOW", 0.85)
    model = _eager_to_stop(tiny_model, tiny_tokenizer)
    made = []
    monkeypatch.setattr(decoding, "StepGraph", lambda *given, **named: made.append(named["filled"]) or step_graph.StepGraph(*given, **named))
    options = SamplingOptions(max_new_tokens=22, samples=6, seed=4)
    plain, fixed = (
        [answer for group in NativeSampler(model, tiny_tokenizer, precision=precision, is_recorded=recorded).generate(PROMPTS, options) for answer in group]
        for recorded in (False, True)
    )
    assert [answer.ids for answer in fixed] == [answer.ids for answer in plain]
    torch.testing.assert_close(
        torch.tensor([value for answer in fixed for value in answer.logprobs]), torch.tensor([value for answer in plain for value in answer.logprobs]),
        rtol=0, atol=1e-5 if precision == "float32" else 2e-2,
    )  # fmt: skip
    assert set(made) == {4, 8, 12, 16, 20, 22} and len(made) > 6, "the case must exercise growth and compaction"


def test_a_recorded_step_reads_no_place_that_was_not_written(tiny_model, tiny_tokenizer, monkeypatch):
    seen = []
    monkeypatch.setattr(decoding, "attend_two_parts", lambda heads, cache, **named: seen.append(cache.suffix_values.isfinite().all()) or attend_two_parts(heads, cache, **named))
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda self, *size: self.new_full(size[0] if len(size) == 1 else size, torch.nan))
    NativeSampler(tiny_model, tiny_tokenizer, is_recorded=True).generate(PROMPTS, SamplingOptions(max_new_tokens=6, samples=2, seed=4))
    assert seen and all(seen)


def test_finish_reasons_and_ids_follow_the_stop_token(tiny_model, tiny_tokenizer):
    model = _eager_to_stop(tiny_model, tiny_tokenizer)
    groups = NativeSampler(model, tiny_tokenizer).generate(
        PROMPTS, SamplingOptions(max_new_tokens=8, samples=8, seed=1)
    )
    stops = set(stop_ids(tiny_tokenizer))
    reasons = set()
    for completion in (completion for group in groups for completion in group):
        reasons.add(completion.finish_reason)
        assert not stops & set(completion.ids[:-1])
        assert (completion.ids[-1] in stops) == (completion.finish_reason == "stop")
        assert completion.finish_reason == "stop" or len(completion.ids) == 8
        assert "<|" not in completion.text
    assert reasons == {"stop", "length"}


def test_fewer_samples_are_the_first_of_more_and_seeds_differ(tiny_model, tiny_tokenizer):
    sampler = NativeSampler(tiny_model, tiny_tokenizer)
    many, few, other = (
        [
            completion.ids
            for completion in sampler.generate(PROMPTS[:1], SamplingOptions(8, samples=samples, seed=seed))[0]
        ]
        for samples, seed in ((6, 1), (3, 1), (6, 2))
    )
    assert many[:3] == few
    assert many != other and len(set(many)) == 6


def test_bfloat16_logprobs_stay_near_float32(tiny_model, tiny_tokenizer):
    options = SamplingOptions(max_new_tokens=1, samples=4, seed=3)
    exact, rounded = (
        NativeSampler(tiny_model, tiny_tokenizer, precision=name).generate(PROMPTS, options)
        for name in ("float32", "bfloat16")
    )
    pairs = [
        (a, b)
        for first, second in zip(exact, rounded, strict=True)
        for a, b in zip(first, second, strict=True)
        if a.ids == b.ids
    ]
    assert len(pairs) >= 24
    assert max(abs(a.logprobs[0] - b.logprobs[0]) for a, b in pairs) < 0.2


def test_draws_follow_the_distribution():
    # softmax of log weights 1, 2, 7 over 0.1, 0.2, 0.7; 20,000 draws: standard error at most .0033
    logits = torch.full((20_000, 100), -torch.inf)
    logits[:, [3, 64, 99]] = torch.tensor([1.0, 2.0, 7.0]).log()
    numbers = torch.from_numpy(uniforms(row_keys([[1]], samples=20_000, seed=0), count=1))[:, 0]
    tokens, logprobs = draw_tokens(logits, numbers, temperature=1.0)
    shares = [float((tokens == token).float().mean()) for token in (3, 64, 99)]
    assert shares == pytest.approx([0.1, 0.2, 0.7], abs=0.013)
    assert logprobs[tokens == 99][0].item() == pytest.approx(np.log(0.7), abs=1e-5)


def test_seeds_that_differ_in_their_last_digit_draw_differently():
    assert row_keys([[1]], samples=1, seed=2**62) != row_keys([[1]], samples=1, seed=2**62 + 1)


def test_extreme_numbers_never_draw_an_impossible_token():
    logits = torch.full((3, 130), -torch.inf)
    logits[:, [1, 70]] = 0.0
    tokens, _ = draw_tokens(logits, torch.tensor([0.0, 0.5, 1.0 - 2**-24]), temperature=1.0)
    assert tokens.tolist() == [1, 70, 70]


def test_conversations_go_through_the_chat_template(tiny_model, tiny_tokenizer):
    message = Message(role="user", content="What causes wheeze?")
    options = SamplingOptions(max_new_tokens=4, temperature=0)
    sampler = NativeSampler(tiny_model, tiny_tokenizer)
    ids = tiny_tokenizer.apply_chat_template([message.model_dump()], add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]
    assert sample_conversations(sampler, tiny_tokenizer, [[message]], options) == sampler.generate([ids], options)


def test_options_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="temperature"):
        SamplingOptions(max_new_tokens=4, temperature=-1)
