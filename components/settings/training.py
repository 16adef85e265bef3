"""Settings of the model and of every stage that trains it."""

from typing import Literal

from pydantic import Field, model_validator

from components.settings.base import Section
from components.settings.generation import SamplerKind

Precision = Literal["auto", "float32", "bfloat16"]  # see components/modeling/precision.py
AdvantageScale = Literal["group", "batch", "none"]  # see components/training/policy/advantages.py
AdapterTarget = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class ModelSettings(Section):
    """The model made from scratch (laptop), or the folder of one to go on from."""

    folder: str | None = Field(default=None, description="a Hugging Face folder to continue from; null: a small Qwen3 from scratch")
    vocabulary: int = Field(default=3072, ge=512)
    hidden: int = Field(default=192, ge=16)
    layers: int = Field(default=6, ge=1)
    heads: int = Field(default=6, ge=1)
    key_value_heads: int = Field(default=2, ge=1)
    head_dimension: int = Field(default=32, ge=8)
    intermediate: int = Field(default=512, ge=16)
    context: int = Field(default=512, ge=64, description="tokens")

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelSettings":
        if self.heads % self.key_value_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of key_value_heads ({self.key_value_heads})")
        return self


class OptimiserSettings(Section):
    """AdamW or Muon with linear warm-up, then a cosine, a line or a constant."""

    kind: Literal["adamw", "muon"] = Field(default="adamw", description="muon: layers' matrices by Muon, the rest by AdamW")
    outer_rate_share: float = Field(default=1.5, gt=0, description="muon only: learning rate of embeddings, head and norms over the matrices'")
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(default=20, ge=0)
    schedule: Literal["cosine", "constant", "linear"] = "cosine"
    final_share: float = Field(default=0.1, ge=0, le=1, description="last learning rate as a share of the first")
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = Field(default=1.0, gt=0)


class AdapterSettings(Section):
    """LoRA adapters on the layers' matrices (components/modeling/adapters.py); rank 0: all weights are tuned."""

    rank: int = Field(default=0, ge=0, description="of the low-rank change of each matrix; 0: no adapters, all weights are tuned")
    alpha: float = Field(default=32.0, gt=0, description="the change counts alpha / rank times")
    targets: tuple[AdapterTarget, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"), min_length=1, description="matrices that carry adapters"
    )


class SupervisedSettings(Section):
    """One run of supervised tuning, or of pre-training on plain text."""

    optimiser: OptimiserSettings
    adapters: AdapterSettings = Field(default=AdapterSettings(), description="LoRA; learning rates some ten times those of full tuning suit it")
    steps: int = Field(ge=1, description="optimiser steps at most")
    batch_samples: int = Field(default=64, ge=1, description="conversations a step (pre-training: see batch_tokens)")
    batch_tokens: int = Field(default=0, ge=0, description="tokens a step; 0: count conversations instead")
    micro_tokens: int = Field(default=4096, ge=64, description="tokens in one forward pass at most; on a CPU few enough for its cache")
    validate_every: int = Field(default=40, ge=1, description="steps between looks at the validation loss")
    patience: int = Field(default=0, ge=0, description="looks without a better validation loss before the end; 0: never early")
    checkpoint_every: int = Field(default=50, ge=1, description="steps between checkpoints")
    recompute: bool = Field(default=False, description="compute each layer anew in the backward instead of keeping its activations: less memory, about a third more time")
    spike_limit: float = Field(default=3.0, gt=0, description="nats a loss may exceed the mean of the last 20 steps; above it the run stops as diverged")
    precision: Precision = Field(default="auto", description="of products; auto: bfloat16 on a GPU, float32 on a processor")


class InstructionsSettings(Section):
    """How instruction samples are made."""

    samples_per_task: int = Field(default=600, ge=4)


