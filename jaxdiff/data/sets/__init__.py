"""Data sets: name -> 'module:function' of its loader, one file a family.

A loader takes the split and those of the options of `data.load` that mean
something for it. The loaders of names with a second part, such as
'folder:PATH', take that part first.
"""

# The second part of these is a path: the same data may have another one.
FILES = ('folder', 'npz', 'text', 'lines', 'smiles')

SETS = {
  'digits': 'jaxdiff.data.sets.digits:load',
  'captioned_shapes': 'jaxdiff.data.sets.captioned_shapes:load',
  'folder': 'jaxdiff.data.sets.folder:load',
  'npz': 'jaxdiff.data.sets.npz:load',
  'tfds': 'jaxdiff.data.sets.tfds:load',
  'sums': 'jaxdiff.data.sets.sums:load',
  'text': 'jaxdiff.data.sets.text_files:load_text',
  'lines': 'jaxdiff.data.sets.text_files:load_lines',
  'smiles': 'jaxdiff.data.sets.molecules:load',
  'community_small': 'jaxdiff.data.sets.graphs:community_small',
  'grid': 'jaxdiff.data.sets.graphs:grid',
  'grid_small': 'jaxdiff.data.sets.graphs:grid_small',
  'planar': 'jaxdiff.data.sets.graphs:planar',
  'planar_small': 'jaxdiff.data.sets.graphs:planar_small',
  'sbm': 'jaxdiff.data.sets.graphs:sbm',
  'sbm_small': 'jaxdiff.data.sets.graphs:sbm_small',
  'trees': 'jaxdiff.data.sets.graphs:trees',
  'two_moons': 'jaxdiff.data.sets.points:two_moons',
  'swiss_roll': 'jaxdiff.data.sets.points:swiss_roll',
  'checkerboard': 'jaxdiff.data.sets.points:checkerboard',
}
