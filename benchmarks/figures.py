"""The pictures of docs/diffusion.md: `python -m benchmarks.figures [FOLDER]`.

  process.png     a spiral, corrupted and restored
  schedules.png   the log-SNR of every schedule
  solvers.png     the error of ODE solvers against evaluations

No network: the data are a mixture of normals along a spiral, whose E[x0 | xt]
is known. Every number is a function of fixed seeds; nothing else is drawn.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from jaxdiff import processes, samplers, schedules
from jaxdiff.samplers import Denoiser, Solver, Step
from jaxdiff.schedules import NoiseLevel, Schedule

FOLDER = Path(__file__).parent.parent / 'docs' / 'images'
STD = 0.1


def spiral(num: int = 40) -> np.ndarray:
  """The means of the mixture, inside to outside. [num, 2], in about 1.4."""
  angle = np.pi * (1.5 + 3 * np.linspace(0, 1, num) ** 0.7)
  return np.stack([np.cos(angle), np.sin(angle)], axis=1) * angle[:, None] / 10


def exact_denoiser(
  schedule: Schedule, means: np.ndarray, std: float
) -> Denoiser:
  """E[x0 | xt] for x0 an even mixture of N(mean, std^2 I) over means [K, D].

  xt is a mixture too, of N(alpha mean, (alpha std)^2 + sigma^2); x0 is the
  mean over its components, by how likely each is, of what a normal's would be.
  """

  def one(xt: Array, t: Array) -> Array:
    alpha, sigma = schedule(t)
    variance = (alpha * std) ** 2 + sigma**2
    away = xt[None] - alpha * means
    logits = -0.5 * jnp.sum(away**2, axis=1) / variance
    each = means + alpha * std**2 / variance * away
    return jnp.sum(jax.nn.softmax(logits)[:, None] * each, axis=0)

  return jax.vmap(one)


def along(points: np.ndarray, means: np.ndarray) -> np.ndarray:
  """Which part of the spiral each point is nearest to, in [0, 1]. [B]"""
  distance = np.linalg.norm(points[:, None] - means[None], axis=2)
  return distance.argmin(axis=1) / (len(means) - 1)


def draw_process(path: Path, num: int = 900, num_steps: int = 200) -> None:
  """Forward, backward by the SDE and by the ODE: one row each, one t a column.

  Colour follows a sample, and says where on the spiral it starts or ends.
  """
  means, schedule = spiral(), schedules.cosine()
  process = processes.gaussian(schedule)
  denoise = exact_denoiser(schedule, means, STD)
  # Most of what there is to see happens early.
  shown = np.array([0.0, 0.05, 0.1, 0.2, 0.4, 1.0])
  data_key, corrupt_key = jax.random.split(jax.random.key(0))

  which_key, spread_key = jax.random.split(data_key)
  which = jax.random.randint(which_key, (num,), 0, len(means))
  x0 = means[which] + STD * jax.random.normal(spread_key, (num, 2))
  # One key a sample: the same noise at every t, so that each goes one way.
  corrupt_keys = jax.random.split(corrupt_key, num)
  forward = [
    jax.vmap(process.corrupt, (0, 0, None))(corrupt_keys, x0, t) for t in shown
  ]

  prior_keys, keys = samplers.sample_keys(seed=0, index=jnp.arange(num))
  x1 = jax.vmap(lambda key: process.prior(key, (2,)))(prior_keys)
  times = samplers.uniform_times(num_steps)
  columns = np.abs(times[:, None] - shown).argmin(axis=0)
  rows = [('corrupt →', forward)]
  for name, step in (
    ('← ancestral', samplers.ancestral(process)),
    ('← ddim', samplers.ddim(schedule)),
  ):
    xs = samplers.sample(step, denoise, keys, x1, times, trajectory=True)
    rows.append((name, [xs[n] for n in columns]))

  figure = Figure(figsize=(9, 4.9), layout='constrained')
  grid = figure.subplots(3, len(shown), sharex=True, sharey=True)
  for axes_row, (name, xs) in zip(grid, rows, strict=True):
    color = along(np.asarray(xs[0]), means)
    for axes, x in zip(axes_row, xs, strict=True):
      axes.scatter(*np.asarray(x).T, c=color, cmap='viridis', s=2, lw=0)
      axes.set(xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), xticks=[], yticks=[])
      axes.set_aspect('equal')
      for spine in axes.spines.values():
        spine.set_color('0.85')
    axes_row[0].set_ylabel(name)
  for axes, t in zip(grid[0], shown, strict=True):
    axes.set_title(f't = {t:g}', fontsize=10)
  save(figure, path)


def draw_schedules(path: Path) -> None:
  """log-SNR over t: closed forms on the left, tables right."""
  # One that changes another follows it, in its colour and dashed.
  closed = {
    'cosine()': schedules.cosine(),
    'linear_vp()': schedules.linear_vp(),
    'sub_vp()': schedules.sub_vp(),
    've()': schedules.ve(),
    'edm()': schedules.edm(),
    'laplace()': schedules.laplace(),
    'rectified_flow()': schedules.rectified_flow(),
    'shifted(rectified_flow(), 3)': schedules.shifted(
      schedules.rectified_flow(), 3
    ),
  }
  linear = schedules.linear_betas()
  tables = {
    'linear_betas()': linear,
    'zero_terminal_snr(linear_betas())': schedules.zero_terminal_snr(linear),
    'scaled_linear_betas()': schedules.scaled_linear_betas(),
    'cosine_betas()': schedules.cosine_betas(),
    'sigmoid_betas()': schedules.sigmoid_betas(),
  }
  tables = {name: schedules.from_betas(betas) for name, betas in tables.items()}

  dashed = 'sub_vp()', 'shifted', 'zero_terminal_snr'

  figure = Figure(figsize=(9, 4.2), layout='constrained')
  left, right = figure.subplots(1, 2, sharey=True)
  # Not t = 0 and 1, where several are infinite.
  t = np.linspace(0, 1, 1001, dtype=np.float32)[1:-1]
  for axes, group in ((left, closed), (right, tables)):
    color = -1
    for name, schedule in group.items():
      changed = name.startswith(dashed)
      color += not changed
      axes.plot(
        t,
        schedules.log_snr(schedule, t),
        '--' if changed else '-',
        color=f'C{color}',
        lw=1.5,
        label=name,
      )
    axes.set(xlabel='t', xlim=(0, 1), ylim=(-16, 16))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc='lower left')
  left.set(ylabel='log_snr(schedule, t)', title='in closed form')
  right.set(title='from_betas(...)')
  save(figure, path)


def cosine_64(t: Array) -> NoiseLevel:
  """A cosine schedule, log-SNR from -8 to 8, in the precision of t.

  The library's are float32, in which no error below 1e-6 could be seen.
  """
  end = np.arctan(np.exp(-4.0))
  angle = end + (np.pi / 2 - 2 * end) * t
  return NoiseLevel(jnp.cos(angle), jnp.sin(angle))


# What to draw: solver, its order, its evaluations a step.
SOLVERS: dict[str, tuple[Callable[[Schedule], Step | Solver], int, int]] = {
  'euler = ddim': (samplers.euler, 1, 1),
  'heun': (samplers.heun, 2, 2),
  'dpmpp_2s': (samplers.dpmpp_2s, 2, 2),
  'dpmpp_2m': (samplers.dpmpp_2m, 2, 1),
  'plms': (samplers.plms, 2, 1),
  'dpmpp_3m': (samplers.dpmpp_3m, 3, 1),
  'unipc(.., 2)': (samplers.unipc, 3, 1),
  'unipc(.., 3)': (lambda schedule: samplers.unipc(schedule, 3), 4, 1),
  'rk4': (samplers.rk4, 4, 4),
}


def solver_errors(
  evaluations: np.ndarray, num: int = 32, reference_steps: int = 1024
) -> dict[str, np.ndarray]:
  """Root mean square distance of x at t = 0 from the ODE's solution.

  The solution is that of `rk4` in many steps. The times are cos^2, fine at both
  ends: steps without a history are of low order, and must be short.

  Returns:
    By name, [len(evaluations)].
  """
  times = lambda n: np.cos(np.linspace(0, np.pi / 2, n + 1)) ** 2
  with jax.enable_x64(True):
    denoise = exact_denoiser(cosine_64, spiral(), STD)
    _, keys = samplers.sample_keys(seed=0, index=jnp.arange(num))
    x1 = jax.random.normal(jax.random.key(1), (num, 2), jnp.float64)

    def solve(solver: Callable, steps: int) -> Array:
      step = solver(cosine_64)
      return samplers.sample(step, denoise, keys, x1, times(steps))

    truth = solve(samplers.rk4, reference_steps)
    distance = lambda x: np.sqrt(np.mean(np.sum((x - truth) ** 2, axis=1)))
    return {
      name: np.array([distance(solve(solver, n // cost)) for n in evaluations])
      for name, (solver, _, cost) in SOLVERS.items()
    }


def draw_solvers(path: Path) -> None:
  """Error against evaluations, log-log: an order is a slope and a colour."""
  evaluations = 2 ** np.arange(3, 10)
  errors = solver_errors(evaluations)
  figure = Figure(figsize=(7, 4.6), layout='constrained')
  axes = figure.subplots()
  markers = iter('os^Dvo^sD')
  for name, (_, order, _) in SOLVERS.items():
    axes.loglog(
      evaluations,
      errors[name],
      color=f'C{order - 1}',
      marker=next(markers),
      ms=4,
      lw=1.2,
      label=f'{name}: order {order}',
    )
  end = evaluations[-2:]
  for order in range(1, 5):
    # Below the best of its order, so as not to hide it.
    best = min(errors[n][-2] for n in SOLVERS if SOLVERS[n][1] == order)
    guide = 0.6 * best * (end / end[0]) ** -float(order)
    axes.loglog(end, guide, color='0.6', ls='--', lw=1)
    axes.annotate(
      f'slope -{order}',
      (end[1], guide[1]),
      xytext=(4, -2),
      textcoords='offset points',
      fontsize=8,
      color='0.4',
    )
  label_powers(axes, evaluations)
  axes.set(xlabel='evaluations of the denoiser', ylabel='error of x0 (RMS)')
  axes.set_xlim(7, 900)
  axes.grid(alpha=0.25)
  axes.legend(frameon=False, fontsize=8, loc='lower left')
  save(figure, path)


def label_powers(axes: Axes, values: np.ndarray) -> None:
  """These values, and no others, on a logarithmic x axis."""
  axes.set_xticks(values, [str(v) for v in values])
  axes.set_xticks([], minor=True)


def save(figure: Figure, path: Path) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  buffer = io.BytesIO()
  figure.savefig(buffer, dpi=110)
  # A palette is a third of the bytes, and looks the same.
  Image.open(buffer).convert('RGB').quantize(256).save(path, optimize=True)
  print(path)


def main(folder: Path = FOLDER) -> None:
  draw_process(folder / 'process.png')
  draw_schedules(folder / 'schedules.png')
  draw_solvers(folder / 'solvers.png')


if __name__ == '__main__':
  main(*map(Path, sys.argv[1:2]))
