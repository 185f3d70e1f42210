"""Graphs of two communities, 12 to 20 nodes, by DiGress's marginal noise.

  python train.py --config configs/community_small.py
  python -m jaxdiff.evaluation graphs runs/community_small

393,986 parameters, 2,500 steps of 32 (1,000 epochs), 24 minutes on half a CPU
core (2026-11-22, Python 3.11, jax 0.10.2); MMDs to the test graphs 1.0 to 2.4
times those of the training graphs, see docs/results.md. The authors' settings:
papers/digress_community.py.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/community_small',
  data=c.Data(name='community_small'),
  diffusion=c.Categorical(
    process='marginal',
    schedule='squared_cosine',
    prediction='logits',
    loss='cross_entropy',
  ),
  network=c.GraphTransformer(
    width=64, edge_width=32, global_width=64, depth=4, num_heads=4
  ),
  optimizer=c.Optimizer(
    learning_rate=1e-3, schedule='cosine', warmup_steps=100
  ),
  training=c.Training(
    num_steps=2500, batch_size=32, ema_decay=0.995, preview_every=500
  ),
  sampling=c.Sampling(sampler='ancestral', steps=100, num=16),
  checkpoint=c.Checkpoint(every=500),
)
