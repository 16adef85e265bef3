"""Do our losses and gradients equal TRL's on one fixed batch? Plain float32; exit code 1 where one differs by more than 1e-5.

    make bench NAME=parity
    python -m bench.parity --quick        (a tiny model)

TRL runs in its own environment (`bench/peers/trl.txt`) and computes each loss by its trainers' own `compute_loss`; it is
handed token ids, masks, advantages, and the log-probabilities of the old policy and of the reference, and hands back loss
and gradients. Ours packs the same answers as trees. The old policy and the reference are models near by, so ratios lie on
both sides of the clip range and KL is not 0; the sampling temperature is 0.8, so that it is seen where it must be.

Not compared, because defined otherwise: IPO, which TRL divides by answer lengths.
"""
