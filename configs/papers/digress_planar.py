"""DiGress on planar graphs of 64 nodes, at the authors' settings.

  python train.py --config configs/papers/digress_planar.py
  python -m jaxdiff.evaluation graphs runs/digress_planar

planar.py is the size for a CPU. 6,040,194 parameters. Hardware: one GPU for the
authors; not run here. Expected: 77.5 % of 40 graphs valid, unique and novel
(Vignac et al. 2023, table 1, from memory). Settings:
configs/experiment/planar.yaml and configs/train/train_default.yaml of
cvignac/DiGress: 100,000 epochs of two steps, as before July 2023; since then an
epoch has each graph twice. The graphs are made here, by the method of the
published ones.

Theirs: products of queries and keys as wide as nodes with a softmax for each
channel, norms after the sums, ReLU, MLPs before and after the blocks, two
eigenvectors as features. Ours: products as wide as edges with a softmax for
each head, norms before the sums, GELU, heat kernels as features. The loss is
the sum over nodes and edges of a graph, divided by its elements; theirs is a
mean over nodes and one over edges.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/digress_planar',
  data=c.Data(name='planar'),
  diffusion=c.Categorical(
    process='marginal',
    schedule='offset_cosine',
    loss='cross_entropy',
    num_steps=1000,
    times='grid',
    positions='independent',
  ),
  network=c.GraphTransformer(
    width=256,
    edge_width=64,
    global_width=64,
    depth=10,
    num_heads=8,
    dropout=0.1,
  ),
  optimizer=c.Optimizer(
    name='optax:amsgrad', learning_rate=2e-4, clip_norm=None
  ),
  training=c.Training(
    num_steps=200_000, batch_size=64, ema_decay=0.0, preview_every=10_000
  ),
  sampling=c.Sampling(sampler='ancestral', steps=1000, num=40),
  checkpoint=c.Checkpoint(every=5000),
)
