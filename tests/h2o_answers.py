"""What H2O's scorer for MOJOs answers, through JPype: part of `tests/h2o_runtime.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

TEXT = "words"


def java() -> Any:
    """The package `hex` of Java, with the classes of h2o.jar."""
    import h2o.backend
    import jpype

    if not jpype.isJVMStarted():
        jar = Path(h2o.backend.__file__).parent / "bin" / "h2o.jar"
        jpype.startJVM("-Xmx512m", "-XX:+UseSerialGC", classpath=[str(jar)])
    return jpype.JPackage("hex")


def answer(mojo: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The table with the answers for each of its rows beside it."""
    import jpype

    model, scorer = _opened(mojo)
    named = _CATEGORIES.get(str(model.getModelCategory()), _regression)
    found = []
    for cells in table.to_dict("records"):
        try:
            found.append(dict(named(model, scorer, cells)))
        except jpype.JException as error:
            found.append({"error": f"{error.getClass().getSimpleName()}: {error.getMessage()}"})
    answers = pd.DataFrame(found).add_prefix("answer:")
    return pd.concat([table.reset_index(drop=True), answers], axis=1)


def _opened(mojo: Path) -> tuple[Any, Any]:
    genmodel = java().genmodel
    model = genmodel.MojoModel.load(str(mojo))
    config = genmodel.easy.EasyPredictModelWrapper.Config().setModel(model)
    config.setConvertUnknownCategoricalLevelsToNa(True).setUseExtendedOutput(True)
    if isinstance(model, genmodel.algos.tree.SharedTreeMojoModel):
        config.setEnableLeafAssignment(True)
    if isinstance(model, genmodel.algos.glrm.GlrmMojoModel):
        config.setEnableGLRMReconstrut(True)
    return model, genmodel.easy.EasyPredictModelWrapper(config)


def _row(cells: dict[str, Any]) -> Any:
    import jpype

    row = java().genmodel.easy.RowData()
    for name, value in cells.items():
        if isinstance(value, str):
            row.put(name, value)
        elif value is not None and not np.isnan(value):
            row.put(name, jpype.JDouble(value))
    return row


def _offset(model: Any, cells: dict[str, Any]) -> float:
    name = model.getOffsetName()
    return 0.0 if name is None else float(cells[str(name)])


Named = Iterator[tuple[str, Any]]


def _leaves(model: Any, made: Any) -> Named:
    if getattr(made, "leafNodeAssignments", None) is None:
        return
    names = [str(name) for name in model.getDecisionPathNames()]
    for name, path in zip(names, made.leafNodeAssignments):
        yield f"path:{name}", str(path)
    for name, node in zip(names, made.leafNodeAssignmentIds or ()):
        yield f"node:{name}", int(node)


def _classes(kind: str) -> Callable[..., Named]:
    def named(model: Any, scorer: Any, cells: dict[str, Any]) -> Named:
        made = getattr(scorer, f"predict{kind}")(_row(cells), _offset(model, cells))
        # Python shows the classes of a quasibinomial model of trees as p0 and p1.
        names = [str(name).replace("pVal", "p") for name in model.getOutputNames()]
        yield "predict", str(made.label)
        yield from zip(names[1:], map(float, made.classProbabilities))
        calibrated = getattr(made, "calibratedClassProbabilities", None)
        if calibrated is not None:
            yield from zip([f"cal_{name}" for name in names[1:]], map(float, calibrated))
        yield from _leaves(model, made)

    return named


def _regression(model: Any, scorer: Any, cells: dict[str, Any]) -> Named:
    made = scorer.predictRegression(_row(cells), _offset(model, cells))
    yield "predict", float(made.value)
    yield from _leaves(model, made)


def _survival(model: Any, scorer: Any, cells: dict[str, Any]) -> Named:
    yield "lp", float(scorer.predictCoxPH(_row(cells), _offset(model, cells)).value)


def _uplift(model: Any, scorer: Any, cells: dict[str, Any]) -> Named:
    made = scorer.predictUpliftBinomial(_row(cells))
    yield from zip(map(str, model.getOutputNames()), map(float, made.predictions))


def _clusters(model: Any, scorer: Any, cells: dict[str, Any]) -> Named:
    made = scorer.predictClustering(_row(cells))
    yield "predict", float(made.cluster)
    for number, distance in enumerate(made.distances):
        yield f"distance_{number}", float(distance)


