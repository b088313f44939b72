"""The report as JSON, as Markdown and as a model card."""

from __future__ import annotations

import json
import math
import re
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import make_regression
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from helpers import shorten_candidates
from pipegrad.finetune import Report
from pipegrad.report import schema
from pipegrad.report.markdown import escape
from pipegrad.report.metrics import MetricResult

X, Y = make_regression(400, 6, n_informative=6, noise=1.0, random_state=0)
NOISE = np.random.default_rng(0).integers(0, 2, 400)
EVIL = "<script>|*_`[a](http://b.c)&amp; www.d.e @all\n# $x$ : \x1b[31m ~~é"


def report_of(pipe: Any, y: Any, **options: Any) -> Report:
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        shorten_candidates(patch)
        warnings.simplefilter("ignore", pg.PipegradWarning)
        return pg.FineTuner(pipe, random_state=0, **options).fit(X, y).report_


def bottleneck(last: Any) -> Any:
    return make_pipeline(StandardScaler(), PCA(2), last)


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    return {
        "better": report_of(bottleneck(LogisticRegression()), Y > 0),
        "unmoved": report_of(bottleneck(LogisticRegression()), NOISE),
        "regression": report_of(bottleneck(Ridge()), Y, scoring="r2"),
        "single": report_of(bottleneck(LogisticRegression()), Y > 0, epochs=5),
        "clusters": report_of(make_pipeline(StandardScaler(), KMeans(3, random_state=0)), None),
        "limited": report_of(bottleneck(LogisticRegression()), Y > 0, max_seconds=1e-3),
        "too few": Report(None, "there was nothing to do"),
    }


KINDS = ("better", "unmoved", "regression", "single", "clusters", "limited", "too few")


def strict(text: str) -> Any:
    def refuse(literal: str) -> None:
        raise AssertionError(f"{literal} is no JSON")

    return json.loads(text, parse_constant=refuse)


def evil(report: Report) -> Report:
    assert report.model is not None
    return replace(
        report,
        chosen=report.chosen and EVIL,
        why=EVIL,
        metric=EVIL,
        validation=EVIL,
        recalibrated=EVIL,
        tried=tuple(replace(tried, name=EVIL) for tried in report.tried),
        steps=tuple(replace(step, name=EVIL, kind=EVIL) for step in report.steps),
        metrics=tuple(replace(metric, name=EVIL) for metric in report.metrics),
        left_out=(EVIL,),
        model=replace(report.model, kind=EVIL, operators=(EVIL, EVIL + "1")),
    )


# JSON


@pytest.mark.parametrize("kind", KINDS)
def test_json_follows_the_schema(reports, kind):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema())
    content = strict(reports[kind].to_json())
    jsonschema.Draft202012Validator(schema()).validate(content)


def test_the_schema_refuses_what_is_no_report(reports):
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema())
    content = strict(reports["better"].to_json())
    for change in ({"gain": "much"}, {"new": 1}, {"schema": "urn:pipegrad:report:0"}):
        assert not validator.is_valid({**content, **change})
    assert not validator.is_valid({k: v for k, v in content.items() if k != "metrics"})
    content["steps"][0]["parameters"][0]["share"] = None
    assert validator.is_valid(content)
    content["steps"][0]["parameters"][0]["share"] = "inf"
    assert not validator.is_valid(content)


def test_every_field_of_the_schema_is_described():
    fields = schema()["properties"]
    assert set(fields) > set(vars(Report(None, "")))
    for name, field in fields.items():
        inner = json.dumps(field)
        assert "description" in field or "#/$defs/" in inner, name
    assert all("description" in part or "enum" in part for part in schema()["$defs"].values())


def test_json_has_the_numbers_of_the_report(reports):
    report = reports["better"]
    content = strict(report.to_json())
    assert content["improved"] is True
    assert (content["before"], content["after"]) == (report.before, report.after)
    assert content["interval"] == list(report.interval)
    assert [m["change"] for m in content["metrics"]] == [m.change for m in report.metrics]
    assert [s["share"] for s in content["steps"]] == [s.share for s in report.steps]
    assert content["curves"][0]["valid"] == list(report.curves[0].valid)
    assert content["calibration"]["after"]["gap"] == report.calibration.after.gap
    assert content["model"]["rows"] == 400
    assert content["model"]["versions"]["pipegrad"] == content["pipegrad"] == pg.__version__
    single = strict(reports["single"].to_json())
    assert (single["error"], single["interval"]) == (None, None)


def test_what_is_not_finite_is_null(reports):
    curve = replace(reports["better"].curves[0], valid=(1.0, math.inf, math.nan))
    content = strict(replace(reports["better"], gain=-math.inf, curves=(curve,)).to_json())
    assert content["curves"][0]["valid"] == [1.0, None, None]
    assert content["gain"] is None


