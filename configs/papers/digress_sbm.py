"""DiGress on graphs of a stochastic block model, at the authors' settings.

  python train.py --config configs/papers/digress_sbm.py
  python -m jaxdiff.evaluation graphs runs/digress_sbm

digress_planar.py on 44 to 187 nodes. 4,835,714 parameters. Hardware: one GPU;
not run here. Expected: 60 % of 40 graphs valid, unique and novel (Vignac et al.
2023, table 1; 62.5 % for the checkpoint in README of cvignac/DiGress).
Settings: configs/experiment/sbm.yaml there: 50,000 epochs of eleven steps. See
digress_planar.py for what differs.
"""

import dataclasses

from jaxdiff import config as c

planar = c.load_file('configs/papers/digress_planar.py')
config = dataclasses.replace(
  planar,
  workdir='runs/digress_sbm',
  data=c.Data(name='sbm'),
  network=dataclasses.replace(planar.network, depth=8),
  training=dataclasses.replace(
    planar.training, num_steps=550_000, batch_size=12
  ),
)
