"""The accuracy study: it runs, resumes, records errors, and its page counts right."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.utils.fixes import parse_version

from study_files import FOLDER, importable, module  # noqa: F401

# It runs


def tables():
    """Small tables; the one of concrete is too small for FineTuner to try anything."""
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(2, 75))
    kind = draw.choice(["x", "y"], 75)
    shared = {"a": a, "b": b}
    return {
        "concrete": {"a": a[:50], "b": b[:50], "strength": 2 * a[:50] + b[:50]},
        "titanic": {**shared, "sex": kind, "survived": (a + (kind == "x") > 0.3).astype(int)},
        "phoneme": {**shared, "a": np.where(a > 1, np.inf, a), "oral": (b > 0).astype(int)},
    }


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Results of a small study; the columns of phoneme hold infinite values."""
    folder, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("results")
    for name, columns in tables().items():
        pd.DataFrame(columns).to_parquet(folder / f"{name}.parquet")
    given = ["--data", folder, "--out", out, "--jobs", "0", "--splits", "0"]
    given += ["--templates", "pca", "--sets", "concrete", "titanic", "phoneme"]
    given = [str(word) for word in given]
    module("study").main(given)
    return folder, out, given


@pytest.mark.slow
def test_every_arm_leaves_a_loss_or_a_reason(ran):
    found = pd.read_parquet(ran[1] / "titanic.pca.0.parquet").set_index("arm")
    arms = ["pipeline", "finetuned", "search", "wider", "last", "random", "by_hand"]
    assert list(found.index) == arms
    assert list(found.error) == [""] * len(arms)
    for arm, row in found.iterrows():
        assert row.skipped or len(row.test) == 15, arm
        assert row.skipped or row.loss == pytest.approx(row.test.mean(), rel=1e-5), arm
    assert found.seconds["search"] >= 0
    assert found.splits["finetuned"] >= 1


def test_an_error_is_noted_and_stops_nothing(ran):
    found = pd.read_parquet(ran[1] / "phoneme.pca.0.parquet")
    assert list(found.arm) == ["pipeline"]
    assert "infinity" in found.error[0]
    assert (ran[1] / "concrete.pca.0.parquet").exists()


def test_goes_on_where_it_stopped(ran, capsys):
    _, out, given = ran
    path = out / "concrete.pca.0.parquet"
    kept = path.read_bytes()
    module("study").main(given)
    assert capsys.readouterr().out.startswith("0 of 3 jobs")
    assert path.read_bytes() == kept


def test_what_failed_runs_again_when_asked(ran, tmp_path, capsys):
    _, out, given = ran
    copies = tmp_path / "results"
    copies.mkdir()
    for path in out.iterdir():
        (copies / path.name).write_bytes(path.read_bytes())
    again = [str(copies) if word == str(out) else word for word in given]
    module("study").main([*again, "--retry"])
    said = capsys.readouterr().out
    assert said.startswith("1 of 3 jobs")
    assert "ERROR pipeline: ValueError" in said
    # What fails outside of any arm is noted as well.
    broken = tmp_path / "data"
    broken.mkdir()
    pd.DataFrame({"oral": [0.0, 1.0]}).to_parquet(broken / "phoneme.parquet")
    jobs = module("study").jobs_of(module("study").arguments(again))
    module("study").work(jobs[-1], tmp_path / "nowhere", copies)
    assert "FileNotFoundError" in pd.read_parquet(copies / jobs[-1].file).error[0]


def test_no_job_starts_when_time_is_up(ran, tmp_path, capsys):
    given = [str(tmp_path) if word == str(ran[1]) else word for word in ran[2]]
    module("study").main([*given, "--hours", "-1"])
    assert "3 jobs are left" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.parquet"))


def test_results_on_other_rows_do_not_mix(ran):
    with pytest.raises(SystemExit, match="choose another folder"):
        module("study").main([*ran[2], "--rows", "100"])


def test_jobs_cover_every_data_set_before_the_next_split(ran):
    study = module("study")
    options = study.arguments([*ran[2], "--splits", "1", "0", "time", "--templates", "pca"])
    jobs = study.jobs_of(options)
    assert [job.split for job in jobs] == ["0"] * 3 + ["1"] * 3  # none is in order of time
    assert [job.controls for job in jobs] == [True] * 3 + [False] * 3
    assert all(job.search for job in jobs)
    later = study.jobs_of(study.arguments([*ran[2], "--splits", "4", "--templates", "pca"]))
    assert not any(job.search for job in later)
    assert len({job.file for job in jobs}) == 6