# What was tuned


def test_the_summary_says_what_was_tuned(reports):
    model = reports["better"].model
    assert model.kind == "sklearn.pipeline.Pipeline"
    assert [name.rpartition(".")[2] for name in model.operators] == [
        "Pipeline",
        "StandardScaler",
        "PCA",
        "LogisticRegression",
    ]
    assert (model.task, model.rows, model.columns) == ("classification", 400, 6)
    assert model.libraries == ("sklearn",)
    assert reports["regression"].model.task == "regression"
    assert reports["clusters"].model.task == "clustering"


def test_rows_of_weight_zero_do_not_count():
    weight = np.r_[np.zeros(100), np.ones(300)]
    tuner = pg.FineTuner(Ridge(), random_state=0, epochs=1).fit(X, Y, sample_weight=weight)
    assert tuner.report_.model.rows == 300
    again = pg.FineTuner(LogisticRegression()).partial_fit(X, NOISE)
    assert again.report_.model.rows == 400


# Markdown


def check_tables(text: str) -> None:
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(cells) == 1
        assert set(block.splitlines()[1]) <= set("| -:")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["to_markdown", "card"])
def test_tables_are_whole(reports, kind, form):
    text = getattr(reports[kind], form)()
    assert "nan" not in text
    check_tables(text)
    assert not re.search(r"\n\n\n| $", text, re.MULTILINE)


def test_markdown_has_what_the_text_has(reports):
    report = reports["better"]
    text = report.to_markdown()
    assert text.startswith(f"# Fine-tuning report\n\n**{report.verdict}.**")
    for tried in report.tried:
        assert f"| {tried.name}" in text
    low, high = report.metrics[0].interval
    assert f"| {low:+.3g} to {high:+.3g} |" in text
    assert f"| {report.moved()[0].name} |" in text
    assert "## Parameter changes" not in reports["unmoved"].to_markdown()


@pytest.mark.parametrize("form", ["to_markdown", "card"])
@pytest.mark.parametrize("kind", ["better", "unmoved", "limited"])
def test_texts_of_others_stay_text(reports, kind, form):
    report = evil(reports[kind])
    given = {"name": EVIL, "dataset": EVIL, "file": EVIL + ".skops"} if form == "card" else {}
    text = getattr(report, form)(**given)
    body = text.split("---\n", 2)[2] if form == "card" else text
    prose = re.sub(r"```python\n.*?\n```", "", body, flags=re.DOTALL)
    assert EVIL.split("\n")[0] not in prose
    assert not re.search(r"(?<!\\)[<`]|(?<!\\)\[|(?<!\\)&|[a-z]://|www\.|(?<!\\)@|\x1b", prose)
    assert body.count("```") in (0, 2, 4)
    check_tables(body)
    headings = [line for line in prose.splitlines() if line.startswith("#")]
    assert all(line.startswith(("# ", "## ")) for line in headings)


def test_escaped_text_is_the_same_text():
    markdown_it = pytest.importorskip("markdown_it")
    for text in (EVIL.replace("\n", "").replace("\x1b", ""), "a_b*c*", r"back\slash", "1 < 2"):
        shown = markdown_it.MarkdownIt("commonmark").renderInline(escape(text))
        import html

        assert html.unescape(shown) == text


# Model cards


def front_matter(card: str) -> Any:
    yaml = pytest.importorskip("yaml")
    empty, matter, _ = card.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(matter)


def index_of(card: str) -> dict[str, float]:
    (model,) = front_matter(card)["model-index"]
    (result,) = model["results"]
    assert set(result) == {"task", "dataset", "metrics"}
    return {metric["type"]: metric["value"] for metric in result["metrics"]}


def test_the_metadata_are_those_of_hubs(reports):
    card = reports["better"].card(name='"Churn": #1 😀', dataset="Customers, 2024")
    found = front_matter(card)
    assert found["library_name"] == "sklearn"
    assert found["pipeline_tag"] == "tabular-classification"
    assert found["tags"] == ["pipegrad", "sklearn", "tabular-classification"]
    assert "license" not in found
    assert found["model-index"][0]["name"] == '"Churn": #1 😀'
    dataset = found["model-index"][0]["results"][0]["dataset"]
    assert dataset == {"name": "Customers, 2024", "type": "customers_2024"}
    values = index_of(card)
    after = {metric.name: metric.after for metric in reports["better"].metrics}
    assert values["accuracy"] == pytest.approx(after["accuracy"], rel=1e-5)
    assert values["roc_auc"] == pytest.approx(after["ROC AUC"], rel=1e-5)
    assert values["log_loss"] == pytest.approx(reports["better"].after, rel=1e-5)
    assert {"r2", "rmse", "mae"} <= set(index_of(reports["regression"].card()))
    assert "model-index" not in front_matter(reports["clusters"].card())
    assert "model-index" not in front_matter(reports["limited"].card())


