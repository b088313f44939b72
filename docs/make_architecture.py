"""Draw the storeys of the package, from the layers in pyproject.toml: `make docs`."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
PICTURE = HERE / "architecture.svg"

# The stages in the order of a fit, and what each hands to the next.
STAGES = {
    "unfold": "graph of steps",
    "partition": "host and neural part",
    "build": "one torch module",
    "train": "trained parameters",
    "write back": "fitted pipeline",
}

# Storeys from the top: color of the boxes, and of their text.
STOREYS = {
    "Entry points": ("#e9ecf1", "#2b313b"),
    "Fine-tuning": ("#1f5fbf", "#ffffff"),
    "Translation and the module": ("#dceafe", "#12305c"),
    "Engine": ("#fde3df", "#6b1f15"),
    "Graph, sources, losses": ("#e2f2e1", "#1d4420"),
    "Ground": ("#efe8dc", "#4a3b1f"),
}

# Each part of the package: its storey, what it holds, and the stages it takes part in.
PARTS = {
    "__main__": ("Entry points", "python -m pipegrad", ()),
    "cli": ("Entry points", "the command line", ()),
    "demo": ("Entry points", "the paper's experiment", ()),
    "mlflow": ("Entry points", "models and runs there", ()),
    "spark": ("Entry points", "scores its DataFrames", ()),
    "scoring": ("Entry points", "predictions for folders", ()),
    "serving": ("Entry points", "raw rows in microseconds", ()),
    "testing": ("Entry points", "checks of translations", ()),
    "export": ("Entry points", "files that answer without pipegrad", ()),
    "finetune": ("Fine-tuning", "FineTuner: selects a training strategy", (1, 2, 3, 4, 5)),
    "inspection": ("Translation and the module", "inspect: what becomes of each step", (1, 2)),
    "loading": ("Translation and the module", "load: a saved module", (3,)),
    "translate": ("Translation and the module", "to_torch and from_torch", (1, 2, 3, 5)),
    "named": ("Translation and the module", "NamedPipeline: a module with named columns", (3, 4)),
    "module": ("Translation and the module", "PipelineModule: predict, transform, fit", (3, 4)),
    "online": ("Engine", "partial_fit: learns from batches", (4,)),
    "report": ("Engine", "what training did, in text and pictures", ()),
    "streaming": ("Engine", "tables larger than memory, many processes", (4,)),
    "training": ("Engine", "from samples to trained parameters; searches", (4,)),
    "quantization": ("Engine", "copies with 8 bits", ()),
    "saving": ("Engine", "saves a module", ()),
    "write_back": ("Engine", "trained numbers into a copy", (5,)),
    "network": ("Engine", "forward pass, encoding, targets, parameters", (3, 4)),
    "evaluation": ("Graph, sources, losses", "a pass through modules", (3, 4)),
    "partition": ("Graph, sources, losses", "host or neural", (2,)),
    "module_files": ("Graph, sources, losses", "files of modules", ()),
    "supported": ("Graph, sources, losses", "lists operators", ()),
    "through": ("Graph, sources, losses", "steps with estimated gradients", (3, 4)),
    "host": ("Graph, sources, losses", "runs the host part", (4,)),
    "row_parts": ("Graph, sources, losses", "many rows, part by part", ()),
    "schedule": ("Graph, sources, losses", "alike modules in one call", (3,)),
    "chains": ("Graph, sources, losses", "chains of linear models in one call", (3,)),
    "calls": ("Graph, sources, losses", "what is evaluated as one", (3,)),
    "joint_encoding": ("Graph, sources, losses", "alike steps are encoded at once", (4,)),
    "sources": ("Graph, sources, losses", "translations and expansions, by library", (1, 2, 3, 5)),
    "graph": ("Graph, sources, losses", "steps and edges; drawings", (1,)),
    "losses": ("Graph, sources, losses", "losses by name, and combined", (4,)),
    "registry": ("Graph, sources, losses", "the mapping table", (1, 2, 3, 5)),
    "source_catalog": ("Graph, sources, losses", "the libraries by name", ()),
    "featurizer": ("Ground", "a predictor as a transformer", ()),
    "glue": ("Ground", "steps between operators", ()),
    "answer_differences": ("Ground", "how far answers are apart", ()),
    "array_cache": ("Ground", "arrays cached on disk", ()),
    "half_precision": ("Ground", "who may have 16 bits", ()),
    "row_sources": ("Ground", "tables in pieces", ()),
    "file_writing": ("Ground", "files replaced as a whole", ()),
    "remote_files": ("Ground", "files of other machines", ()),
    "skops_files": ("Ground", "objects in skops files", ()),
    "errors": ("Ground", "errors and warnings", ()),
    "source_methods": ("Ground", "an estimator's methods", ()),
    "typing": ("Ground", "names for types", ()),
    "warning_filters": ("Ground", "warnings to ignore", ()),
    "modules": ("Ground", "the mathematics", (3, 4)),
    "printable": ("Ground", "names of others, made fit to print", ()),
}

_WIDTH, _LEFT, _RIGHT = 940, 60, 14
_RIBBON, _ROW, _GAP, _BETWEEN = 106, 32, 4, 10
_BADGE = 9
_STYLE = """
text { font-family: "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; font-size: 12px; }
.name { font-size: 13px; font-weight: 600; }
.stage { font-size: 15px; font-weight: 600; }
.side { font-size: 12px; fill: #7a8494; }
.badge { font-size: 11px; font-weight: 600; fill: #2b313b; }
""".strip()


def layers() -> list[list[str]]:
    """The layers of the package from the top, as import-linter checks them."""
    text = (HERE.parent / "pyproject.toml").read_text("utf-8")
    found = re.search(r"^layers = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return [layer.split(" | ") for layer in re.findall(r'"(.+?)"', found[1])]


def picture() -> str:
    """The whole picture as SVG."""
    parts, y, before = [_ribbon()], _RIBBON, ""
    for layer in layers():
        storey = PARTS[layer[0]][0]
        if before not in ("", storey):
            y += _BETWEEN
        before = storey
        width = (_WIDTH - _LEFT - _RIGHT - _GAP * (len(layer) - 1)) / len(layer)
        parts += [_box(name, _LEFT + i * (width + _GAP), y, width) for i, name in enumerate(layer)]
        y += _ROW + _GAP
    parts += [_arrow(y - _GAP), _legend(y + 18)]
    height = y + 32
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="The storeys of the package '
        f'and the five stages of a translation" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}">'
    )
    return "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</svg>"]) + "\n"


def _ribbon() -> str:
    """The stages from left to right, with what flows between them."""
    width = (_WIDTH - _LEFT - _RIGHT) / len(STAGES)
    out = []
    for number, (stage, result) in enumerate(STAGES.items(), 1):
        x, tip = _LEFT + (number - 1) * width, 14
        notch = f"L{x + tip:.0f} 41" if number > 1 else f"L{x:.0f} 41"
        shape = f"M{x:.0f} 16H{x + width - tip - 3:.0f}l{tip} 25l-{tip} 25H{x:.0f}{notch}Z"
        out += [
            f'<path d="{shape}" fill="#4a5361"/>',
            _circle(number, x + 32, 41),
            f'<text class="stage" x="{x + 48:.0f}" y="46" fill="#ffffff">{stage}</text>',
            f'<text class="side" x="{x + 22:.0f}" y="84">→ {result}</text>',
        ]
    return "\n".join(out)


def _box(name: str, x: float, y: float, width: float) -> str:
    storey, gloss, stages = PARTS[name]
    fill, ink = STOREYS[storey]
    middle = y + _ROW / 2
    right = x + width - 8
    badges = [
        _circle(stage, right - _BADGE - (len(stages) - 1 - i) * (2 * _BADGE + 3), middle)
        for i, stage in enumerate(stages)
    ]
    return "\n".join(
        [
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_ROW}" rx="5" fill="{fill}"/>',
            f'<text x="{x + 12:.1f}" y="{middle + 4.5}" fill="{ink}"><tspan class="name">{name}'
            f'</tspan><tspan dx="10">{escape(gloss, quote=False)}</tspan></text>',
            *badges,
        ]
    )


def _circle(number: int, x: float, y: float) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_BADGE}" fill="#ffffff" stroke="#8b94a3"/>'
        f'<text class="badge" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{number}</text>'
    )


def _arrow(bottom: float) -> str:
    """Beside the storeys: which way imports run."""
    middle = (_RIBBON + bottom) / 2
    return (
        f'<path d="M40 {_RIBBON + 4}V{bottom - 12}" stroke="#8b94a3" stroke-width="2"/>'
        f'<path d="M40 {bottom - 2}l-6 -11h12z" fill="#8b94a3"/>'
        f'<text class="side" transform="translate(26 {middle:.0f}) rotate(-90)" '
        'text-anchor="middle">imports run down, never up and never sideways</text>'
    )


def _legend(y: float) -> str:
    """The names of the colors."""
    out, x = [], float(_LEFT)
    for storey, (fill, _) in STOREYS.items():
        out.append(f'<rect x="{x:.0f}" y="{y - 10}" width="12" height="12" rx="3" fill="{fill}"/>')
        out.append(f'<text class="side" x="{x + 18:.0f}" y="{y}">{storey}</text>')
        x += 40 + 7.2 * len(storey)
    return "\n".join(out)


def write_picture() -> None:
    """Write `architecture.svg`."""
    PICTURE.write_text(picture(), encoding="utf-8")
    print(f"{HERE.name}/{PICTURE.name}: {sum(map(len, layers()))} parts of the package")


if __name__ == "__main__":
    write_picture()
