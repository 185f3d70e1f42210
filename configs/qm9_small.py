"""Two thousand molecules of QM9: the small budget of DiGress's author.

  python train.py --config configs/qm9_small.py --data.name smiles:qm9_2000.csv
  python -m jaxdiff.evaluation graphs runs/qm9_small

The file has 2,222 random lines of QM9's SMILES, of which 2,000 are trained on;
RDKit reads it: pip install rdkit.
"""

import dataclasses

from jaxdiff import config as c

qm9 = c.load_file('configs/qm9.py')
config = dataclasses.replace(
  qm9,
  workdir='runs/qm9_small',
  data=c.Data(name='smiles:qm9_2000.csv'),
  network=dataclasses.replace(qm9.network, walks=9),
  optimizer=dataclasses.replace(
    qm9.optimizer, learning_rate=1e-3, warmup_steps=100
  ),
  # 500 epochs of 2,000.
  training=dataclasses.replace(
    qm9.training,
    num_steps=2000,
    batch_size=512,
    ema_decay=0.995,
    preview_every=2000,
  ),
  checkpoint=c.Checkpoint(every=500),
)
