"""Real ML.NET inside of Python, to score models with: what `make test-mlnet` compares with.

python tests/mlnet_runtime.py install FOLDER        packages from PyPI into FOLDER: 850 MB, a minute
FOLDER/venv/bin/python tests/mlnet_runtime.py run FOLDER JOBS.json

JOBS.json is a list of [model, table.parquet, out.npz] to score, and of [graph.json, model,
table.parquet, out.zip] to train a graph of entry points on a table typed as the model's.

ML.NET is the build inside of NimbusML's last wheel (1.5.0-preview2); it needs Linux on x86-64, and
neither .NET nor a compiler.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGES = ["pythonnet>=3.0", "dotnetcore2==3.1.23", "numpy", "pandas", "pyarrow", "intel-openmp"]
WHEEL = "nimbusml==1.8.0"
# Parts of the wheel that need other libraries, or are NimbusML's own.
LEFT_OUT = ("tensorflow", "onnx", "numsharp", "imageanalytics", "vision", "bridge")
PARTS = [
    "Core", "Data", "DataView", "CpuMath", "Transforms", "StandardTrainers", "PCA", "EntryPoints",
    "KMeansClustering", "FastTree", "LightGbm", "Mkl.Components", "Ensemble", "Featurizers",
]  # fmt: skip
KINDS = {
    "Single": "f4", "Double": "f8", "Boolean": "?", "SByte": "i1", "Byte": "u1", "Int16": "i2",
    "UInt16": "u2", "Int32": "i4", "UInt32": "u4", "Int64": "i8", "UInt64": "u8",
}  # fmt: skip
_OF_ENTRY_POINTS = "DataLoaderModel/Model.key"


# -- installation ------------------------------------------------------------------------------


def install(folder: Path) -> None:
    """ML.NET's assemblies into ``folder/libs``, .NET and a bridge to it into ``folder/venv``."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    libs = folder / "libs"
    if not (libs / "Microsoft.ML.Data.dll").exists():
        with tempfile.TemporaryDirectory() as downloads:
            platform = ["--python-version", "3.8", "--abi", "none", "--implementation", "cp"]
            platform += ["--platform", "manylinux1_x86_64", "--only-binary", ":all:", "--no-deps"]
            pip = [str(python), "-m", "pip", "download", "--quiet", *platform, "-d", downloads]
            subprocess.run([*pip, WHEEL], check=True)
            _unpack(next(Path(downloads).glob("*.whl")), libs)
    # The operators of MKL ask for this library under either name.
    for found in (folder / "venv").rglob("libiomp5.so"):
        for name in ("libiomp5.so", "libomp.so"):
            if not (libs / name).exists():
                (libs / name).symlink_to(found.resolve())


def _unpack(wheel: Path, libs: Path) -> None:
    libs.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as file:
        for entry in file.namelist():
            folder, _, name = entry.rpartition("/")
            wanted = folder == "nimbusml/internal/libs" and name.endswith((".dll", ".so"))
            if wanted and not any(part in name.lower() for part in LEFT_OUT):
                (libs / name).write_bytes(file.read(entry))


