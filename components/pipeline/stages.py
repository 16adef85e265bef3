"""The one table from a stage's name to its function; imported as late as the stage runs."""

STAGES = {
    "sources": "components.curation.sources_stage",
    "curate": "components.curation.curate_stage",
    "knowledge": "components.knowledge.knowledge_stage",
    "holdout": "components.cases.holdout_stage",
    "index": "components.retrieval.index_stage",
    "pretraining": "components.training.pretraining_stage",
    "instructions": "components.instructions.instructions_stage",
    "mixture": "components.mixture.mixture_stage",
    "ift": "components.training.ift_stage",
    "reward_models": "components.training.reward_models_stage",
    "answers": "components.answers.answers_stage",
    "sft": "components.training.sft_stage",
    "cold_start": "components.training.cold_start_stage",
    "prompts": "components.prompts.prompts_stage",
    "grpo_reasoning": "components.training.grpo_reasoning_stage",
    "grpo_general": "components.training.grpo_general_stage",
    "evaluate": "components.evaluation.evaluate_stage",
}