class MixtureSettings(Section):
    """The search for task-group ratios."""

    start_up_trials: int = Field(default=5, ge=1, description="random trials before the Gaussian process leads; groups + 1 or more")
    gp_trials: int = Field(default=5, ge=0, description="trials led by the Gaussian process; at least as many as start_up_trials")
    trial_steps: int = Field(default=24, ge=1)
    trial_cases: int = Field(default=160, ge=8, description="validation cases each trial is scored on")
    measure: Literal["likelihood", "verifier"] = Field(
        default="likelihood", description="of the gold answers; or the verifiers' score of greedy answers, for trials long enough to answer"
    )
    comparison_seeds: int = Field(default=2, ge=0, description="fresh seeds on which the chosen and the uniform mix are compared")
    floor: float = Field(default=0.03, ge=0, lt=0.2, description="least share of a group")
    weights: dict[str, float] = Field(default_factory=dict, description="weight of a group's suite in the score; 1 where absent")
    tuning: SupervisedSettings

    @model_validator(mode="after")
    def _enough_trials(self) -> "MixtureSettings":
        if self.gp_trials < self.start_up_trials:
            raise ValueError(f"gp_trials ({self.gp_trials}) must be at least start_up_trials ({self.start_up_trials})")
        return self


class IftSettings(SupervisedSettings):
    """Instruction tuning in curriculum order."""

    level_overlap: float = Field(
        default=4.0, ge=0, description="levels; a sample's place in the order is its level (1 to 3) plus a random number below this; 0: one level after the other"
    )


class SftSettings(SupervisedSettings):
    """Tuning on the chosen answers."""

    measured_cases: int = Field(default=300, ge=4, description="validation cases of each suite, grounded and general, answered at every look")


class ColdStartSettings(SupervisedSettings):
    """Two epochs on formatted reasoning samples."""

    replay_share: float = Field(default=0.3, ge=0, lt=0.9, description="share of the tuning samples replayed from those of sft, so that what was learnt is kept")


class RewardModelSettings(Section):
    """Labelled candidates and the reward models tuned on them."""

    prompts: int = Field(default=400, ge=8, description="training queries that candidates are sampled for")
    candidates: int = Field(default=6, ge=2, description="candidates a query, over the checkpoints")
    pairs_per_prompt: int = Field(default=6, ge=1, description="labelled pairs a query and dimension, at most")
    temperature: float = Field(default=1.0, gt=0)
    max_new_tokens: int = Field(default=64, ge=4)
    holdout_share: float = Field(default=0.2, gt=0, lt=0.9, description="share of clusters whose pairs measure accuracy")
    centring: float = Field(default=0.01, ge=0, description="weight of the reward-centring term")
    margin_scale: float = Field(default=1.0, ge=0, description="reward units a unit of oracle-score difference asks for; 0: no margin")
    tuning: SupervisedSettings


class DirectPreferenceSettings(Section):
    """Tuning a policy straight on preference pairs, without a reward model (DPO and its kin)."""

    optimiser: OptimiserSettings
    adapters: AdapterSettings = Field(default=AdapterSettings(), description="LoRA")
    steps: int = Field(ge=1, description="optimiser steps")
    batch_pairs: int = Field(default=32, ge=1, description="pairs a step at least; a prompt's pairs stay together")
    loss: Literal["dpo", "ipo", "cdpo"] = "dpo"
    beta: float = Field(
        default=0.1, gt=0, description="dpo, cdpo: reward units a nat of log ratio to the reference stands for; ipo: its tau, the margin asked for is 1 / (2 beta) nats"
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5, description="cdpo only: probability that a pair's label is the wrong way round")
    supervised_weight: float = Field(
        default=0.0, ge=0, description="weight of the preferred answer's own loss, in nats a token, beside the preference loss (RPO); 0: none"
    )
    validate_every: int = Field(default=0, ge=0, description="steps between looks at the validation pairs; 0: at the start and the end alone")
    checkpoint_every: int = Field(default=50, ge=1, description="steps between checkpoints")
    micro_tokens: int = Field(default=4096, ge=64, description="tokens in one forward pass at most; on a CPU few enough for its cache")
    recompute: bool = Field(default=False, description="compute each layer anew in the backward instead of keeping its activations: less memory, about a third more time")
    fall_limit: float = Field(
        default=5.0, gt=0, description="nats a token by which a step's preferred answers may be less probable than under the reference; above it the run stops as diverged"
    )
    precision: Precision = Field(default="auto", description="of products; auto: bfloat16 on a GPU, float32 on a processor")

    @model_validator(mode="after")
    def _smoothing_is_used(self) -> "DirectPreferenceSettings":
        if (self.loss == "cdpo") != (self.label_smoothing > 0):
            raise ValueError(f"loss {self.loss!r} with label_smoothing {self.label_smoothing}: cdpo needs one above 0, the other losses have none")
        return self


