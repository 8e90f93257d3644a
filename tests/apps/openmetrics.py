"""What the Python client's OpenMetrics parser makes of the page in the file PATH.

  json PATH      each metric's type, unit and samples
  classic PATH   the same metrics in the older text format, for tools that read only that
"""

import json
import sys

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

form, path = sys.argv[1:]
# Without newline="" Python would take a carriage return for the end of a line, which the format does not.
with open(path, encoding="utf-8", newline="") as page:
    families = list(text_string_to_metric_families(page.read()))


class Page:
    def collect(self):
        return families


def described(family):
    samples = [[sample.name, sample.labels, sample.value] for sample in family.samples]
    return {"type": family.type, "unit": family.unit, "help": family.documentation, "samples": samples}


if form == "json":
    print(json.dumps({family.name: described(family) for family in families}))
else:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Page())
    sys.stdout.write(generate_latest(registry).decode())