def test_missing_data_is_refused_before_work(tmp_path, capsys):
    with pytest.raises(SystemExit):
        module("study").main(["--data", str(tmp_path), "--out", str(tmp_path), "--sets", "abalone"])
    assert "no file for abalone" in capsys.readouterr().err


def test_the_page_of_a_study_that_ran(ran, tmp_path):
    page = tmp_path / "accuracy-study.md"
    module("study").main(["--out", str(ran[1]), "--report", str(page)])
    text = page.read_text(encoding="utf-8")
    assert "| phoneme |" in text.split("## Failed runs")[1]
    names = ("reductions", "controls", "costs")
    assert all((tmp_path / f"accuracy-{name}.svg").exists() for name in names)
    assert all(f"(accuracy-{name}.svg)" in text for name in names)
    assert "nan" not in text.replace("finance", "")


# The search


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.7"), reason="the pipelines need 1.7"
)
def test_the_search_draws_for_every_pipeline():
    templates, spaces, data = (module(n) for n in ("templates", "search_spaces", "data"))
    table = pd.DataFrame({"a": np.arange(9.0), "sex": list("xyxyxyxyx")}).astype({"sex": object})
    for task in ("count", "regression", "binary"):
        like = data.DataSet("abalone", task, "y", text="text")
        no_text = data.DataSet("abalone", task, "y")
        for name, template in templates.TEMPLATES.items():
            if name != "tfidf" and not templates.applies(name, no_text, table):
                continue
            pipe = template(like, table)
            found = next(iter(module("search_spaces").ParameterSampler(spaces.space(pipe, 20), 1)))
            assert found, (task, name)
            pipe.set_params(**found)


def test_the_search_keeps_the_better_setting():
    from sklearn.linear_model import Ridge

    spaces = module("search_spaces")
    X = pd.DataFrame({"a": np.linspace(-1, 1, 100)})
    y = 3 * X.a.to_numpy()
    loss = lambda model, X, y: (model.predict(X) - y) ** 2  # noqa: E731
    found = spaces.search(Ridge(alpha=50), X, y, loss, 1, 0.3, 0)
    assert found.tried > 1
    assert found.model.alpha < 50
    stays = spaces.search(Ridge(alpha=1e-9), X, y, loss, 1, 0.0, 0)
    assert (stays.tried, stays.settings) == (2, {})


# What it counts


def result(data, template, arm, losses, split="0", task="regression", seconds=1.0):
    losses = np.asarray(losses, np.float32)
    note = {"data": data, "template": template, "split": split, "task": task, "arm": arm}
    note |= {"loss": float(losses.mean()), "test": losses, "seconds": seconds}
    return note | {"error": "", "skipped": "", "chosen": "L-BFGS", "gain": 0.1, "before": 1.0}


def study_of(after, before=1.0, **options):
    """A pipeline with losses of about 1, and the losses after fine-tuning: name -> factor."""
    noise = np.tile([0.9, 1.1], 50)
    rows = []
    for (data, template), factor in after.items():
        rows.append(result(data, template, "pipeline", before * noise, **options))
        rows.append(result(data, template, "finetuned", factor * noise, seconds=8.0, **options))
    return pd.DataFrame(rows)


def test_reductions_are_known():
    figures = module("figures")
    table = study_of({("concrete", "pca"): 0.75, ("randhie", "pca"): 1.01})
    runs = figures.compare(table, "finetuned", "pipeline").set_index("data")
    assert runs.reduction["concrete"] == pytest.approx(0.25, abs=1e-6)
    # Each row is 0.225 or 0.275 better: mean 0.25, standard deviation 0.025.
    expected = 0.025 * np.sqrt(100 / 99) / 10
    assert runs.error["concrete"] == pytest.approx(expected, rel=1e-5)
    assert runs.z["concrete"] == pytest.approx(0.25 / expected, rel=1e-5)
    assert runs.z["randhie"] < -figures.NOISE


def test_losses_of_nothing_do_not_divide():
    figures = module("figures")
    assert figures.reduction(0.0, 0.0) == 0.0
    assert figures.reduction(1e-14, 1e-13) == 0.0
    assert figures.reduction(0.0, 0.5) < -1
    assert figures.reduction(0.2, 0.0) == 1.0


