"""DiGress on molecules of QM9 without hydrogen, at the authors' settings.

  python train.py --config configs/papers/digress_qm9.py
  python -m jaxdiff.evaluation graphs runs/digress_qm9

--data.name is the file of SMILES, which is read with RDKit: pip install rdkit.
qm9.py is a smaller run. 5,440,776 parameters. Hardware: one GPU; not run here.
Expected: 99.0 % valid, of which 96.2 % are unique (Vignac et al. 2023).
Settings: configs/experiment/qm9_no_h.yaml of cvignac/DiGress: 1,000 epochs of
96 steps. Its four kinds of atoms have no charges, and valences and weights are
features. With --diffusion.loss 'cross_entropy(edges=1.25)' an edge of 9 atoms
weighs as in its code. See digress_planar.py for what else differs.
"""

import dataclasses

from jaxdiff import config as c

planar = c.load_file('configs/papers/digress_planar.py')
config = dataclasses.replace(
  planar,
  workdir='runs/digress_qm9',
  data=c.Data(name='smiles:qm9.csv'),
  diffusion=dataclasses.replace(
    planar.diffusion, loss='cross_entropy(edges=5.0)', num_steps=500
  ),
  network=dataclasses.replace(planar.network, depth=9),
  training=dataclasses.replace(
    planar.training, num_steps=96_000, batch_size=1024
  ),
  sampling=dataclasses.replace(planar.sampling, steps=500),
)
