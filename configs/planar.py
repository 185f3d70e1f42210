"""Planar graphs of 64 nodes (SPECTRE's set), by DiGress's marginal noise.

  python train.py --config configs/planar.py
  python -m jaxdiff.evaluation graphs runs/planar

1,200 steps of 8 take 20 minutes on one CPU core with other work (2026-11-22,
Python 3.11, jax 0.10.2). No sample is planar after that, nor after 4,400:
docs/notes/planar.md. The authors' settings: papers/digress_planar.py.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/planar',
  data=c.Data(name='planar'),
  diffusion=c.Categorical(
    process='marginal',
    schedule='squared_cosine',
    prediction='logits',
    loss='cross_entropy',
  ),
  network=c.GraphTransformer(
    width=64, edge_width=32, global_width=64, depth=6, num_heads=4
  ),
  optimizer=c.Optimizer(
    learning_rate=5e-4, schedule='cosine', warmup_steps=100
  ),
  training=c.Training(
    num_steps=10_000, batch_size=8, ema_decay=0.995, preview_every=1000
  ),
  sampling=c.Sampling(sampler='ancestral', steps=200, num=16),
  checkpoint=c.Checkpoint(every=500),
)
