"""moto's CloudWatch, with SageMaker's metrics beside those of PutMetricData."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from moto.cloudwatch.exceptions import InvalidParameterValue
from moto.cloudwatch.models import CloudWatchBackend, MetricAggregatedDatum, MetricDatumBase, cloudwatch_backends
from moto.core.models import DEFAULT_ACCOUNT_ID

from emulator import relied_on
from emulator.observers.cloudwatch_metrics import MetricDatum, Minute, percentile

STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|100)")
relied_on.check(__name__)


def install(minutes: Callable[[], list[Minute]]) -> None:
    """Have moto make its CloudWatch of each region of the emulator's account in this way, from now on."""
    regions: Any = cloudwatch_backends[DEFAULT_ACCOUNT_ID]
    regions.backend = partial(CloudWatch, minutes)
    regions.clear()  # of what was made before, to look at its paths


class OfSageMaker(MetricAggregatedDatum):
    """A datum of SageMaker's, which has some metrics by variant, and by container as well."""

    def filter(
        self,
        namespace: str | None,
        name: str | None,
        dimensions: list[dict[str, str]],
        already_present_metrics: list[MetricDatumBase] | None = None,
    ) -> bool:
        """[api] GetMetricStatistics is for the metric with exactly these dimensions; to moto, fewer are enough."""
        exactly = not dimensions or len(dimensions) == len(self.dimensions)
        return exactly and super().filter(namespace, name, dimensions, already_present_metrics)


class CloudWatch(CloudWatchBackend):
    """The CloudWatch of one region."""

    __module__ = CloudWatchBackend.__module__  # beside which moto looks for the paths that it serves

    def __init__(self, minutes: Callable[[], list[Minute]], region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._minutes = minutes

    @property
    def aws_metric_data(self) -> list[MetricDatumBase]:
        return [*super().aws_metric_data, *(_as_moto_has_it(datum) for datum in self._data())]

    def get_filtered_metrics(
        self, metric_name: str, namespace: str, dimensions: list[dict[str, str]]
    ) -> list[MetricDatumBase]:
        """Each metric once, however many data it has; moto tells metrics apart only where they have one dimension."""
        found: dict[object, MetricDatumBase] = {}
        for datum in self.get_all_metrics():
            if MetricDatumBase.filter(datum, namespace, metric_name, dimensions):
                named = frozenset((dimension.name, dimension.value) for dimension in datum.dimensions)
                found.setdefault((datum.namespace, datum.name, named), datum)
        return list(found.values())

    def get_metric_statistics(self, namespace: str, metric_name: str, start_time: datetime, *rest: Any, **named: Any):  # type: ignore[no-untyped-def]
        return super().get_metric_statistics(namespace, metric_name, _whole_minute(start_time), *rest, **named)

    def get_metric_data(
        self,
        queries: list[dict[str, Any]],
        start_time: datetime,
        end_time: datetime,
        scan_by: str = "TimestampAscending",
    ) -> list[dict[str, Any]]:
        """With percentiles of SageMaker's times, which moto does not know.

        Raises InvalidParameterValue for a statistic that neither knows.
        """
        percents = {query["Id"]: _percent(query["MetricStat"]) for query in queries if "MetricStat" in query}
        results = super().get_metric_data(queries, _whole_minute(start_time), end_time, scan_by)
        stats = {query["Id"]: query.get("MetricStat") for query in queries}
        for result in results:
            percent = percents.get(result["id"])
            if percent is not None:
                points = [(t, self._percentile(stats[result["id"]], percent, t)) for t in result["timestamps"]]
                result["timestamps"] = [t for t, value in points if value is not None]
                result["values"] = [value for _, value in points if value is not None]
        return results

    def _data(self) -> list[MetricDatum]:
        return [datum for minute in self._minutes() for datum in minute.data(self.region_name)]

    def _percentile(self, metric_stat: Any, percent: float, began: datetime) -> float | None:
        metric = metric_stat["Metric"]
        ends = began + timedelta(seconds=int(metric_stat["Period"]))
        dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions", ())}
        statistic_sets = [
            datum.statistics
            for datum in self._data()
            if (datum.namespace, datum.name) == (metric["Namespace"], metric["MetricName"])
            and dimensions == datum.dimensions
            and began <= _time(datum) < ends
        ]
        return percentile(statistic_sets, percent)


def _percent(metric_stat: dict[str, Any]) -> float | None:
    """That of a percentile; None for one of moto's own statistics."""
    stat = metric_stat["Stat"]
    if stat in STATISTICS:
        return None
    match = PERCENTILE.fullmatch(stat)
    if match is None:
        raise InvalidParameterValue(
            f"The value {stat} for parameter Stat is not known to localmme. It knows {', '.join(STATISTICS)} and "
            "percentiles such as p99."
        )
    return float(match[1])


def _as_moto_has_it(datum: MetricDatum) -> OfSageMaker:
    statistics = datum.statistics
    return OfSageMaker(
        namespace=datum.namespace,
        name=datum.name,
        min_stat=statistics.minimum,
        max_stat=statistics.maximum,
        sample_count=statistics.count,
        sum_stat=statistics.total,
        dimensions=[{"Name": name, "Value": value} for name, value in datum.dimensions.items()],
        timestamp=_time(datum),
        unit=datum.unit,
    )


def _time(datum: MetricDatum) -> datetime:
    return datetime.fromtimestamp(datum.began, timezone.utc).replace(tzinfo=None)  # moto's times are all UTC


def _whole_minute(time: datetime) -> datetime:
    """[api] CloudWatch rounds the start of a requested period down to a minute; moto does not."""
    return time.replace(second=0, microsecond=0)
