"""Molecules of a file of SMILES, as graphs of their heavy atoms.

Nodes are the heavy atoms, one category a symbol. A symbol ends in the formal
charge, one '+' or '-' for each unit: 'N', 'N+', 'O-'. Edges are single, double
and triple bonds, 1, 2, 3; aromatic rings are written in Kekule's form.
Hydrogens are left to the valences and stereochemistry is dropped. Molecules
that this does not describe (radicals, hydrogens that valences do not explain,
isotopes, several fragments) are left out and counted in a warning.

RDKit reads and writes SMILES: `pip install rdkit`.
"""

import csv
import functools
import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import ModuleType

import networkx as nx
import numpy as np

from jaxdiff import files
from jaxdiff.data.dataset import Dataset, check_split
from jaxdiff.data.graphs import from_arrays, pair_mask
from jaxdiff.data.shuffling import permutation

TEST = 0.1
SEED = 6


def load(path: str, split: str) -> Dataset:
  """Loads the molecules of a file, one SMILES a line or in a column 'smiles'.

  A tenth is the split 'test', by a permutation fixed by the number of
  molecules. N is the size of the largest molecule; the categories are the atoms
  of the file, in alphabetical order.

  Raises:
    ValueError: There is no such split, a line is no SMILES, or RDKit is absent.
  """
  check_split(split, ('train', 'test'))
  # A file that has changed is read again.
  stat = files.regular(path, 'file of text').stat()
  key = stat.st_ino, stat.st_size, stat.st_mtime_ns
  nodes, edges, exists, symbols = _read(path, key)
  order = permutation(len(nodes), SEED)
  # At least one: x[:-0] is empty.
  num_test = max(1, round(TEST * len(nodes)))
  chosen = order[-num_test:] if split == 'test' else order[:-num_test]
  x0 = {'nodes': nodes[chosen], 'edges': edges[chosen]}
  arrays = {'x0': x0, 'mask': pair_mask(exists[chosen])}
  categories = {'nodes': len(symbols), 'edges': 4}
  return from_arrays(
    f'smiles:{path}',
    split,
    arrays,
    categories,
    symbols=symbols,
    splits=('train', 'test'),
    content=lambda: [('molecules', x.data) for x in (nodes, edges)],
  )


def to_smiles(graph: nx.Graph, symbols: tuple[str, ...]) -> str | None:
  """Writes a molecule as canonical SMILES, or None if it is not valid.

  It is valid if RDKit sanitises it and it is in one piece. The graph has 'kind'
  of nodes, which index `symbols`, and of edges in 1 .. 3.
  """
  chem = _rdkit()
  if len(graph) == 0 or not nx.is_connected(graph):
    return None
  molecule, place = chem.RWMol(), {}
  for node, kind in graph.nodes(data='kind'):
    symbol = symbols[kind]
    atom = chem.Atom(symbol.rstrip('+-'))
    atom.SetFormalCharge(symbol.count('+') - symbol.count('-'))
    place[node] = molecule.AddAtom(atom)
  for u, v, kind in graph.edges(data='kind'):
    bond = chem.BondType.values[kind]
    molecule.AddBond(place[u], place[v], bond)
  with _quiet():
    failed = chem.SanitizeMol(molecule, catchErrors=True)
  if failed != chem.SanitizeFlags.SANITIZE_NONE:
    return None
  return chem.MolToSmiles(molecule)


