"""Molecules of nine heavy atoms at most (QM9), from a file of SMILES.

  python train.py --config configs/qm9.py --data.name smiles:qm9.csv
  python -m jaxdiff.evaluation graphs runs/qm9

Reading the file needs RDKit: pip install rdkit
"""

from jaxdiff.config import (
  Checkpoint,
  Config,
  Data,
  Diffusion,
  GraphTransformer,
  Network,
  Optimizer,
  Sampling,
  Training,
)

config = Config(
  workdir='runs/qm9',
  data=Data(name='smiles:qm9.csv'),
  diffusion=Diffusion(
    process='marginal',
    schedule='squared_cosine',
    prediction='logits',
    # Edges weigh five times as much as nodes.
    loss='cross_entropy(edges=5.0)',
  ),
  network=Network(
    kind='graph_transformer',
    graph_transformer=GraphTransformer(
      width=128, edge_width=64, global_width=64, depth=5, num_heads=8
    ),
  ),
  optimizer=Optimizer(learning_rate=5e-4, schedule='cosine', warmup_steps=500),
  training=Training(
    num_steps=20_000, batch_size=128, ema_decay=0.999, preview_every=2000
  ),
  sampling=Sampling(sampler='ancestral', steps=200, num=16),
  checkpoint=Checkpoint(every=1000),
)
