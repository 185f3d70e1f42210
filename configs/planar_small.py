"""Planar graphs of 16 to 24 nodes, by marginal noise that mixes linearly.

  python train.py --config configs/planar_small.py
  python -m jaxdiff.evaluation graphs runs/planar_small

489,986 parameters, 6,000 steps of 32. 16 CPU minutes on one core beside other
work (2026-11-28, Python 3.13, jax 0.12.0.1). Expected: the table of
docs/results.md.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/planar_small',
  data=c.Data(name='planar_small'),
  diffusion=c.Categorical(
    process='marginal',
    schedule='linear',
    prediction='logits',
    loss='cross_entropy',
  ),
  network=c.GraphTransformer(
    width=64, edge_width=32, global_width=64, depth=5, num_heads=4, walks=12
  ),
  optimizer=c.Optimizer(
    learning_rate=1e-3, schedule='cosine', warmup_steps=200
  ),
  training=c.Training(
    num_steps=6000, batch_size=32, ema_decay=0.999, preview_every=10_000
  ),
  sampling=c.Sampling(sampler='ancestral', steps=100, num=16),
  checkpoint=c.Checkpoint(every=1000, max_to_keep=20),
)
