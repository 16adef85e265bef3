"""What a vLLM engine is asked for: the native sampler's rules, and seeds that do not depend on the batch."""

import pytest

from components.errors import ServiceError, SettingsError
from components.generation.engine_requests import (
    EngineAnswer,
    finish_reason,
    refuse_prompts,
    repeated,
    sampling_requests,
)
from components.generation.sampler import SamplingOptions

PROMPTS = [[5, 6, 7], [8], [5, 6, 7]]
OPTIONS = SamplingOptions(max_new_tokens=9, samples=4, temperature=0.7, seed=3)


def test_only_temperature_shapes_the_distribution_and_only_our_stop_tokens_stop():
    request = sampling_requests(PROMPTS, OPTIONS, stops=(1, 3))[0]
    assert {name: request[name] for name in ("n", "max_tokens", "temperature", "logprobs")} == {"n": 4, "max_tokens": 9, "temperature": 0.7, "logprobs": 0}
    assert (request["top_p"], request["top_k"], request["min_p"]) == (1.0, 0, 0.0)
    assert (request["repetition_penalty"], request["presence_penalty"], request["frequency_penalty"]) == (1.0, 0.0, 0.0)
    assert (request["stop_token_ids"], request["ignore_eos"]) == ([1, 3], True)


def test_a_prompts_seed_depends_on_the_prompt_and_the_run_alone():
    together = [request["seed"] for request in sampling_requests(PROMPTS, OPTIONS, stops=())]
    assert len(set(together)) == 3, "equal prompts must not draw equal answers"
    assert sampling_requests([[8]], OPTIONS, stops=())[0]["seed"] == together[1]
    assert [request["seed"] for request in sampling_requests(PROMPTS[::-1], OPTIONS, stops=())][1] == together[1]
    other = SamplingOptions(max_new_tokens=9, samples=4, temperature=0.7, seed=4)
    assert sampling_requests([[8]], other, stops=())[0]["seed"] != together[1]
    assert all(0 <= seed < 2**62 for seed in together)  # seed + sample number stays a signed 64-bit number


def test_greedy_is_drawn_once_and_repeated():
    # vLLM refuses n above 1 at temperature 0
    greedy = SamplingOptions(max_new_tokens=9, samples=3, temperature=0)
    assert sampling_requests([[8]], greedy, stops=())[0]["n"] == 1
    answer = EngineAnswer((1, 2), (-0.5, -0.1), "stop")
    assert repeated([[answer]], 3) == [[answer] * 3]
    with pytest.raises(ServiceError, match="2 answers to prompt 0 where 3"):
        repeated([[answer] * 2], 3)


def test_a_temperature_that_vllm_would_change_is_refused():
    with pytest.raises(SettingsError, match=r"0\.005"):
        sampling_requests(PROMPTS, SamplingOptions(max_new_tokens=1, temperature=0.005), stops=())
    sampling_requests(PROMPTS, SamplingOptions(max_new_tokens=1, temperature=0.01), stops=())


@pytest.mark.parametrize(
    ("prompt", "word"), [([], "empty"), ([4, 100], r"outside 0\.\.99"), ([-1], r"outside 0\.\.99"), ([1] * 27, "27 tokens")]
)
def test_prompts_that_would_end_an_engine_or_be_cut_are_refused(prompt, word):
    limits = {"vocabulary": 100, "context": 32, "max_new_tokens": 6}
    refuse_prompts([[1] * 26, [99]], **limits)
    with pytest.raises(SettingsError, match=f"prompt 1 .*{word}|prompt 1 is {word}"):
        refuse_prompts([[1], prompt], **limits)


def test_an_answer_that_was_aborted_is_not_a_sample():
    assert (finish_reason("stop"), finish_reason("length")) == ("stop", "length")
    for value in ("abort", "error", "repetition", None):
        with pytest.raises(ServiceError, match="ended with"):
            finish_reason(value)