def test_evil_names_do_not_leave_their_place_in_the_metadata(reports):
    found = front_matter(evil(reports["better"]).card(name=EVIL, dataset=EVIL))
    assert set(found) == {"library_name", "pipeline_tag", "tags", "model-index"}
    assert found["model-index"][0]["name"] == EVIL.replace("\n", r"\n").replace("\x1b", r"\x1b")


def test_small_values_are_numbers(reports):
    metric = replace(reports["better"].metrics[0], after=1e-7)
    values = index_of(replace(reports["better"], metrics=(metric,)).card())
    assert values["accuracy"] == 1e-7


def test_what_is_kept_as_fitted_is_told_first_and_measured_as_fitted(reports):
    report = reports["unmoved"]
    card = report.card(name="Coin")
    assert f"# Coin\n\n**Unchanged: {report.why}.**" in card
    assert "did not help: this is the pipeline as fitted" in card
    assert "after is the best candidate, which was not kept" in card
    before = {metric.name: metric.before for metric in report.metrics}
    assert index_of(card)["accuracy"] == pytest.approx(before["accuracy"], rel=1e-5)
    assert "## Parameter changes" not in card


def test_losses_are_told_as_plainly_as_gains(reports):
    report = reports["better"]
    assert "No metric became worse." in report.card()
    worse = MetricResult("ROC AUC", 0.9, 0.8, 0.2)
    error = MetricResult("mean absolute error", 1.0, 2.0, 0.1, higher_is_better=False)
    fewer = MetricResult("median", 2.0, 1.0, 0.1, higher_is_better=False)
    card = replace(report, metrics=(worse, error, fewer)).card()
    assert "Worse after training: ROC AUC (0.9 to 0.8), mean absolute error (1 to 2)." in card
    assert "The interval includes no change: ROC AUC." in card
    swapped = replace(
        report.calibration, before=report.calibration.after, after=report.calibration.before
    )
    assert "Calibration became worse" in replace(report, calibration=swapped).card()
    assert "Calibration became worse" not in card


def test_the_row_of_the_loss_has_the_direction_of_the_others(reports):
    report = replace(reports["better"], before=2.0, gain=0.5, error=0.1, metric="log loss")
    assert "| log loss | 2 | 1.5 | -0.5 | -0.7 to -0.3 |" in report.card()
    score = replace(report, metric="r2", higher_is_better=True)
    assert "| r2 | 2 | 2.5 | +0.5 | +0.3 to +0.7 |" in score.card()


def test_limits_depend_on_how_it_was_measured(reports):
    assert "not measured itself" in reports["better"].card()
    assert "the figures are optimistic" in reports["single"].card()
    assert "Time limit: 0.001 seconds" in reports["limited"].card()
    assert "Nothing was measured." in reports["too few"].card()


@pytest.mark.parametrize("file", ["model.skops", "net.safetensors", "net", None])
def test_the_lines_that_load_the_model_run(reports, file, tmp_path, monkeypatch):
    skops_io = pytest.importorskip("skops.io")
    monkeypatch.chdir(tmp_path)
    pipe = bottleneck(LogisticRegression()).fit(X, NOISE)
    skops_io.dump(pipe, "model.skops")
    net = pg.to_torch(pipe)
    for name in ("net.safetensors", "model.safetensors", "net"):
        net.save(name)
    blocks = re.findall(r"```python\n(.*?)\n```", reports["better"].card(file=file), re.DOTALL)
    assert len(blocks) == (2 if file is None else 1)
    for block in blocks:
        names: dict[str, Any] = {"X": X}
        exec(block, names)
        own = names.get("model", names.get("net"))
        assert accuracy_score(pipe.predict(X), own.predict(X)) == 1.0


# Files


@pytest.mark.parametrize(
    ("name", "form"),
    [("r.html", "to_html"), ("r.JSON", "to_json"), ("r.md", "to_markdown"), ("r.md", "card")],
)
def test_the_end_of_the_name_chooses_the_form(reports, tmp_path, name, form):
    report, path = reports["better"], tmp_path / name
    text = getattr(report, form)()
    if form != "card":
        assert report.save(path) == path
        assert path.read_text("utf-8") == text
    assert getattr(report, form)(path) == text == path.read_text("utf-8")
    for other in {"to_html", "to_json", "to_markdown", "card"} - {form}:
        if (form, other) not in {("to_markdown", "card"), ("card", "to_markdown")}:
            with pytest.raises(pg.ArgumentError, match="must end in"):
                getattr(report, other)(path)
    assert path.read_text("utf-8") == text