class AnswersSettings(Section):
    """Best-of-N answers to queries."""

    queries: int = Field(default=900, ge=8, description="training queries answered, general and grounded together")
    grounded_share: float = Field(default=0.6, ge=0, le=1, description="share of the queries that show passages and ask for citations")
    validation_queries: int = Field(default=160, ge=4, description="validation queries answered, for early stopping and the unbiased comparison")
    candidates: int = Field(default=6, ge=1, description="candidates a query")
    passages: int = Field(default=3, ge=1, description="passages retrieved for a general query, for the reviewers' sheet")
    temperature: float = Field(default=0.8, gt=0)
    max_new_tokens: int = Field(default=64, ge=4)
    replay_share: float = Field(default=0.35, ge=0, lt=0.9, description="share of the tuning samples replayed from instructions, so that what was learnt is kept")


class PromptsSettings(Section):
    """Which prompts reinforcement learning sees."""

    rollouts: int = Field(default=8, ge=2, description="answers a prompt, to measure its pass rate")
    temperature: float = Field(default=1.0, gt=0)
    reasoning_prompts: int = Field(default=1200, ge=8, description="prompts of stage 1")
    general_prompts: int = Field(default=150, ge=2, description="general prompts of stage 2; three times as many reasoning ones beside them")
    safety_share: float = Field(default=0.3, ge=0, le=1, description="share of the general prompts that ask for something to be refused, warned of or allowed")
    pool: int = Field(default=3200, ge=16, description="training cases whose difficulty is measured")
    minimum_pass_rate: float = Field(default=0.05, ge=0, le=1)
    maximum_pass_rate: float = Field(default=0.95, ge=0, le=1)
    max_new_tokens: int = Field(default=48, ge=4)


