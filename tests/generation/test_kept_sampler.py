"""Answers drawn before a kill are read again, and are the same as without keeping them."""

import pytest

from components.generation.kept_sampler import KeptSampler
from components.generation.native_sampler import ROWS, NativeSampler
from components.generation.sampler import SamplingOptions
from components.generation.scripted_sampler import ScriptedSampler
from components.storage.checkpoints import CheckpointFolder

OPTIONS = SamplingOptions(max_new_tokens=4, samples=ROWS // 2, temperature=1.0, seed=3)  # two prompts a share


def test_what_was_drawn_before_a_kill_is_not_drawn_again(tmp_path):
    checkpoints, prompts = CheckpointFolder(tmp_path, key="k"), [[1], [2, 2], [3], [4, 4]]

    def killed_in_the_second_share(prompt, sample):
        if len(prompt) == 2:
            raise KeyboardInterrupt
        return str(prompt[0])

    with pytest.raises(KeyboardInterrupt):
        KeptSampler(ScriptedSampler(killed_in_the_second_share), checkpoints, sub_batches=1).generate(prompts, OPTIONS)
    second, seen = ScriptedSampler(lambda prompt, sample: str(prompt[0])), []
    drawn = KeptSampler(second, checkpoints, sub_batches=1).generate(prompts, OPTIONS, progress=lambda done, total: seen.append((done, total)))
    assert second.seen == [(2, 2), (4, 4)]  # the shares go by length: 1 and 3 were kept
    assert [group[0].text for group in drawn] == ["1", "2", "3", "4"]
    assert seen[-1] == (4, 4) and sorted(seen) == seen


def test_the_answers_are_those_of_the_sampler_itself(tmp_path, tiny_model, tiny_tokenizer):
    prompts = [[5, 6, 7], [8], [9, 10], [11, 12, 13, 14], [15]]
    sampler = NativeSampler(tiny_model, tiny_tokenizer)
    kept = KeptSampler(sampler, CheckpointFolder(tmp_path, key="k"), sub_batches=1)
    plain = sampler.generate(prompts, OPTIONS)
    assert kept.generate(prompts, OPTIONS) == plain
    assert kept.generate(prompts, OPTIONS) == plain  # now read from the checkpoints


def test_other_options_are_other_answers(tmp_path):
    checkpoints = CheckpointFolder(tmp_path, key="k")
    first = KeptSampler(ScriptedSampler([["a"]]), checkpoints).generate([[1]], SamplingOptions(max_new_tokens=1))
    other = KeptSampler(ScriptedSampler([["b"]]), checkpoints).generate([[1]], SamplingOptions(max_new_tokens=1, seed=1))
    assert (first[0][0].text, other[0][0].text) == ("a", "b")