# A minute for QM9, and each split asks for it.
@functools.lru_cache(maxsize=1)
def _read(
  path: str, key: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
  """Reads all molecules: (nodes, edges, existing nodes, symbols)."""
  del key
  chem = _rdkit()
  molecules, left_out = [], 0
  with _quiet():
    for line, text in _smiles(path):
      molecule = chem.MolFromSmiles(text)
      if molecule is None:
        raise ValueError(f'{path} line {line} is no SMILES: {text!r}')
      parsed = _atoms_and_bonds(chem, molecule)
      left_out += parsed is None
      if parsed is not None:
        molecules.append(parsed)
  if len(molecules) < 2:
    raise ValueError(
      f'{path} must have 2 molecules that are graphs of atoms, one for each '
      f'split, got {len(molecules)}'
    )
  if left_out:
    warnings.warn(
      f'{path}: {left_out} of {left_out + len(molecules)} molecules are left '
      'out: radicals, isotopes, several fragments, or hydrogens that '
      'valences do not explain',
      stacklevel=3,
    )
  symbols = tuple(sorted({s for atoms, _ in molecules for s in atoms}))
  category = {symbol: k for k, symbol in enumerate(symbols)}
  size = max(len(atoms) for atoms, _ in molecules)
  nodes = np.zeros((len(molecules), size), np.uint8)
  edges = np.zeros((len(molecules), size, size), np.uint8)
  exists = np.zeros((len(molecules), size), bool)
  for i, (atoms, bonds) in enumerate(molecules):
    nodes[i, : len(atoms)] = [category[symbol] for symbol in atoms]
    exists[i, : len(atoms)] = True
    for u, v, kind in bonds:
      edges[i, u, v] = edges[i, v, u] = kind
  return nodes, edges, exists, symbols


def _atoms_and_bonds(chem, molecule):
  """(symbols, [(u, v, kind)]), or None where these lose something."""
  chem.Kekulize(molecule, clearAromaticFlags=True)
  symbols, written = [], False
  for atom in molecule.GetAtoms():
    if atom.GetNumRadicalElectrons() or atom.GetIsotope():
      return None
    charge = atom.GetFormalCharge()
    symbols.append(atom.GetSymbol() + '+' * charge + '-' * -charge)
    written |= atom.GetNoImplicit()
  bonds = [
    (b.GetBeginAtomIdx(), b.GetEndAtomIdx(), int(b.GetBondType()))
    for b in molecule.GetBonds()
  ]
  if not symbols or any(kind > 3 for _, _, kind in bonds):
    return None
  if len(chem.GetMolFrags(molecule)) > 1:
    return None
  # Hydrogens in the file must be as many as the valences leave.
  if written and not _by_valences(molecule):
    return None
  return symbols, bonds


def _by_valences(molecule) -> bool:
  """Tells whether the hydrogens are those that the valences leave."""
  hydrogens = [atom.GetTotalNumHs() for atom in molecule.GetAtoms()]
  for atom in molecule.GetAtoms():
    atom.SetNoImplicit(False)
    atom.SetNumExplicitHs(0)
  molecule.UpdatePropertyCache(strict=False)
  return hydrogens == [atom.GetTotalNumHs() for atom in molecule.GetAtoms()]


def _smiles(path: str) -> Iterator[tuple[int, str]]:
  """Yields (line number, SMILES) of the lines that are not empty."""
  lines = files.read_lines(path)
  header = next(csv.reader(lines[:1]), [])
  columns = [name.strip().lower() for name in header]
  if 'smiles' not in columns:
    for number, line in enumerate(lines, 1):
      if line.strip():
        yield number, re.split(r'[\s,]', line.strip())[0]
    return
  column, reader = columns.index('smiles'), csv.reader(lines, strict=True)
  try:
    next(reader)
    for row in reader:
      cell = ''.join(row[column : column + 1]).split()
      if row and not cell:
        raise ValueError(f'{path} line {reader.line_num} has no SMILES')
      if row:
        yield reader.line_num, cell[0]
  except csv.Error as error:
    raise ValueError(f'{path} line {reader.line_num}: {error}') from error


def _rdkit() -> ModuleType:
  try:
    from rdkit import Chem
  except ImportError as error:
    raise ValueError(
      'molecules are read and written by RDKit: pip install rdkit'
    ) from error
  return Chem


def _quiet() -> AbstractContextManager[object]:
  """Keeps RDKit from printing about a molecule that fails."""
  from rdkit import rdBase

  return rdBase.BlockLogs()