class PolicySettings(Section):
    """One GRPO stage."""

    optimiser: OptimiserSettings
    adapters: AdapterSettings = Field(default=AdapterSettings(), description="LoRA; the base weights, adapters off, are then the reference of the KL penalty")
    steps: int = Field(ge=1, description="rollouts, each followed by its updates; the epochs follow from it")
    prompts_per_step: int = Field(default=32, ge=1, description="groups a rollout")
    completions: int = Field(default=8, ge=2, description="answers a prompt")
    max_new_tokens: int = Field(default=48, ge=1, description="tokens of an answer at most")
    recorded_steps: bool = Field(default=True, description="sampler native on a GPU: replay decoding steps as CUDA graphs (components/generation/step_graph.py)")
    sampler: SamplerKind = Field(default="native", description="what draws the answers: this process, a vLLM engine beside it, or a vLLM server (see section vllm)")
    temperature: float = Field(default=1.0, gt=0, description="of sampling; divides the logits in policy, old policy and reference alike")
    updates_per_rollout: int = Field(default=1, ge=1, description="optimiser steps a rollout's groups are cut into; 1: no old-policy pass, and the ratio is 1 (2503.14476 takes 16)")
    loss: Literal["grpo", "dapo", "dr_grpo", "gspo", "cispo"] = Field(default="dapo", description="one file each in components/training/policy/losses, with its source")
    clip_low: float | None = Field(default=None, gt=0, description="the ratio is clipped to [1 − clip_low, 1 + clip_high]; null: the loss's own, which is right for its ratio (grpo, dapo, dr_grpo 0.2; gspo, of whole answers, 3.0e-4; cispo 1: none)")
    clip_high: float | None = Field(default=None, gt=0, description="null: the loss's own (grpo, dr_grpo 0.2; dapo 0.28; gspo 4.0e-4; cispo 4)")
    kl_weight: float = Field(default=0.01, ge=0, description="weight of the KL to the model the stage began with; 0: no reference is kept")
    kl: Literal["ratio_k3", "k2", "k3"] = Field(default="ratio_k3", description="estimator of the KL, nats a token; as a loss only ratio_k3 and k2 have its gradient")
    entropy_weight: float = Field(default=0.0, ge=0, description="weight of the policy's entropy (nats a token) in the objective")
    importance_cap: float = Field(default=0.0, ge=0, description="cap of π_old / sampler a token, where the sampler is not the trainer itself (about 2); 0: no correction")
    sequence_gap_limit: float = Field(default=0.0, ge=0, description="answers whose mean log(π_old / sampler) is further from 0 (nats a token) are left out; 0: none")
    scale_advantages: AdvantageScale = Field(default="group", description="standard deviation that centred rewards are divided by: of their group (2402.03300), of all the step's rewards (2508.08221), or none (2503.20783)")
    combine_rewards: Literal["sum", "per_reward"] = Field(
        default="sum", description="sum: rewards are summed, then normalised; per_reward: each is normalised first (GDPO, 2601.05242)"
    )
    mask_truncated: bool = Field(default=True, description="leave answers cut at max_new_tokens out of the loss")
    overlong_buffer: int = Field(default=0, ge=0, description="last tokens before max_new_tokens over which the reward `overlong` falls from 0 to −1 (2503.14476 eq. 13); 0: no such reward")
    verifier_rollouts: int = Field(default=1, ge=1, description="times an answer is judged, scores averaged; above 1 where the judge itself samples")
    refill_rounds: int = Field(default=1, ge=0, description="further rounds of prompts a step, in place of groups without spread")
    table_every: int = Field(default=40, ge=1, description="steps between completions tables")
    reward_weights: dict[str, float] = Field(default_factory=dict, description="weight of each reward in the sum; 1 where absent")
    reward_bound: float = Field(default=1.0, gt=0, description="general stage: reward models' scores are cut at this many standard deviations of the rewards they were tuned on")
    epochs: int = Field(default=3, ge=1, description="passes over the prompts at least; mastered ones leave at the start of each")
    mastered_pass_rate: float = Field(default=0.95, gt=0, le=1, description="mean score of a prompt's answers from which it counts as mastered")
    readmission: float = Field(default=0.1, ge=0, le=1, description="chance that a mastered prompt is looked at again in an epoch")
    checkpoint_every: int = Field(default=25, ge=1, description="steps between checkpoints")
    validate_every: int = Field(default=0, ge=0, description="general stage: steps between looks at the answers to validation queries; the weights of the best look are kept; 0: no looks")
    patience: int = Field(default=0, ge=0, description="looks without a better one before the end; 0: never early")
    measured_cases: int = Field(default=400, ge=4, description="validation queries answered at every look")
    micro_tokens: int = Field(default=4096, ge=64, description="tokens in one forward pass at most; on a CPU few enough for its cache")
    recompute: bool = Field(default=False, description="compute each layer anew in the backward instead of keeping its activations: less memory, about a third more time")
    precision: Precision = Field(default="auto", description="of products; auto: bfloat16 on a GPU, float32 on a processor")
    kl_limit: float = Field(default=5.0, gt=0, description="mean KL to the reference (nats a token) above which the run stops as diverged")

    @model_validator(mode="after")
    def _buffer_fits(self) -> "PolicySettings":
        if self.overlong_buffer > self.max_new_tokens:
            raise ValueError(f"overlong_buffer ({self.overlong_buffer}) must not be above max_new_tokens ({self.max_new_tokens})")
        return self
