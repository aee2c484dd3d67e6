"""The few kinds of panels that the dashboards are made of, each with everything a panel needs to be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from grafana_foundation_sdk.builders import common as common_builder
from grafana_foundation_sdk.builders import dashboard as dashboard_builder
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, text, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models
from grafana_foundation_sdk.models import text as text_models

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grafana_foundation_sdk.cog.builder import Builder

WIDTH: Final = 24  # columns of Grafana's grid
SMALL: Final = 4  # rows of its grid, each about 38 pixels high
TALL: Final = 8

GREEN, BLUE, YELLOW, ORANGE, RED, GREY = "green", "blue", "yellow", "orange", "red", "text"
V1_COLOR, V2_COLOR = "orange", "blue"  # the same in every panel

SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and how its series are called in the legend."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Limit:
    """From this value on, that colour; a line in a graph."""

    value: float
    color: str


def lines(
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    unit: str = "short",
    limits: Sequence[Limit] = (),
    width: int = 8,
    logarithmic: bool = False,
    stacked: bool = False,
    least: float | None = 0,
    most: float | None = None,
    colors: Mapping[str, str] | None = None,
    dashes: Mapping[str, Sequence[int]] | None = None,
    points: bool = False,
) -> timeseries.Panel:
    """A graph over time. `colors` and `dashes`: a regular expression of a whole legend -> those series' colour, and the
    lengths of their dashes and gaps.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(width)
        .height(TALL)
        .unit(unit)
        .line_width(1 if stacked else 2)
        .fill_opacity(60 if stacked else 0)
        .show_points(common.VisibilityMode.ALWAYS if points else common.VisibilityMode.NEVER)
        .span_nulls(False)
        .legend(
            common_builder.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common_builder.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
        .thresholds(_thresholds(limits))
        .thresholds_style(
            common_builder.GraphThresholdsStyleConfig().mode(
                common.GraphThresholdsStyleMode.DASHED if limits else common.GraphThresholdsStyleMode.OFF
            )
        )
        .targets([_target(query, letter) for query, letter in zip(queries, "ABCDEFGH", strict=False)])
    )
    if stacked:
        panel.stacking(common_builder.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if logarithmic:
        scale = common_builder.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10)
        panel.scale_distribution(scale)
    elif least is not None:
        panel.min(least)
    if most is None and unit == "short" and not logarithmic:
        most = 1  # a graph of nothing but zeros is one from 0 to 1, not to 100
    if most is not None:
        panel.axis_soft_max(most)
    for pattern, color in (colors or {}).items():
        panel.override_by_regexp(_whole(pattern), [_fixed(color)])
    for pattern, lengths in (dashes or {}).items():
        style = models.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": list(lengths)})
        panel.override_by_regexp(_whole(pattern), [style])
    return panel


def number(
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    unit: str = "short",
    limits: Sequence[Limit] = (),
    base: str = GREEN,
    width: int = 4,
    decimals: int | None = None,
    names: bool = False,
    colors: Mapping[str, str] | None = None,
    nothing: str = "-",
    sparkline: bool = False,
) -> stat.Panel:
    """What holds now, large. `names` shows what the series is called in place of its value; `nothing` stands where
    there is no series.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(width)
        .height(SMALL)
        .unit(unit)
        .no_value(nothing)
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.AREA if sparkline else common.BigValueGraphMode.NONE)
        .text_mode(_text_mode(queries, names=names))
        .reduce_options(common_builder.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .thresholds(_thresholds(limits, base))
        .targets(
            [_target(query, letter, instant=not sparkline) for query, letter in zip(queries, "ABCDEFGH", strict=False)]
        )
    )
    if decimals is not None:
        panel.decimals(decimals)
    for name, color in (colors or {}).items():
        panel.override_by_name(name, [_fixed(color)])
    return panel


def timeline(
    title: str, description: str, queries: Sequence[Query], names: Mapping[str, str], *, width: int = 8
) -> Builder[models.Panel]:
    """What held when: numbers from 1 become names, each with its colour, in the order of `names`."""
    options = {
        str(place): models.ValueMappingResult(text=name, color=color, index=place)
        for place, (name, color) in enumerate(names.items(), start=1)
    }
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(width)
        .height(TALL)
        .mappings([models.ValueMap(options=options)])
        .color_scheme(dashboard_builder.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .thresholds(_thresholds((), GREY))
        .merge_values(True)
        .show_value(common.VisibilityMode.AUTO)
        .row_height(0.8)
        .line_width(0)
        .fill_opacity(70)
        .legend(
            common_builder.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(False)
        )
        .tooltip(common_builder.VizTooltipOptions().mode(common.TooltipDisplayMode.SINGLE))
        .targets([_target(query, letter) for query, letter in zip(queries, "ABCDEFGH", strict=False)])
    )


def listing(
    title: str, description: str, expression: str, columns: Mapping[str, str], *, width: int = 12
) -> Builder[models.Panel]:
    """A table of moments, newest first. `columns`: label -> heading; the value is the moment, in milliseconds."""
    hidden = ("Time", "__name__", "instance", "pod", "container", "endpoint", "namespace", "job")
    order = {label: place for place, label in enumerate(("Value", *columns))}
    organize: dict[str, Any] = {
        "excludeByName": dict.fromkeys(hidden, True),
        "indexByName": order,
        "renameByName": {"Value": "When", **columns},
    }
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(width)
        .height(TALL)
        .targets(
            [
                _target(Query(expression, ""), "A", instant=True).format(prometheus_models.PromQueryFormat.TABLE),
            ]
        )
        .with_transformation(models.DataTransformerConfig(id_val="organize", options=organize))
        .align(common.FieldTextAlignment.AUTO)
        .inspect(False)
        .sort_by([common_builder.TableSortByFieldState().display_name("When").desc(True)])
        .override_by_name(
            "When",
            [
                models.DynamicConfigValue(id_val="unit", value="dateTimeAsIso"),
                models.DynamicConfigValue(id_val="custom.width", value=180),
            ],
        )
    )


def prose(title: str, markdown: str, *, width: int = WIDTH, height: int = TALL) -> Builder[models.Panel]:
    """Text."""
    return text.Panel().title(title).span(width).height(height).mode(text_models.TextMode.MARKDOWN).content(markdown)


def _target(query: Query, letter: str, *, instant: bool = False) -> prometheus.Dataquery:
    target = (
        prometheus.Dataquery()
        .expr(query.expression)
        .legend_format(query.legend)
        .ref_id(letter)
        .datasource(SOURCE)
        .editor_mode(prometheus_models.QueryEditorMode.CODE)
    )
    return target.instant() if instant else target.range()


def _text_mode(queries: Sequence[Query], *, names: bool) -> common.BigValueTextMode:
    if names:
        return common.BigValueTextMode.NAME
    several = len(queries) > 1 or "{{" in queries[0].legend
    return common.BigValueTextMode.VALUE_AND_NAME if several else common.BigValueTextMode.VALUE


def _thresholds(limits: Sequence[Limit], base: str = GREEN) -> dashboard_builder.ThresholdsConfig:
    first = models.Threshold(value=None, color="transparent" if limits and base == "" else base)
    steps = [first, *(models.Threshold(value=limit.value, color=limit.color) for limit in limits)]
    return dashboard_builder.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _whole(pattern: str) -> str:
    """A regular expression as Grafana takes it, of the whole name."""
    return f"/^(?:{pattern})$/"


def _fixed(color: str) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})