def python_of(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Command and environment that run this file with ML.NET at hand."""
    paths = [str(folder / "libs"), os.environ.get("LD_LIBRARY_PATH", "")]
    variables = {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join(path for path in paths if path),
        "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1",
    }
    return [str(folder / "venv" / "bin" / "python"), str(Path(__file__).resolve())], variables


# -- inside of that environment ----------------------------------------------------------------


class Runtime:
    """.NET with ML.NET loaded into this process."""

    def __init__(self, libs: Path) -> None:
        self.clr = _start(libs)
        import Microsoft.ML
        import System
        from System.Reflection import BindingFlags

        self.ml, self.system = Microsoft.ML, System
        self.every = BindingFlags.Instance | BindingFlags.Static
        self.every = self.every | BindingFlags.Public | BindingFlags.NonPublic
        self.context = Microsoft.ML.MLContext(System.Nullable[System.Int32](0))
        loaded = System.AppDomain.CurrentDomain.GetAssemblies()
        self.assemblies = [a for a in loaded if a.GetName().Name.startswith("Microsoft.ML")]
        for assembly in self.assemblies:
            self.context.ComponentCatalog.RegisterAssembly(assembly)

    def internal(self, name):
        """A type of ML.NET that is not public."""
        return next(t for a in self.assemblies if (t := a.GetType(name)) is not None)

    def method(self, kind, name):
        return next(m for m in kind.GetMethods(self.every) if m.Name == name)

    # -- models

    def score(self, model, table, folder):
        """Every column that ML.NET computes for the rows of a table."""
        with zipfile.ZipFile(model) as file:
            names = {name.replace("\\", "/") for name in file.namelist()}
        if _OF_ENTRY_POINTS not in names:
            score = self._chain
        else:
            score = self._predictor if "Predictor/Model.key" in names else self._transforms
        return self.columns(score(str(model), table, folder))

    def _chain(self, model, table, folder):
        loaded, schema = self.context.Model.Load(model, None)
        return loaded.Transform(self.view(table, self.wanted(schema), folder))

    def _stored(self, name, model):
        """What entry points saved, read as a type of ML.NET."""
        kind = self.internal(f"Microsoft.ML.EntryPoints.{name}")
        read = next(
            c
            for c in kind.GetConstructors(self.every)
            if [p.Name for p in c.GetParameters()] == ["env", "stream"]
        )
        stream = self.system.IO.File.OpenRead(model)
        try:
            return kind, read.Invoke(self.system.Array[self.system.Object]([self.context, stream]))
        finally:
            stream.Close()

    def _input(self, chain, table, folder):
        owner = self.internal("Microsoft.ML.EntryPoints.TransformModelImpl")
        schema = owner.GetProperty("InputSchema", self.every).GetValue(chain)
        return self.view(table, self.wanted(schema), folder)

    def _transforms(self, model, table, folder):
        kind, chain = self._stored("TransformModelImpl", model)
        data = self._input(chain, table, folder)
        arguments = self.system.Array[self.system.Object]([self.context, data])
        return self.ml.IDataView(self.method(kind, "Apply").Invoke(chain, arguments))

    def _predictor(self, model, table, folder):
        kind, predictor = self._stored("PredictorModelImpl", model)
        chain = kind.GetProperty("TransformModel", self.every).GetValue(predictor)
        data = self._input(chain, table, folder)
        nodes = [
            {
                "Name": "Transforms.DatasetScorer",
                "Inputs": {"Data": "$data", "PredictorModel": "$model"},
                "Outputs": {"ScoredData": "$scored", "ScoringTransform": "$transform"},
            }
        ]
        model_kind = self.internal("Microsoft.ML.EntryPoints.PredictorModel")
        inputs = {"data": (self.table_kind, data), "model": (model_kind, predictor)}
        return self.ml.IDataView(self.run(nodes, inputs, "scored", self.table_kind))

    @property
    def table_kind(self):
        return self.clr.GetClrType(self.ml.IDataView)

    def run(self, nodes, inputs, output, output_kind):
        """Run an entry-point graph; inputs are (type, value) by name."""
        from Newtonsoft.Json.Linq import JObject

        array = self.system.Array[self.system.Object]
        parsed = JObject.Parse(json.dumps({"nodes": nodes})).get_Item("nodes")
        kind = self.internal("Microsoft.ML.EntryPoints.GraphRunner")
        runner = kind.GetConstructors(self.every)[0].Invoke(array([self.context, parsed]))
        for name, (of, value) in inputs.items():
            self.method(kind, "SetInput").MakeGenericMethod(of).Invoke(runner, array([name, value]))
        self.method(kind, "RunAll").Invoke(runner, None)
        get = self.method(kind, "GetOutput").MakeGenericMethod(output_kind)
        return get.Invoke(runner, array([output]))

    def train(self, graph, model, table, out, folder):
        """Run the JSON of an entry-point graph on a table typed as a model's; save the result."""
        nodes = json.loads(Path(graph).read_text())["nodes"]
        _, predictor = self._stored("PredictorModelImpl", str(model))
        kind = self.internal("Microsoft.ML.EntryPoints.PredictorModel")
        chain = kind.GetProperty("TransformModel", self.every).GetValue(predictor)
        inputs = {"data": (self.table_kind, self._input(chain, table, folder))}
        trained = self.run(nodes, inputs, "out", kind)
        stream = self.system.IO.File.Create(str(out))
        try:
            arguments = self.system.Array[self.system.Object]([self.context, stream])
            self.method(kind, "Save").Invoke(trained, arguments)
        finally:
            stream.Close()

    # -- tables

    def wanted(self, schema):
        """(name, kind, size) of the columns of a schema; size None for a scalar."""
        found = []
        for column in schema:
            if column.IsHidden:
                continue
            text, size = str(column.Type), None
            if text.startswith("Vector<"):
                kind, sizes = text[7:-1].split(",", 1)
                size = 1
                for part in sizes.split(","):
                    size *= int(part)
            else:
                kind = text
            kind = {"Text": "String", "Bool": "Boolean"}.get(kind.strip(), kind.strip())
            found.append((column.Name, kind, size))
        return found

    def view(self, table, columns, folder):
        """A pandas table as ML.NET reads it from a file of text."""
        data, of, place, cells = self.ml.Data, [], 0, []
        for name, kind, size in columns:
            code = getattr(data.DataKind, kind)
            span = (place,) if size is None else (place, place + size - 1)
            of.append(data.TextLoader.Column(name, code, *span))
            place += 1 if size is None else size
            cells.append(_cells(table, name, kind, size))
        path = os.path.join(folder, f"rows{len(os.listdir(folder))}.tsv")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines("\t".join(row) + "\n" for row in zip(*cells))
        options = self.system.Array[data.TextLoader.Column](of), self.system.Char("\t")
        load = self.ml.TextLoaderSaverCatalog.LoadFromTextFile
        return load(self.context.Data, path, *options, False, True, False, False)

    def columns(self, view):
        """The columns of a view as arrays; of a hidden one the name says where it stands."""
        found = {}
        for column in list(view.Schema):
            name = f"{column.Name}@{column.Index}" if column.IsHidden else column.Name
            try:
                values = self.values(view, column)
            except self.system.InvalidOperationException:
                continue  # its tree featurizer gives no other columns than its own when read alone
            if values is not None:
                found[name] = values
        return found

    def values(self, view, column):
        import numpy as np

        text, system, data = str(column.Type), self.system, self.ml.Data
        get = data.ColumnCursorExtensions.GetColumn
        vector = text.startswith("Vector<")
        inner = text[7:-1] if vector else text
        inner = inner.removeprefix("Key<").split(",")[0].rstrip(">").strip()
        if inner in ("String", "Text"):
            if not vector:
                return np.array([str(v) for v in get[system.String](view, column)], dtype="U")
            kind = system.ReadOnlyMemory[system.Char]
            rows = [[str(v) for v in row.DenseValues()] for row in
                    get[data.VBuffer[kind]](view, column)]  # fmt: skip
            dtype = "U"
        elif inner in KINDS:
            kind, dtype = getattr(system, inner), KINDS[inner]
            if not vector:
                return np.array(list(get[kind](view, column)), dtype=dtype)
            rows = [list(row.DenseValues()) for row in get[data.VBuffer[kind]](view, column)]
        else:
            return None
        return np.array(rows, dtype=dtype) if len({len(r) for r in rows}) == 1 else None


def _start(libs):
    os.environ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "1"
    import dotnetcore2
    from clr_loader import get_coreclr
    from pythonnet import set_runtime

    framework = {"name": "Microsoft.NETCore.App", "version": "3.1.0"}
    options = {"runtimeOptions": {"tfm": "netcoreapp3.1", "framework": framework}}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mlnet.runtimeconfig.json"
        config.write_text(json.dumps(options))
        root = Path(dotnetcore2.__file__).parent / "bin"
        set_runtime(get_coreclr(runtime_config=str(config), dotnet_root=str(root)))
        import clr
    sys.path.append(str(libs))
    for part in PARTS:
        clr.AddReference(f"Microsoft.ML.{part}")
    clr.AddReference("Newtonsoft.Json")
    return clr


def _cells(table, name, kind, size):
    """The text of each row's cell; a column that is not there is empty."""
    empty = {"String": "", "Boolean": False, "Single": float("nan"), "Double": float("nan")}
    if name in table.columns:
        values = table[name].tolist()
    else:
        values = [empty.get(kind, 0)] * len(table)
        values = values if size is None else [[v] * size for v in values]
    if size is None:
        return [_cell(value, kind) for value in values]
    return ["\t".join(_cell(v, kind) for v in row) for row in values]


def _cell(value, kind):
    missing = value is None or value != value
    if kind == "String":
        return '"' + ("" if missing else str(value).replace('"', '""')) + '"'
    if kind == "Boolean":
        return "1" if value else "0"
    if kind in ("Single", "Double"):
        return "NaN" if missing else _number(value, kind)
    return str(int(value))


def _number(value, kind):
    import numpy as np

    if abs(value) == float("inf"):
        return "Infinity" if value > 0 else "-Infinity"
    return f"{np.float32(value):.9g}" if kind == "Single" else f"{float(value):.17g}"


def run_all(folder, jobs):
    import numpy as np
    import pandas as pd

    runtime = Runtime(folder / "libs")
    with tempfile.TemporaryDirectory() as temporary:
        for *models, table, out in jobs:
            rows = pd.read_parquet(table)
            try:
                if len(models) == 1:
                    np.savez(out, **runtime.score(models[0], rows, temporary))
                else:
                    runtime.train(*models, rows, out, temporary)
            except Exception as error:  # the others are still of interest
                Path(f"{out}.error").write_text(_reason(error)[:2000])


def _reason(error):
    while getattr(error, "InnerException", None) is not None:
        error = error.InnerException
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "install":
        install(Path(sys.argv[2]))
    elif len(sys.argv) == 4 and sys.argv[1] == "run":
        run_all(Path(sys.argv[2]).resolve(), json.loads(Path(sys.argv[3]).read_text()))
    else:
        sys.exit(__doc__)
