"""What tests on a processor cannot see, checked on a CUDA machine in one command.

    make bench NAME=gpu_check
    python -m bench.gpu_check --rehearse        (the same code on this processor, tiny, nothing stored)

Agreement, on a random model of 10 million parameters, each with its limit (`plan.py`): log-probabilities of the packed
forward against transformers; loss, gradients and the losses of supervised and GRPO steps against the same on the
processor; what the native sampler says of its tokens against the processor's scores of them; that a run repeated gives
the same bits. Whole recipes by the command itself: one killed in the middle against one that was not, to the bit, and each
strategy (DDP, FSDP, ZeRO) on as many processes as there are GPUs against one process. Speed, on a random model with the
layers of Qwen3-0.6B in bfloat16: the share that training steps reach of the device's own matrix-product peak (MFU) and
decoding of its roofline, both measured in the same run (components/sizing/floors.py); the same work by transformers' own
model; and cost against context up to 8k tokens: of supervised tuning and decoding it must grow as the operations do, GRPO's
updates are shown beside them. Where vLLM can be imported, its log-probabilities against ours.

The last line is one JSON object, stored in bench/results/ with a plot; exit code 1 where a check fails, 2 where there is
no CUDA device. On one GPU the strategies join NCCL alone, so what passes between GPUs is not seen there.
"""