def _dimensions(model: Any, scorer: Any, cells: dict[str, Any]) -> Named:
    made = scorer.predictDimReduction(_row(cells))
    yield from zip(map(str, model.getOutputNames()), map(float, made.dimensions))
    if made.reconstructed is not None:
        names = [f"reconstr_{name}" for name in model.features()]
        yield from zip(names, map(float, made.reconstructed))


def _anomaly(model: Any, scorer: Any, cells: dict[str, Any]) -> Named:
    made = scorer.predictAnomalyDetection(_row(cells))
    yield from zip(map(str, model.getOutputNames()), map(float, made.toPreds()))
    yield from _leaves(model, made)


def _autoencoder(model: Any, scorer: Any, cells: dict[str, Any]) -> Named:
    made = scorer.predictAutoEncoder(_row(cells))
    yield from zip(_expanded(model), map(float, made.reconstructed))
    yield "mse", float(made.mse)


def _expanded(model: Any) -> Iterator[str]:
    """The names of the columns that a row becomes, with one for each level of a category."""
    for place, name in enumerate(map(str, model.features())):
        levels = model.getDomainValues(place)
        if levels is None:
            yield f"reconstr_{name}"
        else:
            yield from (f"reconstr_{name}.{level}" for level in [*levels, "missing(NA)"])


def _encoded(model: Any, scorer: Any, cells: dict[str, Any]) -> Named:
    made = scorer.predictTargetEncoding(_row(cells))
    names = [str(name) for mapping in model._inoutMapping for name in mapping.to()]
    yield from zip(names, map(float, made.transformations))


def _words(model: Any, scorer: Any, cells: dict[str, Any]) -> Named:
    """The vector of the whole text, read as one word, and the mean of its words' vectors."""
    text = cells[TEXT]
    row = java().genmodel.easy.RowData()
    if isinstance(text, str):
        row.put(TEXT, text)
    word = scorer.predictWord2Vec(row).wordEmbeddings.get(TEXT)
    words = text.split(" ") if isinstance(text, str) else []
    for number, value in enumerate(scorer.predictWord2Vec(words)):
        yield f"C{number + 1}", float("nan") if word is None else float(word[number])
        yield f"mean:C{number + 1}", float(value)


_CATEGORIES: dict[str, Callable[..., Named]] = {
    "Binomial": _classes("Binomial"),
    "Multinomial": _classes("Multinomial"),
    "Ordinal": _classes("Ordinal"),
    "BinomialUplift": _uplift,
    "CoxPH": _survival,
    "Clustering": _clusters,
    "DimReduction": _dimensions,
    "AnomalyDetection": _anomaly,
    "AutoEncoder": _autoencoder,
    "TargetEncoder": _encoded,
    "WordEmbedding": _words,
}


def write(table: pd.DataFrame, target: Path) -> None:
    """Texts as texts, numbers as they are, and nothing that is not part of the table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {}
    for name in table:
        numbers = pd.api.types.is_numeric_dtype(table[name])
        kind = pa.from_numpy_dtype(table[name].dtype) if numbers else pa.string()
        cells = table[name] if numbers else [c if isinstance(c, str) else None for c in table[name]]
        columns[name] = pa.array(cells, type=kind, from_pandas=False)
    pq.write_table(
        pa.table(columns), target, compression="zstd", write_statistics=False, use_dictionary=False
    )


def differences(found: pd.DataFrame, answered: pd.DataFrame) -> Iterator[str]:
    """Where a table of H2O's server differs from the scorer's answers."""
    names = [name for name in found if f"answer:{name}" in answered]
    if len(names) < len(found.columns):
        yield f"has {list(found)}, the answers are {[n for n in answered if ':' in n]}"
    for name in names:
        mine = answered[f"answer:{name}"]
        if pd.api.types.is_numeric_dtype(mine):
            a, b = found[name].to_numpy(float), mine.to_numpy(float)
            with np.errstate(all="ignore"):
                same = (np.abs(a - b) <= 1e-9 * np.abs(b) + 1e-12) | (a == b)
            same |= np.isnan(a) & np.isnan(b)
        else:
            a, b = found[name].astype(str).to_numpy(), mine.astype(str).to_numpy()
            same = a == b
        if not same.all():
            rows = np.flatnonzero(~same)
            some = ", ".join(f"{a[i]} not {b[i]}" for i in rows[:2])
            yield f"{name!r} differs in rows {rows.tolist()}: {some}"