def test_shares_and_noise_are_known():
    figures = module("figures")
    after = {"concrete": 0.5, "randhie": 0.996, "abalone": 1.004, "wine_quality": 1.2}
    table = study_of({(data, "pca"): value for data, value in after.items()})
    one = figures.summary("pca", figures.compare(table, "finetuned", "pipeline"))
    assert (one.sets, one.runs) == (4, 4)
    assert (one.better, one.worse) == (0.25, 0.25)
    assert one.worst == pytest.approx(-0.2, abs=1e-6)
    assert one.median == pytest.approx(0.0, abs=1e-6)
    assert (one.helped, one.harmed) == (2, 2)
    # One row decides: the difference is within noise.
    losses = np.ones(100)
    noisy = losses + np.eye(100)[0] * 30
    rows = [result("concrete", "pca", "pipeline", losses)]
    rows.append(result("concrete", "pca", "finetuned", noisy))
    runs = figures.compare(pd.DataFrame(rows), "finetuned", "pipeline")
    assert figures.summary("pca", runs).harmed == 0
    assert figures.summary("pca", runs).worse == 1


def test_a_pair_is_the_mean_over_its_random_splits():
    figures = module("figures")
    parts = [study_of({("concrete", "pca"): 0.8}, split="0")]
    parts += [study_of({("concrete", "pca"): 0.6}, split="1")]
    parts += [study_of({("concrete", "pca"): 3.0}, split="time")]
    runs = figures.compare(pd.concat(parts), "finetuned", "pipeline")
    (pair,) = figures.pairs(figures.random_splits(runs)).itertuples()
    assert (pair.reduction, pair.splits) == (pytest.approx(0.3, abs=1e-6), 2)
    assert pair.error == pytest.approx(np.sqrt((runs.error[:2] ** 2).sum()) / 2)


def test_the_interval_draws_data_sets_with_all_their_pairs():
    figures = module("figures")
    means = pd.DataFrame({"data": ["a"] * 9 + ["b"], "reduction": [0.5] * 9 + [0.0]})
    assert figures.bootstrap(means) == (0.0, 0.5)
    assert np.isnan(figures.bootstrap(means[means.data == "a"])).all()
    assert figures.wilcoxon([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.0]) == pytest.approx(2 / 2**6)
    assert np.isnan(figures.wilcoxon([0.0, 0.0, 0.1]))


def reached(goals):
    return {loss_target.text.split(":")[0]: loss_target.reached for loss_target in goals}


def test_goals_use_the_evaluation_data_sets_alone():
    figures = module("figures")
    good = {("concrete", "figure1"): 0.7, ("randhie", "figure1"): 0.74}
    found = reached(figures.goals(study_of({**good, ("ames_housing", "figure1"): 5.0})))
    assert found["Figure 1 on count and regression tasks"] is True
    assert found["no run worse by more than 2%"] is True
    assert found["at most 1% of all runs worse by 0.5%"] is True
    assert found["better than random initialization in at least 80% of runs"] is None
    found = reached(figures.goals(study_of({**good, ("abalone", "linear"): 1.03})))
    assert found["no run worse by more than 2%"] is False
    assert found["at most 1% of all runs worse by 0.5%"] is False
    found = reached(figures.goals(study_of(dict.fromkeys(good, 0.8))))
    assert found["Figure 1 on count and regression tasks"] is False


def test_goals_count_controls_by_noise():
    figures = module("figures")
    table = study_of({("concrete", "pca"): 0.7, ("randhie", "pca"): 0.7})
    noise = np.tile([0.9, 1.1], 50)
    rows = [result("concrete", "pca", arm, 0.6 * noise) for arm in ("search", "last", "random")]
    rows += [result("randhie", "pca", "random", 0.7 * noise)]
    rows += [result("randhie", "pca", "search", 0.701 * noise)]
    rows += [result("randhie", "pca", "last", 0.699 * noise + np.eye(100)[0])]
    found = figures.goals(pd.concat([table, pd.DataFrame(rows)]))
    shares = {loss_target.text.split(" in at")[0]: loss_target.number for loss_target in found}
    assert shares["better than, or within noise of, random search"] == "50.0%"
    assert shares["better than, or within noise of, training the last operator only"] == "50.0%"
    assert shares["better than random initialization"] == "0.0%"  # equal is not better


