"""What is added to vLLM's own worker (its `worker_extension_cls`): mending the head of a model with tied embeddings.

vLLM prepacks the head's matrix for the processor when a model is loaded. Reloading weights in place (0.32) renews the
embedding that a tied head shares, but not the prepacked copy, and says that all went well: the head answers with old
weights. Methods of this class run in the worker by name, so nothing is pickled. It imports no vllm.
"""

from typing import Any

EXTENSION = "components.generation.vllm_worker.WorkerExtension"


class WorkerExtension:
    """Methods that `collective_rpc` calls by name on a worker; `self` is the worker."""

    model_runner: Any

    def mend_tied_head(self) -> bool:
        """Prepack the head again from the embedding it shares; False where the model's head is its own."""
        model = self.model_runner.get_model()
        if not getattr(model.config, "tie_word_embeddings", False):
            return False
        head = model.lm_head
        head.weight = model.model.embed_tokens.weight
        head.quant_method.process_weights_after_loading(head)
        return True
