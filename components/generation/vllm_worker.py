"""What is added to vLLM's own worker (its `worker_extension_cls`): weights by broadcast, and mending a tied head.

vLLM prepacks the head's matrix for the processor when a model is loaded. Reloading weights in place (0.32) renews the
embedding that a tied head shares, but not the prepacked copy, and says that all went well: the head answers with old
weights. Methods of this class run in the worker by name, so nothing is pickled. It imports no vllm.
"""

from typing import Any

from components.generation.weight_group import Backend, join_group, join_store, receive

EXTENSION = "components.generation.vllm_worker.WorkerExtension"


class WorkerExtension:
    """Methods that `collective_rpc` calls by name on a worker; `self` is the worker."""

    model_runner: Any
    rank: int
    reload_weights: Any

    def join_weight_group(self, address: str, port: int, size: int, backend: Backend, seconds: float) -> None:
        """Join the group that the trainer opened at an address; a group joined before is left."""
        store = join_store(address, port=port, size=size, seconds=seconds)
        self._weight_group = join_group(store, rank=1 + self.rank, size=size, backend=backend, seconds=seconds)

    def receive_weights(self, names: list[str], shapes: list[list[int]], dtype: str, seconds: float) -> None:
        """Take the weights that the trainer sends, in their order, in place of the model's own."""
        device = next(self.model_runner.get_model().parameters()).device
        parts = receive(self._weight_group, names, shapes, dtype=dtype, device=device, seconds=seconds)
        self.reload_weights(weights_iterator=parts)

    def mend_tied_head(self) -> bool:
        """Prepack the head again from the embedding it shares; False where the model's head is its own."""
        model = self.model_runner.get_model()
        if not getattr(model.config, "tie_word_embeddings", False):
            return False
        head = model.lm_head
        head.weight = model.model.embed_tokens.weight
        head.quant_method.process_weights_after_loading(head)
        return True