def test_the_reference_is_compared_pair_by_pair(tmp_path):
    figures, report = module("figures"), module("report")
    table = study_of({("concrete", "nystroem"): 0.9, ("abalone", "nystroem"): 1.0})
    other = pd.DataFrame({"data": ["concrete", "abalone"], "pipeline": "nystroem"})
    other["gain_chosen_on_validation"] = [0.2, 0.1]
    other["seconds_all_three"] = [2.0, 2.0]
    found = {loss_target.text: loss_target for loss_target in figures.goals(table, other)}
    assert found["nystroem: better wherever the reference is"].number == "1 of 2; not on abalone"
    median = found["nystroem: median reduction at least the reference's"]
    assert (median.number, median.reached) == ("5.0%, reference 15.0%", False)
    time = found["median time at most twice the reference's"]
    assert (time.number, time.reached) == ("4.00 times", False)
    other.loc[1, "gain_chosen_on_validation"] = -0.1
    text = report.page_of(table, "", ["a.svg", "b.svg", "c.svg"], other)
    assert "| concrete | nystroem | evaluation | 10.0% | 20.0% | 8.0 | 2.0 |" in text
    assert "| evaluation | nystroem | 2 | 5.0% | 5.0% | 1 | 4.00 |" in text


def test_the_portfolio_by_hand_is_compared_with_the_pipeline_it_trained():
    figures, report = module("figures"), module("report")
    table = study_of({("concrete", "pca"): 0.8, ("abalone", "pca"): 1.0})
    noise = np.tile([0.9, 1.1], 50)
    hand = result("concrete", "pca", "by_hand", 0.9 * noise, seconds=2.0) | {"before": 1.2}
    table = pd.concat([table, pd.DataFrame([hand])])
    (row,) = figures.beside_by_hand(table).itertuples()
    assert row.reduction == pytest.approx(0.2, abs=1e-6)
    assert row.by_hand == pytest.approx(0.25, abs=1e-6)
    assert (row.seconds, row.hand_seconds) == (8.0, 2.0)
    assert row.z > figures.NOISE
    other = pd.DataFrame({"data": ["concrete"], "pipeline": "pca"})
    other = other.assign(gain_chosen_on_validation=0.1, seconds_all_three=2.0)
    found = {loss_target.text: loss_target for loss_target in figures.goals(table, other)}
    median = found["pca: median reduction at least the hand-written one's on the same splits"]
    assert (median.number, median.reached) == ("20.0%, hand-written 25.0%", False)
    time = found["median time at most twice the hand-written one's on the same machine"]
    assert (time.number, time.reached) == ("4.00 times", False)
    text = report.page_of(table, "", ["a.svg", "b.svg", "c.svg"], other)
    cells = "20.0% | 25.0% | 0% | 0% | 20.0% | 25.0% | 1 / 0 | 4.00"
    assert f"| evaluation | pca | 1 | {cells} |" in text


def test_the_page_lists_every_run_that_got_worse():
    report = module("report")
    after = {("concrete", "pca"): 0.9, ("abalone", "pca"): 1.004, ("ames_housing", "pca"): 1.1}
    text = report.page_of(study_of(after), "", ["a.svg", "b.svg", "c.svg"], None)
    lost = text.split("## Every run that got worse")[1].split("##")[0]
    assert "| ames_housing | pca | 0 | development | -10.0% |" in lost
    assert "abalone" not in lost
    assert "concrete" not in lost


def test_splits_by_time_are_shown_with_both_kinds_of_validation():
    report = module("report")
    losses = {"0": 0.9, "time": 1.2}
    parts = [study_of({("electricity", "pca"): after}, split=s) for s, after in losses.items()]
    ordered = result("electricity", "pca", "ordered", np.full(100, 0.95)) | {"split": "time"}
    lines = report.time_table(pd.concat([*parts, pd.DataFrame([ordered])])).splitlines()
    assert (
        lines[0] == "| data | pipeline | by time | by time, time-ordered validation | at random |"
    )
    assert len(lines) == 3
    assert re.findall(r"(\S+) ±", lines[2]) == ["-20.0", "5.0", "10.0"]


def test_halves_are_fixed():
    data = module("data")
    assert len(data.DATASETS) == 26
    assert set(data.DEVELOPMENT).isdisjoint(data.EVALUATION)
    assert (data.DEVELOPMENT[0], data.EVALUATION[0]) == ("bike_sharing_hourly", "randhie")


def test_every_data_set_is_described():
    text = (FOLDER.parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    for data in module("data").DATASETS:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{data.name}`")]
        assert f"`{data.target}`" in line
        assert all(f"`{column}`" in line for column in data.drop), data.name
