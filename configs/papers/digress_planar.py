"""DiGress on planar graphs of 64 nodes, at the authors' settings.

  python train.py --config configs/papers/digress_planar.py
  python -m jaxdiff.evaluation graphs runs/digress_planar

planar.py is the size for a CPU. 6,040,194 parameters. Hardware: one GPU for the
authors; not run here. Expected: 77.5 % of 40 graphs valid, unique and novel
(Vignac et al. 2023, table 1). Settings: configs/experiment/planar.yaml and
configs/train/train_default.yaml of cvignac/DiGress: 100,000 epochs of two
steps. Theirs: products of queries and keys as wide as nodes, norms after the
sums. Ours: as wide as edges, norms before the sums.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/digress_planar',
  data=c.Data(name='planar'),
  diffusion=c.Categorical(
    process='marginal',
    schedule='squared_cosine',
    loss='cross_entropy',
    num_steps=1000,
    times='grid',
    positions='independent',
  ),
  network=c.GraphTransformer(
    width=256, edge_width=64, global_width=64, depth=10, num_heads=8
  ),
  optimizer=c.Optimizer(
    name='adamw', learning_rate=2e-4, clip_norm=None, weight_decay=1e-12
  ),
  training=c.Training(
    num_steps=200_000, batch_size=64, ema_decay=0.0, preview_every=10_000
  ),
  sampling=c.Sampling(sampler='ancestral', steps=1000, num=40),
  checkpoint=c.Checkpoint(every=5000),
)
