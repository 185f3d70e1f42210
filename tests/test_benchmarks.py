"""What is timed is what is said to be timed."""

from benchmarks import time_to_quality
from benchmarks.cases import CASES
from jaxdiff import config as configs


def test_time_to_quality_trains_the_network_of_its_case():
  unet = CASES['small']().config.network.unet
  parsed = configs.parse(time_to_quality.flags_of(unet))
  assert parsed.network.unet == unet
  stands = configs.load_file(time_to_quality.CONFIG)
  assert parsed.network.unet != stands.network.unet
